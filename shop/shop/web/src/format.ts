// How numbers, names and times are written.

import type { Money } from "./api";

export function money(amount: Money | undefined): string {
  const pence = Number(amount?.minorUnits ?? 0);
  return new Intl.NumberFormat("en-GB", { style: "currency", currency: amount?.currencyCode ?? "GBP" }).format(
    pence / 100,
  );
}

/** The data set shouts. Codes such as `3D` and `T-LIGHT` keep their letters. */
export function title(name: string): string {
  const text = name.trim().replace(/\s+/g, " ");
  if (text !== text.toUpperCase()) return text;
  const lower = text.toLowerCase().replace(/\b(\d+)([a-z])\b/g, (_, digits, letter) => digits + letter.toUpperCase());
  return lower.replace(/(^|[\s/(&+-])([a-z])/g, (_, before, letter) => before + letter.toUpperCase())
    .replace(/\s(Of|And|The|In|With|For|On|To|A|By)(?=\s)/g, (word) => word.toLowerCase());
}

export function time(text: string): string {
  return new Date(text).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

export function clock(text: string): string {
  return new Date(text).toLocaleTimeString("en-GB");
}

/** The last characters of a UUID, which differ most. */
export function short(id: string): string {
  return id.slice(-8).toUpperCase();
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en-GB")} ${n === 1 ? one : many}`;
}
