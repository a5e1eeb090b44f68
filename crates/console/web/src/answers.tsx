// What a call was answered with: once, or again and again while it is followed.

import { count, duration, plural } from "./format";
import { Code, Id } from "./parts";
import { Link } from "./router";
import type { Streamed } from "./types";

/** Answers that are shown: the latest. */
const SHOWN_MAX = 50;

/** What came so far. */
export interface Followed {
  traceId: string;
  /** The latest ones, the last one last. */
  answers: { number: number; message: unknown; afterMs: number }[];
  end?: { says: string; afterMs: number };
}

export const NOTHING: Followed = { traceId: "", answers: [] };

/** Adds what was told, so many milliseconds after the call. */
export function heard(before: Followed, told: Streamed, afterMs: number): Followed {
  switch (told.event) {
    case "begun":
      return { ...before, traceId: told.data.trace_id };
    case "answer":
      return { ...before, answers: [...before.answers, { ...told.data, afterMs }].slice(-SHOWN_MAX) };
    case "end":
      return { ...before, end: { says: told.data.says, afterMs } };
  }
}

export function Answers({ of, streams }: { of: Followed; streams: boolean }) {
  const { answers, end, traceId } = of;
  const number = answers.at(-1)?.number ?? 0;
  const text = (message: unknown) => JSON.stringify(message, null, 2);
  if (!streams) {
    return (
      <div class="stack" aria-live="polite">
        {answers.map((answer) => (
          <>
            <p class="toolbar">
              <strong>Answer</strong> <span class="fine">after {duration(answer.afterMs)}</span>
            </p>
            <Code label="Answer">{text(answer.message)}</Code>
          </>
        ))}
        {traceId && <TraceOf id={traceId} />}
      </div>
    );
  }
  return (
    <div class="stack">
      <p role="status">
        <strong>{plural(number, "answer")}</strong>{" "}
        <span class="fine">{end ? `ended after ${duration(end.afterMs)}: ${end.says}` : "so far"}</span>
      </p>
      {number > answers.length && <p class="fine">The latest {count(answers.length)} are shown.</p>}
      <ol class="stack" aria-label="Answers">
        {answers.map((answer) => (
          <li key={answer.number}>
            <p class="fine">
              {count(answer.number)} · after {duration(answer.afterMs)}
            </p>
            <Code label={`Answer ${answer.number}`}>{text(answer.message)}</Code>
          </li>
        ))}
      </ol>
      {traceId && <TraceOf id={traceId} />}
    </div>
  );
}

export function TraceOf({ id }: { id: string }) {
  return (
    <p>
      <Link href={`/traces/${id}`}>Its trace</Link> <Id id={id} />
    </p>
  );
}
