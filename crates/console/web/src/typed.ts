// Text that a filter waits with until somebody stops typing.

import { useEffect, useRef, useState } from "preact/hooks";

const PAUSE_MS = 250;

/** Returns the text of a field and what it is set by; `settle` gets it when nothing was typed for a while. */
export function useTyped(settled: string, settle: (text: string) => void): [string, (text: string) => void] {
  const [text, setText] = useState(settled);
  const timer = useRef(0);
  useEffect(() => setText(settled), [settled]);
  const type = (next: string) => {
    setText(next);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => settle(next.trim()), PAUSE_MS);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  return [text, type];
}
