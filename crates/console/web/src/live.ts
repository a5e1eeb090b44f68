// What the server tells by itself (`/api/live`): one stream for all pages of the tab.

import { useEffect, useState } from "preact/hooks";
import { api } from "./api";
import type { System, SystemMap, TraceSummary } from "./types";

export type LinkState = "connecting" | "live" | "broken";
interface Told {
  map: SystemMap;
  system: System;
  trace: TraceSummary;
  link: LinkState;
}
type Name = keyof Told;
type Listener = (value: never) => void;

/** How long to wait after a refusal. */
const RETRY_MS = 3_000;
/** How long a tab that is not seen keeps its stream. */
const HIDDEN_MS = 5_000;

const listeners = new Map<Name, Set<Listener>>();
const latest: Partial<Told> = {};
let stream: EventSource | undefined;
let isWanted = false;
let leaving = 0;

function tell<N extends Name>(name: N, value: Told[N]): void {
  latest[name] = value;
  listeners.get(name)?.forEach((listener) => listener(value as never));
}

function hear<N extends "map" | "system" | "trace">(source: EventSource, name: N): void {
  source.addEventListener(name, (event) => {
    tell("link", "live");
    tell(name, JSON.parse((event as MessageEvent<string>).data));
  });
}

/** Opens the stream; the browser opens it again whenever it breaks. */
export function begin(): void {
  isWanted = true;
  if (stream || document.hidden) return;
  stream = new EventSource("/api/live");
  tell("link", "connecting");
  stream.addEventListener("open", () => tell("link", "live"));
  stream.addEventListener("error", () => {
    tell("link", "broken");
    // A refusal is final for an `EventSource`: somebody has to try again.
    if (stream?.readyState === EventSource.CLOSED) {
      close();
      // The session may have ended: then the answer to this asks for a login.
      api.system().catch(() => {});
      setTimeout(() => isWanted && begin(), RETRY_MS);
    }
  });
  hear(stream, "map");
  hear(stream, "system");
  hear(stream, "trace");
}

export function end(): void {
  isWanted = false;
  close();
}

function close(): void {
  stream?.close();
  stream = undefined;
}

// A browser has few connections to one host (six, by HTTP/1.1): tabs that nobody looks at give theirs back.
document.addEventListener("visibilitychange", () => {
  clearTimeout(leaving);
  if (document.hidden) leaving = window.setTimeout(close, HIDDEN_MS);
  else if (isWanted) begin();
});

/** Returns the latest of what is told under a name. */
export function useTold<N extends Name>(name: N): Told[N] | undefined {
  const [value, setValue] = useState<Told[N] | undefined>(latest[name]);
  useHeard(name, setValue);
  // What was told between the drawing and the listening.
  useEffect(() => setValue(latest[name]), [name]);
  return value;
}

/** Runs something for each of what is told under a name. */
export function useHeard<N extends Name>(name: N, hearing: (value: Told[N]) => void): void {
  useEffect(() => {
    const listener: Listener = (value) => hearing(value);
    const all = listeners.get(name) ?? new Set<Listener>();
    listeners.set(name, all);
    all.add(listener);
    return () => void all.delete(listener);
  }, [name]);
}
