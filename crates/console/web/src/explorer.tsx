// The typed API explorer: a method, a form for its message, the answer, and the trace of the call.

import { useEffect, useState } from "preact/hooks";
import { api } from "./api";
import { useAction, useLoaded } from "./async";
import { bare, duration } from "./format";
import { Code, Empty, Field, Id, Refused, Shown } from "./parts";
import { Link, useFilters } from "./router";
import { begin, Fields, filled, type Json } from "./schema-form";
import { useMay } from "./session";
import type { Contract, ContractBrief } from "./types";

export function Explorer({ contracts }: { contracts: ContractBrief[] }) {
  const [filters, setFilters] = useFilters();
  const methods = contracts.flatMap((contract) => contract.methods.map((method) => ({ contract: contract.name, ...method })));
  const nameOf = (one: (typeof methods)[number]): string => (one.name.includes("/") ? one.name : `${one.contract}/${one.name}`);
  const chosen = methods.find((one) => nameOf(one) === filters.method) ?? methods[0];
  const contract = useLoaded((signal) => (chosen ? api.contract(chosen.contract, signal) : Promise.reject()), [chosen?.contract]);
  if (!chosen) return <Empty>The service has no contract.</Empty>;
  return (
    <div class="stack">
      <Field label="Method">
        {(id) => (
          <select id={id} class="wide" value={nameOf(chosen)} onChange={(event) => setFilters({ method: event.currentTarget.value })}>
            {methods.map((one) => (
              <option value={nameOf(one)} key={nameOf(one)}>
                {bare(nameOf(one))}
                {one.no_side_effects ? " · reads" : ""}
                {one.http?.length ? ` · ${one.http.join(", ")}` : ""}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Shown of={contract} what="the contract">
        {(value) =>
          chosen.streams ? (
            <Empty>It streams: call it with a client of its contract.</Empty>
          ) : (
            <Caller contract={value} method={nameOf(chosen)} reads={chosen.no_side_effects ?? false} key={nameOf(chosen)} />
          )
        }
      </Shown>
    </div>
  );
}

function Caller({ contract, method, reads }: { contract: Contract; method: string; reads: boolean }) {
  const mayCall = useMay(reads ? "operator" : "admin");
  const described = contract.methods.find((one) => method.endsWith(`/${one.name.split("/").at(-1)}`));
  const root = contract;
  const [value, setValue] = useState<Json>(() => (described ? begin(described.input, root) : {}));
  const [asJson, setAsJson] = useState(false);
  const [text, setText] = useState("{}");
  const [as, setAs] = useState("");
  const [answer, setAnswer] = useState<{ message: unknown; trace_id?: string; tookMs: number }>();
  const action = useAction();
  useEffect(() => setText(JSON.stringify(filled(value), null, 2)), [asJson]);
  if (!described) return <Empty>The contract does not describe this method.</Empty>;
  const wrong = (path: string): string | undefined => {
    const plain = (name: string) => name.toLowerCase().replaceAll("_", "");
    return action.problem?.violations.find(({ field }) => plain(field) === plain(path))?.description;
  };
  const call = () =>
    action.run(async () => {
      setAnswer(undefined);
      const message: unknown = asJson ? JSON.parse(text) : filled(value);
      const began = performance.now();
      setAnswer({ ...(await api.call(method, message, as.trim())), tookMs: performance.now() - began });
    });
  const change = () => {
    if (asJson) {
      try {
        setValue(JSON.parse(text));
      } catch {
        // What is no JSON cannot be shown as a form.
        return;
      }
    }
    setAsJson(!asJson);
  };
  return (
    <div class="explorer">
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void call();
        }}
      >
        <div class="toolbar">
          <strong>{bare(method)}</strong>
          <span class="grow" />
          <div class="segments" role="group" aria-label="How the message is written">
            <button type="button" aria-pressed={!asJson} onClick={() => asJson && change()}>
              Form
            </button>
            <button type="button" aria-pressed={asJson} onClick={() => !asJson && change()}>
              JSON
            </button>
          </div>
        </div>
        {described.description && <p class="fine">{described.description}</p>}
        {asJson ? (
          <Field label="Message">
            {(id) => <textarea id={id} class="mono" rows={14} spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} />}
          </Field>
        ) : (
          <Fields schema={described.input} {...{ root, value, wrong }} onChange={setValue} />
        )}
        <Field label="On behalf of" hint="A user's id; the console's own name if it is empty">
          {(id, by) => (
            <input id={id} aria-describedby={by} type="text" autocomplete="off" spellcheck={false} value={as} onInput={(event) => setAs(event.currentTarget.value)} />
          )}
        </Field>
        {mayCall ? (
          <div class="buttons">
            <button type="submit" class="button" disabled={action.busy}>
              {action.busy ? "Calling…" : "Call"}
            </button>
            {!reads && <span class="fine">It may change something.</span>}
          </div>
        ) : (
          <p class="fine">{reads ? "Operators may call it." : "It may change something: administrators may call it."}</p>
        )}
      </form>
      <div class="stack" aria-live="polite">
        {action.problem && (
          <>
            <Refused problem={action.problem} />
            {action.problem.traceId && <TraceOf id={action.problem.traceId} />}
          </>
        )}
        {answer && (
          <>
            <p class="toolbar">
              <strong>Answer</strong> <span class="fine">after {duration(answer.tookMs)}</span>
            </p>
            <Code label="Answer">{JSON.stringify(answer.message, null, 2)}</Code>
            {answer.trace_id && <TraceOf id={answer.trace_id} />}
          </>
        )}
        {!answer && !action.problem && <Empty>The answer will stand here, with its trace.</Empty>}
      </div>
    </div>
  );
}

function TraceOf({ id }: { id: string }) {
  return (
    <p>
      <Link href={`/traces/${id}`}>Its trace</Link> <Id id={id} />
    </p>
  );
}
