// How numbers, times and names are written.

const LOCALE = "en-GB";
const NONE = "–";

/** Writes a duration with a unit that suits it. */
export function duration(ms: number | null | undefined): string {
  if (ms === undefined || ms === null || Number.isNaN(ms)) return NONE;
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1_000)} s`.replace(" 0 s", "");
  const hours = ms / 3_600_000;
  return hours < 24 ? `${+hours.toFixed(1)} h` : `${+(hours / 24).toFixed(1)} d`;
}

export function rate(perSecond: number | null | undefined): string {
  if (perSecond === undefined || perSecond === null) return NONE;
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.1) return `${(perSecond * 60).toFixed(1)}/min`;
  return `${perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond))}/s`;
}

export function percent(part: number | null | undefined, digits = 1): string {
  if (part === undefined || part === null) return NONE;
  if (part === 0) return "0 %";
  const value = part * 100;
  return value < 0.1 && value > 0 ? "<0.1 %" : `${value.toFixed(value >= 10 && digits < 2 ? 0 : digits)} %`;
}

export function count(n: number | null | undefined): string {
  return n === undefined || n === null ? NONE : n.toLocaleString(LOCALE);
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function bytes(n: number | null | undefined): string {
  if (n === undefined || n === null) return NONE;
  if (n < 1024) return `${n} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = n;
  let unit = -1;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** Writes how long ago something was. */
export function ago(ms: number, now: number): string {
  const s = Math.round((now - ms) / 1000);
  if (s < 0) return `in ${duration(ms - now)}`;
  if (s < 2) return "now";
  if (s < 60) return `${s} s ago`;
  if (s < 3_600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ago`;
  return `${Math.floor(s / 86_400)} d ago`;
}

/** Writes a moment with its milliseconds, in the reader's time zone. */
export function moment(ms: number): string {
  const date = new Date(ms);
  const day = date.toLocaleDateString(LOCALE, { year: "numeric", month: "short", day: "numeric" });
  return `${day} ${clock(ms)}`;
}

export function clock(ms: number): string {
  const date = new Date(ms);
  return `${date.toLocaleTimeString(LOCALE, { hour12: false })}.${String(Math.floor(ms) % 1000).padStart(3, "0")}`;
}

/** Shortens an id in its middle, so that both ends can be compared. */
export function short(id: string): string {
  return id.length > 13 ? `${id.slice(0, 6)}…${id.slice(-6)}` : id;
}

/** Drops the package of a contract's or an event's name: `shop.orders.v1.OrderPlaced` is `OrderPlaced`. */
export function bare(name: string): string {
  return name.replace(/\b[a-z0-9_]+(\.[a-z0-9_]+)*\.(?=[A-Z])/g, "");
}

export function words(text: string): string {
  return text.toLowerCase().replaceAll("_", " ");
}

export function json(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
