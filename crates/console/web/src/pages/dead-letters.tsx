// Events that a service could not handle: look, mend, send again, or drop.

import { useEffect, useState } from "preact/hooks";
import { api } from "../api";
import { asProblem, useAction, useLoaded } from "../async";
import { bare, count, json, plural } from "../format";
import { useTold } from "../live";
import { Code, Confirm, Empty, Field, Icon, Id, Page, Refused, Said, Shown, Table, Time } from "../parts";
import { Link, useFilters } from "../router";
import { useMay } from "../session";
import type { Letter } from "../types";

const REFRESH_MS = 5_000;
/** Lines of a payload that are edited without scrolling. */
const ROWS_MAX = 18;

const placeOf = (letter: Letter): string => `${letter.partition}/${letter.offset}`;
const keyOf = (letter: Letter): string => `${letter.group} ${placeOf(letter)}`;

export function DeadLetters() {
  const [filters, setFilters] = useFilters();
  const group = filters.group ?? "";
  const system = useTold("system");
  const letters = useLoaded((signal) => api.letters(group, signal), [group], REFRESH_MS);
  const isOperator = useMay("operator");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [done, setDone] = useState("");
  const [drops, setDrops] = useState<Letter[]>();
  const action = useAction();
  const all = letters.value?.letters ?? [];
  const picked = all.filter((letter) => chosen.has(keyOf(letter)));
  const open = all.find((letter) => keyOf(letter) === filters.letter);
  const groups = [...new Set([...(system?.services.map((one) => one.service) ?? []), ...all.map((letter) => letter.group), group].filter(Boolean))];

  const toggle = (letter: Letter) => {
    const next = new Set(chosen);
    if (!next.delete(keyOf(letter))) next.add(keyOf(letter));
    setChosen(next);
  };
  const ended = (text: string) => {
    setDone(text);
    setChosen(new Set());
    setFilters({ letter: "" });
    letters.again();
  };
  /** Does something to letters, a group at a time. */
  const each = async (some: Letter[], work: (group: string, letters: string[]) => Promise<{ done: number }>): Promise<number> => {
    let sum = 0;
    for (const [group, own] of Map.groupBy(some, (letter) => letter.group)) sum += (await work(group, own.map(placeOf))).done;
    return sum;
  };
  const redrive = (some: Letter[]) =>
    action.run(async () => ended(`${plural(await each(some, (group, list) => api.redrive(group, list)), "event")} sent again.`));
  const drop = (some: Letter[]) =>
    action.run(async () => {
      const dropped = await each(some, api.drop);
      setDrops(undefined);
      ended(`${plural(dropped, "event")} dropped.`);
    });

  return (
    <Page title="Dead letters" aside={letters.value && <span class="fine">{plural(all.length, "event")}</span>}>
      <div class="toolbar">
        <select aria-label="Group" value={group} onChange={(event) => setFilters({ group: event.currentTarget.value, letter: "" })}>
          <option value="">All groups</option>
          {groups.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        <span class="grow" />
        {isOperator && (
          <>
            <span class="fine">{picked.length > 0 && `${picked.length} chosen`}</span>
            <button type="button" class="button quiet" disabled={picked.length === 0 || action.busy} onClick={() => void redrive(picked)}>
              Redrive
            </button>
            <button type="button" class="button quiet danger" disabled={picked.length === 0 || action.busy} onClick={() => setDrops(picked)}>
              Drop
            </button>
          </>
        )}
      </div>
      <Said>{done}</Said>
      {action.problem && !drops && <Refused problem={action.problem} />}
      <Shown of={letters} what="the dead letters">
        {() =>
          all.length === 0 ? (
            <Empty>Every event was handled. What a service cannot handle, however often it tries, waits here.</Empty>
          ) : (
            <div class={open ? "split" : ""}>
              <Table
                label="Dead letters"
                class="compact"
                heads={[...(isOperator ? [{ text: "Chosen", class: "sr-only" }] : []), "Died", "Group", "Event", "Key", "Reason", { text: "Attempts", end: true }]}
              >
                {all.map((letter) => (
                  <tr key={keyOf(letter)} class={letter === open ? "selected" : ""}>
                    {isOperator && (
                      <td>
                        <input type="checkbox" aria-label={`Choose ${keyOf(letter)}`} checked={chosen.has(keyOf(letter))} onChange={() => toggle(letter)} />
                      </td>
                    )}
                    <td>
                      <Time ms={letter.dead_ms} />
                    </td>
                    <td>{letter.group}</td>
                    <td>
                      <button type="button" class="text" data-row aria-pressed={letter === open} onClick={() => setFilters({ letter: keyOf(letter) })}>
                        {bare(letter.type)}
                      </button>
                    </td>
                    <td>{letter.key ? <Id id={letter.key} /> : "–"}</td>
                    <td>
                      <code>{letter.reason || "–"}</code>
                    </td>
                    <td class="end">{count(letter.attempts)}</td>
                  </tr>
                ))}
              </Table>
              {open && (
                <Opened
                  letter={open}
                  key={keyOf(open)}
                  close={() => setFilters({ letter: "" })}
                  ended={ended}
                  drop={() => setDrops([open])}
                />
              )}
            </div>
          )
        }
      </Shown>
      {drops && (
        <Confirm
          title={`Drop ${plural(drops.length, "event")}?`}
          verb="Drop"
          danger
          action={action}
          onYes={() => void drop(drops)}
          onClose={() => {
            setDrops(undefined);
            action.clear();
          }}
        >
          <p>
            {drops.length === 1 ? "It" : "They"} will never be handled by <strong>{[...new Set(drops.map((letter) => letter.group))].join(", ")}</strong>. This
            cannot be taken back.
          </p>
        </Confirm>
      )}
    </Page>
  );
}

interface OpenedProps {
  letter: Letter;
  close: () => void;
  ended: (text: string) => void;
  drop: () => void;
}

/** One event: why it died, its payload, and a mended one. */
function Opened({ letter, close, ended, drop }: OpenedProps) {
  const isOperator = useMay("operator");
  const original = json(letter.payload);
  const [text, setText] = useState<string>();
  const action = useAction();
  const wrong = text === undefined ? undefined : syntaxError(text);
  useEffect(() => action.clear(), [text]);
  const send = () =>
    action.run(async () => {
      const payload: unknown = text === undefined || text === original ? undefined : JSON.parse(text);
      await api.redrive(letter.group, [placeOf(letter)], payload);
      ended(payload === undefined ? "1 event sent again." : "1 event sent again, with its new payload.");
    });
  return (
    <aside class="drawer wide" aria-label={`Dead letter ${placeOf(letter)}`}>
      <div class="drawer-head">
        <h2>{bare(letter.type)}</h2>
        <button type="button" class="icon-button" aria-label="Close" onClick={close}>
          <Icon name="cross" />
        </button>
      </div>
      <p class="notice bad">{letter.error}</p>
      <dl class="facts">
        <div>
          <dt>Group</dt>
          <dd>{letter.group}</dd>
        </div>
        <div>
          <dt>From</dt>
          <dd>
            <Link href={`/events/${encodeURIComponent(letter.topic)}`}>{letter.topic}</Link>
          </dd>
        </div>
        {letter.key && (
          <div>
            <dt>Key</dt>
            <dd>
              <Id id={letter.key} />
            </dd>
          </div>
        )}
        <div>
          <dt>Died</dt>
          <dd>
            <Time ms={letter.dead_ms} /> after {plural(letter.attempts, "attempt")}
          </dd>
        </div>
        {letter.trace_id && (
          <div>
            <dt>Trace</dt>
            <dd>
              <Link href={`/traces/${letter.trace_id}`}>Show</Link> <Id id={letter.trace_id} />
            </dd>
          </div>
        )}
      </dl>
      {text === undefined ? (
        <Code label="Payload">{original}</Code>
      ) : (
        <Field label="Payload" wrong={wrong}>
          {(id, by) => (
            <textarea
              id={id}
              aria-describedby={by}
              aria-invalid={wrong ? true : undefined}
              class="mono"
              rows={Math.min(ROWS_MAX, text.split("\n").length + 1)}
              spellcheck={false}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          )}
        </Field>
      )}
      {action.problem && <Refused problem={action.problem} />}
      {isOperator && (
        <div class="buttons">
          <button type="button" class="button" disabled={action.busy || wrong !== undefined} onClick={() => void send()}>
            {action.busy ? "Sending…" : text === undefined || text === original ? "Redrive" : "Redrive with this payload"}
          </button>
          {letter.editable && text === undefined && (
            <button type="button" class="button quiet" onClick={() => setText(original)}>
              Edit
            </button>
          )}
          {text !== undefined && (
            <button type="button" class="button quiet" onClick={() => setText(undefined)}>
              Leave it as it was
            </button>
          )}
          <span class="grow" />
          <button type="button" class="button quiet danger" onClick={drop}>
            Drop
          </button>
        </div>
      )}
      {isOperator && !letter.editable && (
        <p class="fine">It cannot be edited: no contract describes it, or it has secrets that are not shown.</p>
      )}
    </aside>
  );
}

function syntaxError(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return asProblem(error).message.replace(/^SyntaxError: /, "");
  }
}
