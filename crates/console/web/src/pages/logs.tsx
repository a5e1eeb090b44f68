// What the processes logged, the latest first or followed.

import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api";
import { asProblem, useLoaded } from "../async";
import type { Problem } from "../api";
import { clock, moment } from "../format";
import { useTold } from "../live";
import { Badge, Empty, Page, Refused, Shown } from "../parts";
import { Link, useFilters } from "../router";
import type { LogLine } from "../types";
import { useTyped } from "../typed";

const LIMIT = 500;
const FOLLOW_MS = 1_000;
const LEVELS = ["ERROR", "WARN", "INFO"];

export function Logs() {
  const [filters, setFilters] = useFilters();
  const { q = "", service = "", level = "", trace = "" } = filters;
  const isLive = filters.live === "1";
  const [text, type] = useTyped(q, (next) => setFilters({ q: next }));
  const system = useTold("system");
  const ask = { q, service, level, trace };
  const logs = useLoaded((signal) => api.logs({ ...ask, limit: LIMIT }, signal), [ask]);
  const followed = useFollowed(isLive, ask, logs.value);
  const services = ["gateway", ...(system?.services.map((one) => one.service) ?? [])];
  return (
    <Page
      title="Logs"
      aside={
        <label class="check">
          <input type="checkbox" checked={isLive} onChange={() => setFilters({ live: isLive ? "" : "1" })} /> Follow
        </label>
      }
    >
      <div class="toolbar" role="search" aria-label="Filter of the logs">
        <input type="search" class="grow" aria-label="Part of the line" placeholder="Part of the line" value={text} onInput={(event) => type(event.currentTarget.value)} />
        <select aria-label="Least level" value={level} onChange={(event) => setFilters({ level: event.currentTarget.value })}>
          <option value="">All levels</option>
          {LEVELS.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        <select aria-label="Service" value={service} onChange={(event) => setFilters({ service: event.currentTarget.value })}>
          <option value="">All services</option>
          {[...new Set([...services, service].filter(Boolean))].map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        {trace && (
          <button type="button" class="chip" aria-pressed onClick={() => setFilters({ trace: "" })}>
            trace {trace.slice(0, 8)} ✕
          </button>
        )}
      </div>
      {followed.problem && <Refused problem={followed.problem} />}
      <Shown of={logs} what="the logs">
        {() =>
          followed.lines.length === 0 ? (
            <Empty>{q || service || level || trace ? "No line fits." : "Nothing was logged yet."}</Empty>
          ) : (
            <Lines lines={followed.lines} />
          )
        }
      </Shown>
    </Page>
  );
}

/** The lines of an answer and, while followed, what came after them. */
function useFollowed(
  isLive: boolean,
  ask: Record<string, string>,
  first: { lines: LogLine[]; last?: number } | undefined,
): { lines: LogLine[]; problem?: Problem } {
  const [lines, setLines] = useState<LogLine[]>([]);
  const [problem, setProblem] = useState<Problem>();
  const last = useRef<number | undefined>(undefined);
  useEffect(() => {
    setLines(first ? oldestFirst(first.lines) : []);
    last.current = first?.last;
  }, [first]);
  useEffect(() => {
    if (!isLive || !first) return;
    const control = new AbortController();
    const timer = setInterval(() => {
      if (document.hidden) return;
      api.logs({ ...ask, after: last.current ?? 0, limit: LIMIT }, control.signal).then(
        (answer) => {
          setProblem(undefined);
          last.current = answer.last ?? last.current;
          if (answer.lines.length > 0) setLines((before) => [...before, ...oldestFirst(answer.lines)].slice(-LIMIT));
        },
        (error) => control.signal.aborted || setProblem(asProblem(error)),
      );
    }, FOLLOW_MS);
    return () => {
      control.abort();
      clearInterval(timer);
    };
  }, [isLive, first, JSON.stringify(ask)]);
  return { lines, problem };
}

function oldestFirst(lines: LogLine[]): LogLine[] {
  return lines.toSorted((a, b) => a.time_ms - b.time_ms);
}

function Lines({ lines }: { lines: LogLine[] }) {
  const newest = lines.toReversed();
  return (
    <ol class="lines" aria-label="Log lines, the latest first" tabIndex={0}>
      {newest.map((line) => {
        const fields = Object.entries(line.fields ?? {});
        return (
          <li key={line.number} class={line.level.toLowerCase()}>
            <time dateTime={new Date(line.time_ms).toISOString()} title={moment(line.time_ms)}>
              {clock(line.time_ms)}
            </time>
            <Badge state={line.level} />
            <span class="line-service">{line.service ?? line.process ?? ""}</span>
            <span class="line-text">
              {line.message}
              {fields.map(([name, value]) => (
                <span class="line-field" key={name}>
                  {" "}
                  <i>{name}=</i>
                  {typeof value === "string" ? value : JSON.stringify(value)}
                </span>
              ))}
            </span>
            <span class="line-trace">{line.trace_id && <Link href={`/traces/${line.trace_id}`}>trace</Link>}</span>
          </li>
        );
      })}
    </ol>
  );
}
