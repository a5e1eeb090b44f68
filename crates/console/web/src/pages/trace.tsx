// One request: calls, stores, events, saga steps and log lines in one timeline.

import { useEffect, useMemo } from "preact/hooks";
import { api } from "../api";
import { useLoaded } from "../async";
import { bare, duration, moment, short } from "../format";
import { Badge, Code, Icon, Id, Page, Shown, Time } from "../parts";
import { Link, to, useFilters } from "../router";
import { attribute, type Extent, extentOf, flat, LAYERS, type Row, type Timeline, timelineOf, untilOf, without } from "../trace/timeline";
import { hueClass, Waterfall } from "../trace/waterfall";
import type { Trace } from "../types";
import { Figure } from "./map";

/** How often a trace is read again whose last spans may be on their way. */
const FRESH_MS = 2_000;
const SETTLED_MS = 60_000;

export function TracePage({ id }: { id: string }) {
  const trace = useLoaded((signal) => api.trace(id, signal), [id]);
  const { value, again } = trace;
  useEffect(() => {
    if (!value) return;
    const latest = Math.max(...value.spans.map((span) => (span.started_ns + span.duration_ns) / 1e6));
    if (Date.now() - latest > SETTLED_MS) return;
    const timer = setTimeout(again, FRESH_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return (
    <Page title="Trace" crumbs={<Link href="/traces">Traces</Link>} aside={
        <div class="buttons">
          <Link href={to("/logs", { trace: value?.trace_id ?? id })}>Log lines</Link>
          <Id id={value?.trace_id ?? id} whole />
        </div>
      }>
      <Shown of={trace} what="the trace">
        {(value) => <TraceView trace={value} />}
      </Shown>
    </Page>
  );
}

const EXTENTS: { one: Extent; label: string; title: string }[] = [
  { one: "answer", label: "Answer", title: "Until the caller had the answer" },
  { one: "most", label: "Most", title: "Until most of it was over; what came later is an arrow" },
  { one: "whole", label: "Whole", title: "From the first moment to the last" },
];

function TraceView({ trace }: { trace: Trace }) {
  const [filters, setFilters] = useFilters();
  const timeline = useMemo(() => timelineOf(trace), [trace]);
  const hide = filters.hide ?? "";
  const hidden = useMemo(() => new Set(hide.split(",").filter(Boolean)), [hide]);
  const roots = useMemo(() => without(timeline.roots, hidden), [timeline, hidden]);
  const all = useMemo(() => flat(timeline.roots), [timeline]);
  const chosen = all.find(({ row }) => row.id === filters.row)?.row;
  const root = timeline.roots.find((row) => row.what === "span");
  const failed = trace.spans.filter((span) => span.status === "failed").length;
  const refused = trace.spans.filter((span) => span.status === "refused").length;
  const extent = (filters.extent as Extent | undefined) ?? extentOf(timeline);
  const untilMs = untilOf(timeline, extent);
  const withCritical = filters.critical !== "0";
  const toggle = (layer: string) => {
    const next = new Set(hidden);
    if (!next.delete(layer)) next.add(layer);
    setFilters({ hide: [...next].join(",") });
  };
  return (
    <>
      <p class="trace-name">
        {root?.what === "span" && <i class={`wf-service ${hueClass(timeline, root.service)}`}>{root.service}</i>}
        <strong>{root ? bare(root.title) : "Its first span is not known"}</strong>
        {root?.what === "span" && <Badge state={root.span.status} />}
      </p>
      <dl class="figures wide">
        <Figure label="Answered in" value={root ? duration(root.durationMs) : "–"} />
        <Figure label="All of it" value={duration(timeline.durationMs)} />
        <Figure label="Spans" value={String(trace.spans.length)} />
        <Figure label="Failed" value={String(failed)} tone={failed > 0 ? "bad" : ""} />
        <Figure label="Refused" value={String(refused)} tone={refused > 0 ? "warn" : ""} />
        <Figure label="Services" value={String(timeline.services.length)} />
        <div>
          <dt>Began</dt>
          <dd>
            <Time ms={timeline.startedMs} />
          </dd>
        </div>
        {(trace.sagas ?? []).map((saga) => (
          <div key={saga.id}>
            <dt>Saga</dt>
            <dd>
              <Link href={`/sagas/${saga.service}/${encodeURIComponent(saga.id)}`}>{saga.workflow}</Link> <Badge state={saga.state} />
            </dd>
          </div>
        ))}
      </dl>
      <div class="toolbar" role="group" aria-label="What the timeline shows">
        {LAYERS.map(({ layer, label }) => {
          const count = all.filter(({ row }) => row.layer === layer).length;
          return (
            <button type="button" class="chip" aria-pressed={!hidden.has(layer)} disabled={count === 0} onClick={() => toggle(layer)} key={layer}>
              {label} <small>{count}</small>
            </button>
          );
        })}
        <span class="grow" />
        <div class="segments" role="group" aria-label="Time that is drawn">
          {EXTENTS.map(({ one, label, title }) => (
            <button type="button" title={title} aria-pressed={extent === one} onClick={() => setFilters({ extent: one })} key={one}>
              {label}
            </button>
          ))}
        </div>
        <label class="check">
          <input type="checkbox" checked={withCritical} onChange={() => setFilters({ critical: withCritical ? "0" : "" })} /> Critical path
        </label>
      </div>
      <div class={`trace-body ${chosen ? "with-drawer" : ""}`}>
        <Waterfall
          {...{ timeline, untilMs, roots, withCritical }}
          selected={filters.row ?? ""}
          onSelect={(row) => setFilters({ row })}
        />
        {chosen && <Detail row={chosen} timeline={timeline} close={() => setFilters({ row: "" })} />}
      </div>
    </>
  );
}

function Detail({ row, timeline, close }: { row: Row; timeline: Timeline; close: () => void }) {
  useEffect(() => {
    const press = (event: KeyboardEvent) => event.key === "Escape" && !document.querySelector("dialog[open]") && close();
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  return (
    <aside class="drawer" aria-label={row.title}>
      <div class="drawer-head">
        <h2>{row.what === "line" ? "Log line" : bare(row.title)}</h2>
        <button type="button" class="icon-button" aria-label="Close" onClick={close}>
          <Icon name="cross" />
        </button>
      </div>
      <dl class="facts">
        {row.service && (
          <div>
            <dt>Service</dt>
            <dd>
              <Link href={`/services/${row.service}`}>{row.service}</Link>
            </dd>
          </div>
        )}
        <div>
          <dt>At</dt>
          <dd title={moment(timeline.startedMs + row.startMs)}>+{duration(row.startMs)}</dd>
        </div>
        <About row={row} timeline={timeline} />
      </dl>
    </aside>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function messageAt(topic: string, partition: number, offset: number): string {
  return to(`/events/${encodeURIComponent(topic)}`, { partition, offset, message: `${partition}/${offset}` });
}

/** What a span follows: a row of this timeline, or one of another trace. */
function Followed({ link, own, timeline }: { link: string; own: string; timeline: Timeline }) {
  const [trace = "", span = ""] = link.split("-");
  const found = flat(timeline.roots).find(({ row }) => row.id === span)?.row;
  const href = to(`/traces/${trace}`, { row: span });
  if (trace === own && !found) return <span class="fine">a span that was not kept</span>;
  return <Link href={href}>{found ? `${found.service} ${bare(found.title)}` : `trace ${short(trace)}`}</Link>;
}

function About({ row, timeline }: { row: Row; timeline: Timeline }) {
  switch (row.what) {
    case "journal":
      return (
        <>
          <Fact name="Saga">
            <Link href={`/sagas/${row.saga.service}/${encodeURIComponent(row.saga.id)}`}>{row.saga.workflow}</Link>
          </Fact>
          <Fact name="Id">
            <Id id={row.saga.id} />
          </Fact>
          <Fact name="Entry">{row.entry.seq}</Fact>
          {row.entry.note && <Fact name="Note">{row.entry.note}</Fact>}
        </>
      );
    case "event":
      return (
        <>
          <Fact name="Type">{bare(row.event.type)}</Fact>
          <Fact name="Event">
            <Id id={row.event.id} />
          </Fact>
          {row.event.key && (
            <Fact name="Key">
              <Id id={row.event.key} />
            </Fact>
          )}
          <Fact name="In the log">
            {row.event.partition === null || row.event.offset === null ? (
              `${row.event.topic}, no longer there`
            ) : (
              <Link href={messageAt(row.event.topic, row.event.partition, row.event.offset)}>
                {row.event.topic} {row.event.partition}/{row.event.offset}
              </Link>
            )}
          </Fact>
        </>
      );
    case "line":
      return (
        <>
          <Fact name="Level">
            <Badge state={row.line.level} />
          </Fact>
          <Fact name="Message">{row.line.message}</Fact>
          {row.line.target && <Fact name="Module">{row.line.target}</Fact>}
          {row.line.fields && Object.keys(row.line.fields).length > 0 && (
            <Code label="Fields">{JSON.stringify(row.line.fields, null, 2)}</Code>
          )}
        </>
      );
    default: {
      const { span } = row;
      const saga = attribute(span, "banyan.saga.id");
      return (
        <>
          <Fact name="Duration">{duration(row.durationMs)}</Fact>
          <Fact name="Self">{duration(row.selfMs)}</Fact>
          <Fact name="Ended">
            <Badge state={span.status} /> {span.code}
          </Fact>
          {span.reason && (
            <Fact name="Reason">
              <code>{span.reason}</code>
            </Fact>
          )}
          {span.message && <Fact name="Message">{span.message}</Fact>}
          <Fact name="Kind">{span.kind}</Fact>
          <Fact name="Process">{span.process}</Fact>
          {saga && (
            <Fact name="Saga">
              <Link href={`/sagas/${span.service}/${encodeURIComponent(saga)}`}>{attribute(span, "banyan.saga.workflow") || "show"}</Link>
            </Fact>
          )}
          {span.attributes.map(([name, value]) => (
            <Fact name={name.replace(/^banyan\./, "")} key={name}>
              {/\.id$|\.key$/.test(name) ? <Id id={String(value)} /> : String(value)}
            </Fact>
          ))}
          <Fact name="Span">
            <Id id={span.span_id} />
          </Fact>
          <Fact name="Correlation">
            <Id id={span.correlation_id} />
          </Fact>
          {span.links.length > 0 && (
            <Fact name="Follows">
              <ul>
                {span.links.map((link) => (
                  <li key={link}>
                    <Followed link={link} own={span.trace_id} timeline={timeline} />
                  </li>
                ))}
              </ul>
            </Fact>
          )}
        </>
      );
    }
  }
}
