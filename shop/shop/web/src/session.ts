// Who is signed in, for as long as the tab is open, and what is in the cart.

import { useEffect, useState } from "preact/hooks";

const KEY = "session";

interface State {
  token: string;
  email: string;
  /** When the token ends, in milliseconds since the Unix epoch. */
  until: number;
}

type Listener = () => void;

let state: State | null = read();
let pieces = 0;
const listeners = new Set<Listener>();
let onExpired: Listener = () => {};

function read(): State | null {
  try {
    const kept: State | null = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return kept && kept.until > Date.now() ? kept : null;
  } catch {
    return null;
  }
}

function change(next: State | null): void {
  state = next;
  if (next) sessionStorage.setItem(KEY, JSON.stringify(next));
  else sessionStorage.removeItem(KEY);
  if (!next) pieces = 0;
  listeners.forEach((listener) => listener());
}

export const session = {
  token: () => state?.token,
  email: () => state?.email ?? "",
  active: () => state !== null,
  begin(token: string, email: string, expiresAt: string): void {
    change({ token, email, until: Date.parse(expiresAt) });
  },
  end(): void {
    change(null);
  },
  /** The shop accepts the token no longer. */
  expire(): void {
    const wasActive = state !== null;
    change(null);
    if (wasActive) onExpired();
  },
  whenExpired(listener: Listener): void {
    onExpired = listener;
  },
  pieces: () => pieces,
  /** How many different products are in the cart. */
  setPieces(count: number): void {
    pieces = count;
    listeners.forEach((listener) => listener());
  },
};

/** Draws the component again when somebody signs in or out, or the cart changes. */
export function useSession(): typeof session {
  const [, draw] = useState(0);
  useEffect(() => {
    const listener = () => draw((n) => n + 1);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return session;
}
