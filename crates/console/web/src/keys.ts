// The keyboard: `/`, `?`, `g` and a letter, and arrows in lists.

import { useEffect } from "preact/hooks";
import { navigate } from "./router";

export interface Place {
  letter: string;
  path: string;
  label: string;
  group: "Watch" | "Run" | "Assure";
}

/** All pages that have an entry of their own, in the order in which they are listed. */
export const PLACES: Place[] = [
  { letter: "m", path: "/", label: "Map", group: "Watch" },
  { letter: "t", path: "/traces", label: "Traces", group: "Watch" },
  { letter: "l", path: "/logs", label: "Logs", group: "Watch" },
  { letter: "r", path: "/runs", label: "Runs", group: "Watch" },
  { letter: "s", path: "/services", label: "Services", group: "Run" },
  { letter: "e", path: "/events", label: "Events", group: "Run" },
  { letter: "d", path: "/dead-letters", label: "Dead letters", group: "Run" },
  { letter: "a", path: "/sagas", label: "Sagas", group: "Run" },
  { letter: "o", path: "/slos", label: "SLOs", group: "Assure" },
  { letter: "i", path: "/invariants", label: "Invariants", group: "Assure" },
  { letter: "p", path: "/operations", label: "Operations", group: "Assure" },
];

/** How long after `g` a letter still belongs to it. */
const CHORD_MS = 1_200;

function types(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** Listens to the keys that work on every page. */
export function useKeys(help: () => void): void {
  useEffect(() => {
    let since = 0;
    const press = (event: KeyboardEvent) => {
      if (event.metaKey || event.ctrlKey || event.altKey || event.defaultPrevented) return;
      if (event.key === "Escape" && types(event.target)) {
        (event.target as HTMLElement).blur();
        return;
      }
      if (types(event.target) || document.querySelector("dialog[open]")) return;
      const place = event.timeStamp - since < CHORD_MS && PLACES.find(({ letter }) => letter === event.key);
      since = event.key === "g" ? event.timeStamp : 0;
      if (place) navigate(place.path);
      else if (event.key === "?") help();
      else if (event.key === "/") {
        const own = document.querySelector<HTMLInputElement>("main input[type=search]");
        (own ?? document.getElementById("find"))?.focus();
      } else return;
      event.preventDefault();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [help]);
}

/** Moves the focus among the links or rows of a list: up, down, `j`, `k`, Home and End. */
export function arrows(event: KeyboardEvent & { currentTarget: HTMLElement }, selector = "[data-row]"): void {
  if (event.metaKey || event.ctrlKey || event.altKey || types(event.target)) return;
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>(selector)];
  const here = rows.findIndex((row) => row === document.activeElement || row.contains(document.activeElement));
  const last = rows.length - 1;
  const wanted: Record<string, number> = {
    ArrowDown: Math.min(here + 1, last), j: Math.min(here + 1, last),
    ArrowUp: Math.max(here - 1, 0), k: Math.max(here - 1, 0),
    Home: 0, End: last,
  };
  const next = wanted[event.key];
  if (next === undefined || last < 0) return;
  rows[next]?.focus();
  rows[next]?.scrollIntoView({ block: "nearest" });
  event.preventDefault();
}
