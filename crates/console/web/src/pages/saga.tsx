// One saga: its steps and what was undone, its journal, and what an operator may do.

import { useState } from "preact/hooks";
import { api } from "../api";
import { useAction, useLoaded } from "../async";
import { clock, duration, plural, words } from "../format";
import { Badge, Confirm, Field, Icon, Id, Page, Refused, Said, Shown, Table, Time } from "../parts";
import { Link, to } from "../router";
import { useMay } from "../session";
import type { SagaDetail, SagaStep } from "../types";

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
      <Steps steps={saga.steps} saga={saga} />
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
              <td class="end fine">{before ? `+${duration(Number(entry.at_ms) - Number(before.at_ms)).replace("0 µs", "0 ms")}` : ""}</td>
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

const MARKS: Record<SagaStep["state"], "tick" | "cross" | "again" | undefined> = {
  done: "tick", failed: "cross", undone: "again", running: undefined, pending: undefined,
};

/** The way forward, and below it the way back as far as it went. */
function Steps({ steps, saga }: { steps: SagaStep[]; saga: SagaDetail }) {
  const undone = steps.filter((step) => step.state === "undone");
  return (
    <section aria-labelledby="steps">
      <h2 id="steps" class="sr">
        Steps
      </h2>
      <ol class="saga-steps">
        {steps.map((step) => {
          const mark = MARKS[step.state];
          const took = step.started_ms && step.ended_ms ? duration(Number(step.ended_ms) - Number(step.started_ms)).replace("0 µs", "<1 ms") : "";
          return (
            <li class={step.state} key={step.name} aria-current={step.state === "running" ? "step" : undefined}>
              <span class="dot">{mark && <Icon name={mark} />}</span>
              <span class="saga-step">
                <strong>
                  {step.kind && step.kind !== "step" && `${step.kind} `}
                  {words(step.name)}
                </strong>
                <span class="fine">
                  {words(step.state)}
                  {took && ` · ${took}`}
                  {step.attempts > 1 && ` · ${plural(step.attempts, "attempt")}`}
                </span>
                {step.note && (
                  <span class="fine saga-note" title={step.note}>
                    {step.note}
                  </span>
                )}
              </span>
            </li>
          );
        })}
      </ol>
      {undone.length > 0 && (
        <ol class="saga-steps back" aria-label="Undone, in this order">
          {saga.journal
            .filter((entry) => entry.kind === "undone")
            .map((entry) => (
              <li class="undone" key={entry.seq}>
                <span class="dot">
                  <Icon name="again" />
                </span>
                <span class="saga-step">
                  <strong>undo {words(entry.step)}</strong>
                  <span class="fine">{clock(Number(entry.at_ms))}</span>
                </span>
              </li>
            ))}
        </ol>
      )}
    </section>
  );
}
