// One saga: its steps and what was undone, its journal, and what an operator may do.

import { useState } from "preact/hooks";
import { api } from "../api";
import { useAction, useLoaded } from "../async";
import { duration, plural, words } from "../format";
import { Badge, Confirm, Field, Icon, Id, Page, Refused, Said, Shown, Table, Time } from "../parts";
import { Link, to } from "../router";
import { useMay } from "../session";
import type { JournalEntry, SagaDetail } from "../types";

const REFRESH_MS = 2_000;

export function SagaPage({ service, id }: { service: string; id: string }) {
  const saga = useLoaded((signal) => api.saga(service, id, signal), [service, id], REFRESH_MS);
  const { value } = saga;
  const isOperator = useMay("operator");
  const [cancels, setCancels] = useState(false);
  const [reason, setReason] = useState("");
  const [done, setDone] = useState("");
  const retry = useAction();
  const cancel = useAction();
  const state = value?.state.toLowerCase() ?? "";
  const isOver = state === "completed" || state === "compensated";
  const again = () =>
    void retry.run(async () => {
      await api.retry(service, id);
      setDone("It runs again.");
      saga.again();
    });
  const stop = () =>
    void cancel.run(async () => {
      await api.cancel(service, id, reason.trim());
      setCancels(false);
      setDone("It is being cancelled: what was done is undone.");
      saga.again();
    });
  return (
    <Page
      title={value?.workflow ?? "Saga"}
      crumbs={<Link href="/sagas">Sagas</Link>}
      aside={
        <div class="buttons">
          {isOperator && state === "parked" && (
            <button type="button" class="button" disabled={retry.busy} onClick={again}>
              {retry.busy ? "Retrying…" : "Retry"}
            </button>
          )}
          {isOperator && value && !isOver && (
            <button type="button" class="button quiet danger" onClick={() => setCancels(true)}>
              Cancel…
            </button>
          )}
          {value?.trace_id ? <Link href={`/traces/${value.trace_id}`}>Trace</Link> : <Link href={to("/traces", { q: id })}>Traces</Link>}
        </div>
      }
    >
      <Said>{done}</Said>
      {retry.problem && <Refused problem={retry.problem} />}
      <Shown of={saga} what="the saga">
        {(value) => <SagaView saga={value} />}
      </Shown>
      {cancels && (
        <Confirm title="Cancel this saga?" verb="Cancel it" danger action={cancel} onYes={stop} onClose={() => setCancels(false)} disabled={!reason.trim()}>
          <p>Its steps are undone in reverse order. A step that is committed stays.</p>
          <Field label="Reason" hint="It stands in the journal and in the operations.">
            {(id, by) => <input id={id} aria-describedby={by} type="text" required maxLength={200} value={reason} onInput={(event) => setReason(event.currentTarget.value)} />}
          </Field>
        </Confirm>
      )}
    </Page>
  );
}

function SagaView({ saga }: { saga: SagaDetail }) {
  return (
    <div class="stack">
      <dl class="figures wide">
        <div>
          <dt>State</dt>
          <dd>
            <Badge state={saga.state} />
          </dd>
        </div>
        <div>
          <dt>Service</dt>
          <dd>
            <Link href={`/services/${saga.service}`}>{saga.service}</Link>
          </dd>
        </div>
        <div>
          <dt>Began</dt>
          <dd>
            <Time ms={Number(saga.created_ms)} />
          </dd>
        </div>
        <div>
          <dt>Took</dt>
          <dd>{duration(Number(saga.updated_ms) - Number(saga.created_ms))}</dd>
        </div>
        <div>
          <dt>Id</dt>
          <dd>
            <Id id={saga.id} />
          </dd>
        </div>
      </dl>
      {saga.failure && <p class="notice bad">{saga.failure}</p>}
      <Steps journal={saga.journal} />
      <h2>Journal</h2>
      <Table label="Journal" heads={[{ text: "#", end: true }, "At", { text: "After", end: true }, "Entry", "Step", "Note"]}>
        {saga.journal.map((entry, index) => {
          const before = saga.journal[index - 1];
          return (
            <tr key={entry.seq} class={entryTone(entry.kind)}>
              <td class="end fine">{entry.seq}</td>
              <td>
                <Time ms={Number(entry.at_ms)} exact />
              </td>
              <td class="end fine">{before ? `+${whole(Number(entry.at_ms) - Number(before.at_ms))}`.replace("+<", "<") : ""}</td>
              <td>{words(entry.kind)}</td>
              <td>{entry.step ? <code>{entry.step}</code> : "–"}</td>
              <td class="fine">{entry.note}</td>
            </tr>
          );
        })}
      </Table>
    </div>
  );
}

