// The typed API explorer: a method, a form for its message, the answer or the answers as they come, and the trace of the call.

import { useEffect, useRef, useState } from "preact/hooks";
import { Answers, type Followed, heard, NOTHING, TraceOf } from "./answers";
import { api } from "./api";
import { useAction, useLoaded } from "./async";
import { bare } from "./format";
import { Code, Empty, Field, Refused, Shown } from "./parts";
import { useFilters } from "./router";
import { begin, Fields, filled, type Json } from "./schema-form";
import { useMay } from "./session";
import { useTold } from "./live";
import type { Contract, ContractBrief, MethodBrief } from "./types";

const STREAMS = { unary: "", server_streaming: " · streams answers", client_streaming: " · takes a stream", bidirectional: " · streams both ways" };

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
                {STREAMS[one.kind]}
                {one.http?.length ? ` · ${one.http.join(", ")}` : ""}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Shown of={contract} what="the contract">
        {(value) =>
          chosen.kind === "client_streaming" || chosen.kind === "bidirectional" ? (
            <Elsewhere contract={value} method={nameOf(chosen)} brief={chosen} />
          ) : (
            <Caller contract={value} method={nameOf(chosen)} brief={chosen} key={nameOf(chosen)} />
          )
        }
      </Shown>
    </div>
  );
}

interface OneProps {
  contract: Contract;
  method: string;
  brief: MethodBrief;
}

function find({ contract, method }: OneProps) {
  return contract.methods.find((one) => method.endsWith(`/${one.name.split("/").at(-1)}`));
}

/** A method that a form cannot call: why, and what can. */
function Elsewhere(props: OneProps) {
  const { brief, method } = props;
  const gateway = useTold("system")?.gateway ?? "http://127.0.0.1:8080";
  const signedIn = brief.access === "public" ? "" : '-H "authorization: Bearer $TOKEN" ';
  const plain = gateway.startsWith("https:") ? "" : "-plaintext ";
  const description = find(props)?.description;
  return (
    <div class="stack">
      <strong>{bare(method)}</strong>
      {description && <p class="fine">{description}</p>}
      <p class="notice warn">
        It takes a stream of messages, and a form sends one message: it cannot be called here.{" "}
        {brief.access === "internal"
          ? "The gateway offers it to nobody either: services of the system call it."
          : "grpcurl calls it at the gateway, with one JSON message after the other from a file:"}
      </p>
      {brief.access !== "internal" && (
        <Code label="Command">{`grpcurl ${plain}${signedIn}-d @ ${gateway.replace(/^https?:\/\//, "")} ${method} < messages.json`}</Code>
      )}
    </div>
  );
}

function Caller(props: OneProps) {
  const { contract, method, brief } = props;
  const reads = brief.no_side_effects ?? false;
  const streams = brief.kind === "server_streaming";
  const mayCall = useMay(reads ? "operator" : "admin");
  const described = find(props);
  const root = contract;
  const [value, setValue] = useState<Json>(() => (described ? begin(described.input, root) : {}));
  const [asJson, setAsJson] = useState(false);
  const [text, setText] = useState("{}");
  const [as, setAs] = useState("");
  const [followed, setFollowed] = useState<Followed>();
  const stopping = useRef(new AbortController());
  const action = useAction();
  // Who leaves the page wants no more answers.
  useEffect(() => () => stopping.current.abort(), []);
  useEffect(() => setText(JSON.stringify(filled(value), null, 2)), [asJson]);
  if (!described) return <Empty>The contract does not describe this method.</Empty>;
  const wrong = (path: string): string | undefined => {
    const plain = (name: string) => name.toLowerCase().replaceAll("_", "");
    return action.problem?.violations.find(({ field }) => plain(field) === plain(path))?.description;
  };
  const call = () =>
    action.run(async () => {
      setFollowed(undefined);
      const message: unknown = asJson ? JSON.parse(text) : filled(value);
      const began = performance.now();
      const add = (told: Parameters<typeof heard>[1]) => setFollowed((before = NOTHING) => heard(before, told, performance.now() - began));
      if (!streams) {
        const { message: answer, trace_id } = await api.call(method, message, as.trim());
        add({ event: "begun", data: { trace_id: trace_id ?? "" } });
        add({ event: "answer", data: { number: 1, message: answer } });
        return;
      }
      const control = new AbortController();
      stopping.current = control;
      try {
        await api.stream(method, message, as.trim(), add, control.signal);
      } catch (error) {
        if (!control.signal.aborted) throw error;
        add({ event: "end", data: { why: "stopped", says: "you stopped it", answers: 0 } });
      }
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
              {action.busy ? (streams ? "Following…" : "Calling…") : "Call"}
            </button>
            {streams && action.busy && (
              <button type="button" class="button quiet" onClick={() => stopping.current.abort()}>
                Stop
              </button>
            )}
            {!reads && <span class="fine">It may change something.</span>}
          </div>
        ) : (
          <p class="fine">{reads ? "Operators may call it." : "It may change something: administrators may call it."}</p>
        )}
      </form>
      <div class="stack">
        {followed && <Answers of={followed} streams={streams} />}
        {action.problem && (
          <>
            <Refused problem={action.problem} />
            {!followed && action.problem.traceId && <TraceOf id={action.problem.traceId} />}
          </>
        )}
        {!followed && !action.problem && <Empty>{streams ? "The answers will stand here as they come" : "The answer will stand here"}, with the trace.</Empty>}
      </div>
    </div>
  );
}
