// What a page waits for.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Problem } from "./api";

export interface Loaded<T> {
  value?: T;
  problem?: Problem;
  /** An answer is on its way; `value` is the one before. */
  isLoading: boolean;
  again: () => void;
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, "INTERNAL", String(error));
}

interface Held<T> {
  key: string;
  value?: T;
  problem?: Problem;
}

/**
 * Loads something now, whenever `what` changes, and every `periodMs` while the page is seen. An answer to the same question
 * replaces the one before when it is there, so that nothing jumps; one that is no longer wanted is dropped.
 */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, what: unknown[], periodMs = 0): Loaded<T> {
  const [attempt, setAttempt] = useState(0);
  const [held, setHeld] = useState<Held<T>>({ key: "" });
  const [isLoading, setLoading] = useState(true);
  const key = JSON.stringify(what);
  useEffect(() => {
    const control = new AbortController();
    let timer = 0;
    const ask = (): void => {
      setLoading(true);
      load(control.signal)
        .then(
          (value) => control.signal.aborted || setHeld({ key, value }),
          (error) =>
            control.signal.aborted ||
            setHeld((before) => ({ key, value: before.key === key ? before.value : undefined, problem: asProblem(error) })),
        )
        .finally(() => {
          if (control.signal.aborted) return;
          setLoading(false);
          if (periodMs > 0) timer = window.setTimeout(next, periodMs);
        });
    };
    const next = (): void => {
      if (document.hidden) timer = window.setTimeout(next, periodMs);
      else ask();
    };
    ask();
    return () => {
      control.abort();
      clearTimeout(timer);
    };
  }, [key, attempt, periodMs]);
  const again = useCallback(() => setAttempt((n) => n + 1), []);
  const current = held.key === key ? held : undefined;
  return { value: current?.value, problem: current?.problem, isLoading, again };
}

export interface Action {
  busy: boolean;
  problem?: Problem;
  /** Milliseconds since the work began, while it is under way. */
  elapsedMs: number;
  run: (work: () => Promise<void>) => Promise<boolean>;
  clear: () => void;
}

const TICK_MS = 100;

/** Runs one thing at a time on behalf of a button or a form. */
export function useAction(): Action {
  const [state, setState] = useState<{ busy: boolean; problem?: Problem }>({ busy: false });
  const [elapsedMs, setElapsed] = useState(0);
  const began = useRef(0);
  useEffect(() => {
    if (!state.busy) return;
    const timer = setInterval(() => setElapsed(performance.now() - began.current), TICK_MS);
    return () => clearInterval(timer);
  }, [state.busy]);
  const run = async (work: () => Promise<void>): Promise<boolean> => {
    if (state.busy) return false;
    began.current = performance.now();
    setElapsed(0);
    setState({ busy: true });
    try {
      await work();
      setState({ busy: false });
      return true;
    } catch (error) {
      setState({ busy: false, problem: asProblem(error) });
      return false;
    }
  };
  return { ...state, elapsedMs, run, clear: () => setState({ busy: false }) };
}