function entryTone(kind: string): string {
  if (/failed|parked/.test(kind)) return "bad-row";
  return /compensating|undo/.test(kind) ? "warn-row" : "";
}

type Way = "running" | "done" | "failed" | "undone";

/** One thing that a saga does or undoes. */
interface Step {
  name: string;
  way: Way;
  attempts: number;
  note?: string;
  beganMs: number;
  endedMs?: number;
}

/** What an entry of the journal says of a step: begun, or how it ended. */
const FORWARD: Record<string, Way> = {
  step_started: "running", step_completed: "done", step_failed: "failed", committed: "done", commit_failed: "failed",
  timer_set: "running", timer_fired: "done", signal_awaited: "running", signal_received: "done", signal_timed_out: "failed",
};
const BACK: Record<string, Way> = { undo_started: "running", undone: "undone", undo_failed: "failed" };

/** Draws one way of the journal, the steps in the order in which they began. */
function wayOf(journal: JournalEntry[], says: Record<string, Way>): Step[] {
  const steps = new Map<string, Step>();
  for (const { kind, step: name, note, at_ms } of journal) {
    const way = says[kind];
    if (!way) continue;
    const at = Number(at_ms);
    const step = steps.get(name) ?? { name, way, attempts: 0, beganMs: at };
    steps.set(name, step);
    step.way = way;
    if (way === "running" || step.attempts === 0) step.attempts += 1;
    if (way !== "running") {
      step.endedMs = at;
      // How many bytes a step returned helps nobody here; the journal below has it.
      step.note = way === "failed" ? note : undefined;
    }
  }
  return [...steps.values()];
}

const MARKS = { done: "tick", failed: "cross", undone: "again", running: undefined } as const;

/** The way forward, and below it the way back as far as it went. */
function Steps({ journal }: { journal: JournalEntry[] }) {
  const back = wayOf(journal, BACK);
  return (
    <section aria-label="Steps">
      <StepList steps={wayOf(journal, FORWARD)} label="The way forward" />
      {back.length > 0 && <StepList steps={back} label="The way back" prefix="undo " />}
    </section>
  );
}

function StepList({ steps, label, prefix = "" }: { steps: Step[]; label: string; prefix?: string }) {
  return (
    <ol class={`saga-steps ${prefix && "back"}`} aria-label={label}>
      {steps.map(({ name, way, attempts, note, beganMs, endedMs }) => (
        <li class={way} key={name} aria-current={way === "running" ? "step" : undefined}>
          <span class="dot">{MARKS[way] && <Icon name={MARKS[way]} />}</span>
          <span class="saga-step">
            <strong>
              {prefix}
              {words(name)}
            </strong>
            <span class="fine">
              {way}
              {endedMs !== undefined && ` · ${whole(endedMs - beganMs)}`}
              {attempts > 1 && ` · ${plural(attempts, "attempt")}`}
            </span>
            {note && (
              <span class="fine saga-note" title={note}>
                {note}
              </span>
            )}
          </span>
        </li>
      ))}
    </ol>
  );
}

/** The journal's times are whole milliseconds. */
function whole(ms: number): string {
  return ms < 1 ? "<1 ms" : ms < 1_000 ? `${ms} ms` : duration(ms);
}
