// The trace that a user's action begins (W3C Trace Context): the shop goes on in it, from the click to the last event.

interface Action {
  /** When it began, in milliseconds since the page was opened. */
  at: number;
  trace: string;
  span: string;
}

/** How long requests still belong to the action before them, in milliseconds. What asks later does so by itself. */
const ACTION_MS = 5_000;
/** A submit follows its click at once: they are one action. */
const SAME_MS = 50;

let action: Action = begin();

for (const type of ["click", "submit", "popstate"]) {
  const act = () => {
    if (performance.now() - action.at > SAME_MS) action = begin();
  };
  addEventListener(type, act, { capture: true });
}

/** Returns the header of a request that is made now. */
export function traceparent(): string {
  const { trace, span } = performance.now() - action.at < ACTION_MS ? action : begin();
  return `00-${trace}-${span}-01`;
}

function begin(): Action {
  return { at: performance.now(), trace: id(16), span: id(8) };
}

function id(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
