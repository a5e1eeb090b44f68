// One topic: its partitions, its messages, and who reads it again.

import { useEffect, useState } from "preact/hooks";
import { api } from "../api";
import { useAction, useLoaded } from "../async";
import { bare, bytes, count, json, moment } from "../format";
import { Code, Confirm, Empty, Field, Icon, Id, Page, Said, Shown, Table, Time } from "../parts";
import { Link, to, useFilters } from "../router";
import { useMay } from "../session";
import type { Group, Message, SeekTo, Topic } from "../types";
import { Groups } from "./events";

const LIMIT = 50;

const placeOf = (message: Message): string => `${message.partition}/${message.offset}`;
const REFRESH_MS = 5_000;

/** What a group does with one topic; nothing if it does not read it. */
function ofTopic(group: Group, topic: string): Group[] {
  const partitions = (group.partitions ?? []).filter((partition) => partition.topic === topic);
  return partitions.length === 0 ? [] : [{ ...group, partitions, lag: partitions.reduce((sum, one) => sum + one.lag, 0) }];
}

export function TopicPage({ topic: name }: { topic: string }) {
  const [filters, setFilters] = useFilters();
  const answer = useLoaded((signal) => api.topics(signal), [name], REFRESH_MS);
  const isOperator = useMay("operator");
  const [replays, setReplays] = useState(false);
  const [done, setDone] = useState("");
  const topic = answer.value?.topics.find((one) => one.topic === name);
  const groups = (answer.value?.groups ?? []).flatMap((group) => ofTopic(group, name));
  return (
    <Page
      title={name}
      crumbs={<Link href="/events">Events</Link>}
      aside={
        isOperator &&
        groups.length > 0 && (
          <button type="button" class="button quiet" onClick={() => setReplays(true)}>
            Replay…
          </button>
        )
      }
    >
      <Said>{done}</Said>
      <Shown of={answer} what="the topic">
        {() =>
          topic ? (
            <div class="stack">
              <div class="beside">
                <Partitions topic={topic} chosen={filters.partition ?? ""} choose={(partition) => setFilters({ partition, offset: "", message: "" })} />
                <Groups groups={groups} />
              </div>
              <Messages topic={topic} />
            </div>
          ) : (
            <Empty>There is no such topic.</Empty>
          )
        }
      </Shown>
      {replays && topic && (
        <Replay
          {...{ topic, groups }}
          close={() => setReplays(false)}
          done={(text) => {
            setReplays(false);
            setDone(text);
            answer.again();
          }}
        />
      )}
    </Page>
  );
}

function Partitions({ topic, chosen, choose }: { topic: Topic; chosen: string; choose: (partition: string) => void }) {
  return (
    <Table label="Partitions" class="compact" heads={["Partition", { text: "First", end: true }, { text: "Next", end: true }, { text: "Kept", end: true }, { text: "Size", end: true }]}>
      {topic.partitions.map((one) => (
        <tr key={one.partition} class={String(one.partition) === chosen ? "selected" : ""}>
          <td>
            <button type="button" class="text" data-row aria-pressed={String(one.partition) === chosen} onClick={() => choose(String(one.partition))}>
              {one.partition}
            </button>
          </td>
          <td class="end">{count(one.first)}</td>
          <td class="end">{count(one.next)}</td>
          <td class="end">{count(one.next - one.first)}</td>
          <td class="end">{bytes(one.bytes)}</td>
        </tr>
      ))}
    </Table>
  );
}

function Messages({ topic }: { topic: Topic }) {
  const [filters, setFilters] = useFilters();
  // The latest of all partitions, unless one was chosen.
  const partition = topic.partitions.find((one) => String(one.partition) === filters.partition);
  const latest = partition ? Math.max(partition.first, partition.next - LIMIT) : 0;
  const from = partition && filters.offset ? Math.max(partition.first, Number(filters.offset) || 0) : latest;
  const query = partition ? { partition: partition.partition, offset: from, limit: LIMIT } : { limit: LIMIT };
  const answer = useLoaded((signal) => api.messages(topic.topic, query, signal), [topic.topic, query]);
  const go = (next: number) => setFilters({ offset: String(Math.max(partition?.first ?? 0, next)), message: "" });
  const open = answer.value?.messages.find((message) => placeOf(message) === filters.message);
  return (
    <section class="stack" aria-labelledby="messages">
      <div class="toolbar">
        <h2 id="messages">{partition ? `Messages of partition ${partition.partition}` : "Latest messages"}</h2>
        <span class="grow" />
        {partition && (
          <>
        <label class="check">
          From offset
          <input
            type="text"
            inputMode="numeric"
            class="narrow"
            value={String(from)}
            onChange={(event) => go(Number(event.currentTarget.value) || 0)}
          />
        </label>
        <button type="button" class="button quiet" disabled={from <= partition.first} onClick={() => go(from - LIMIT)}>
          Earlier
        </button>
        <button type="button" class="button quiet" disabled={from + LIMIT >= partition.next} onClick={() => go(from + LIMIT)}>
          Later
        </button>
        <button type="button" class="button quiet" onClick={() => setFilters({ partition: "", offset: "", message: "" })}>
          Latest of all
        </button>
          </>
        )}
      </div>
      <Shown of={answer} what="messages">
        {({ messages }) =>
          messages.length === 0 ? (
            <Empty>There is no event here.</Empty>
          ) : (
            <div class={open ? "split" : ""}>
              <Table label="Messages" class="compact" heads={[{ text: "Place", end: true }, "Written", "Type", "Key", "From"]}>
                {(partition ? messages : messages.toReversed()).map((message) => (
                  <tr key={placeOf(message)} class={message === open ? "selected" : ""}>
                    <td class="end">{placeOf(message)}</td>
                    <td>
                      <Time ms={message.time_ms} />
                    </td>
                    <td>
                      <button type="button" class="text" data-row aria-pressed={message === open} onClick={() => setFilters({ message: placeOf(message) })}>
                        {bare(message.type)}
                      </button>
                    </td>
                    <td>{message.key ? <Id id={message.key} /> : "–"}</td>
                    <td>{message.source ?? "–"}</td>
                  </tr>
                ))}
              </Table>
              {open && <MessageDrawer message={open} close={() => setFilters({ message: "" })} />}
            </div>
          )
        }
      </Shown>
    </section>
  );
}

