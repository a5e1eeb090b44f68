// What a page waits for.

import { useCallback, useEffect, useState } from "preact/hooks";
import { Problem } from "./api";

export interface Loaded<T> {
  value?: T;
  problem?: Problem;
  again: () => void;
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, "INTERNAL", String(error));
}

/** Loads something now and whenever `what` changes; an answer that is no longer wanted is dropped. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, what: unknown[]): Loaded<T> {
  const [attempt, setAttempt] = useState(0);
  const [loaded, setLoaded] = useState<{ key: string; value?: T; problem?: Problem }>({ key: "" });
  const key = JSON.stringify([...what, attempt]);
  useEffect(() => {
    const control = new AbortController();
    load(control.signal).then(
      (value) => control.signal.aborted || setLoaded({ key, value }),
      (error) => control.signal.aborted || setLoaded({ key, problem: asProblem(error) }),
    );
    return () => control.abort();
  }, [key]);
  const again = useCallback(() => setAttempt((n) => n + 1), []);
  const current = loaded.key === key ? loaded : { value: undefined, problem: undefined };
  return { value: current.value, problem: current.problem, again };
}

/** Runs one thing at a time on behalf of a button or a form. */
export function useAction(): {
  busy: boolean;
  problem?: Problem;
  run: (work: () => Promise<void>) => Promise<void>;
} {
  const [state, setState] = useState<{ busy: boolean; problem?: Problem }>({ busy: false });
  const run = async (work: () => Promise<void>) => {
    if (state.busy) return;
    setState({ busy: true });
    try {
      await work();
      setState({ busy: false });
    } catch (error) {
      setState({ busy: false, problem: asProblem(error) });
    }
  };
  return { ...state, run };
}