function MessageDrawer({ message, close }: { message: Message; close: () => void }) {
  const trace = message.trace_id ?? message.correlation_id;
  return (
    <aside class="drawer wide" aria-label={`Message ${placeOf(message)}`}>
      <div class="drawer-head">
        <h2>{bare(message.type)}</h2>
        <button type="button" class="icon-button" aria-label="Close" onClick={close}>
          <Icon name="cross" />
        </button>
      </div>
      <dl class="facts">
        <div>
          <dt>Id</dt>
          <dd>
            <Id id={message.id} />
          </dd>
        </div>
        {message.key && (
          <div>
            <dt>Key</dt>
            <dd>
              <Id id={message.key} />
            </dd>
          </div>
        )}
        <div>
          <dt>Written</dt>
          <dd>{moment(message.time_ms)}</dd>
        </div>
        {trace && (
          <div>
            <dt>Trace</dt>
            <dd>
              <Link href={message.trace_id ? `/traces/${trace}` : to("/traces", { q: trace })}>Show</Link> <Id id={trace} />
            </dd>
          </div>
        )}
      </dl>
      <Code label="Payload">{json(message.payload)}</Code>
    </aside>
  );
}

interface ReplayProps {
  topic: Topic;
  groups: Group[];
  close: () => void;
  done: (text: string) => void;
}

function Replay({ topic, groups, close, done }: ReplayProps) {
  const [group, setGroup] = useState(groups[0]!.group);
  const [where, setWhere] = useState<"beginning" | "end" | "time" | "offset">("beginning");
  const [time, setTime] = useState("");
  const [partition, setPartition] = useState("0");
  const [offset, setOffset] = useState("0");
  const [typed, setTyped] = useState("");
  const action = useAction();
  useEffect(() => action.clear(), [group, where]);
  const target = (): SeekTo => {
    if (where === "time") return { time_ms: new Date(time).getTime() };
    if (where === "offset") return { partition: Number(partition), offset: Number(offset) };
    return where;
  };
  const seek = () =>
    void action.run(async () => {
      await api.seek(group, topic.topic, target());
      done(`${group} reads ${topic.topic} again.`);
    });
  const isReady = typed === group && (where !== "time" || time !== "");
  return (
    <Confirm title={`Replay ${topic.topic}`} verb="Replay" action={action} onYes={seek} onClose={close} disabled={!isReady} danger>
      <Field label="Group">
        {(id) => (
          <select id={id} value={group} onChange={(event) => setGroup(event.currentTarget.value)}>
            {groups.map((one) => (
              <option key={one.group}>{one.group}</option>
            ))}
          </select>
        )}
      </Field>
      <Field label="Reads on from">
        {(id) => (
          <select id={id} value={where} onChange={(event) => setWhere(event.currentTarget.value as typeof where)}>
            <option value="beginning">the beginning</option>
            <option value="time">a moment</option>
            <option value="offset">an offset of one partition</option>
            <option value="end">the end: skips what it has not read</option>
          </select>
        )}
      </Field>
      {where === "time" && (
        <Field label="Moment">
          {(id) => <input id={id} type="datetime-local" step="1" value={time} onInput={(event) => setTime(event.currentTarget.value)} />}
        </Field>
      )}
      {where === "offset" && (
        <div class="pair">
          <Field label="Partition">
            {(id) => <input id={id} type="text" inputMode="numeric" value={partition} onInput={(event) => setPartition(event.currentTarget.value)} />}
          </Field>
          <Field label="Offset">
            {(id) => <input id={id} type="text" inputMode="numeric" value={offset} onInput={(event) => setOffset(event.currentTarget.value)} />}
          </Field>
        </div>
      )}
      <p class="notice warn">
        {where === "end"
          ? "Events that were not read are skipped for good."
          : "The group handles those events again. What it has handled before, its inbox leaves out."}
      </p>
      <Field label={`Type ${group} to confirm`}>
        {(id) => <input id={id} type="text" autocomplete="off" spellcheck={false} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />}
      </Field>
    </Confirm>
  );
}
