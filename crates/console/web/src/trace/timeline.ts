// One timeline of a trace: its spans as a tree, and in it what the journal, the event log and the logs say.

import type { JournalEntry, LogLine, Span, Trace, TraceEvent, TraceSaga } from "../types";

export type Layer = "calls" | "store" | "events" | "saga" | "logs";
export const LAYERS: { layer: Layer; label: string }[] = [
  { layer: "calls", label: "Calls" },
  { layer: "store", label: "Store" },
  { layer: "events", label: "Events" },
  { layer: "saga", label: "Saga" },
  { layer: "logs", label: "Logs" },
];

interface Base {
  id: string;
  layer: Layer;
  service: string;
  title: string;
  /** Milliseconds since the trace began. */
  startMs: number;
  /** 0 for what has no duration. */
  durationMs: number;
  tone: "ok" | "warn" | "bad";
  children: Row[];
}
export interface SpanRow extends Base {
  what: "span";
  span: Span;
  /** What was not spent in children, in milliseconds. */
  selfMs: number;
  /** Parts of it that the end of the whole trace waited for: from and to, in milliseconds since the trace began. */
  critical: [number, number][];
}
export interface JournalRow extends Base {
  what: "journal";
  saga: TraceSaga;
  entry: JournalEntry;
}
export interface EventRow extends Base {
  what: "event";
  event: TraceEvent;
}
export interface LineRow extends Base {
  what: "line";
  line: LogLine;
}
export type Row = SpanRow | JournalRow | EventRow | LineRow;

/** Which part of the time is drawn. */
export type Extent = "whole" | "most" | "answer";

export interface Timeline {
  startedMs: number;
  durationMs: number;
  roots: Row[];
  services: string[];
}

const NS = 1e6;
/** Times of journal, event log and log are whole milliseconds; a span holds what is this close to it. */
const SLACK_MS = 2;

export function attribute(span: Span, name: string): string {
  const found = span.attributes.find(([key]) => key === name);
  return found === undefined ? "" : String(found[1]);
}

function layerOf(span: Span): Layer {
  if (span.attributes.some(([name]) => name === "banyan.saga.id")) return "saga";
  if (span.attributes.some(([name]) => name === "db.system.name")) return "store";
  return span.kind === "producer" || span.kind === "consumer" ? "events" : "calls";
}

const SPAN_TONES = { ok: "ok", refused: "warn", cancelled: "warn", failed: "bad" } as const;

export function timelineOf(trace: Trace): Timeline {
  const startedMs = Math.min(...trace.spans.map((span) => span.started_ns / NS));
  const rows = new Map<string, SpanRow>();
  for (const span of trace.spans) {
    rows.set(span.span_id, {
      what: "span", id: span.span_id, layer: layerOf(span), service: span.service, title: span.name, span,
      startMs: span.started_ns / NS - startedMs, durationMs: span.duration_ns / NS,
      tone: SPAN_TONES[span.status], selfMs: 0, critical: [], children: [],
    });
  }
  const roots: Row[] = [];
  for (const row of rows.values()) {
    const parent = rows.get(row.span.parent_id);
    (parent ? parent.children : roots).push(row);
  }
  const all = [...rows.values()];
  for (const row of all) row.selfMs = selfOf(row);
  for (const root of roots) if (root.what === "span") follow(root, endOf(root), new Set());

  for (const saga of trace.sagas ?? []) for (const entry of saga.journal) {
    const startMs = Math.max(0, entry.at_ms - startedMs);
    const row: JournalRow = {
      what: "journal", id: `journal ${saga.id} ${entry.seq}`, layer: "saga", service: saga.service, saga, entry,
      title: entry.step ? `${entry.kind} ${entry.step}` : entry.kind, startMs, durationMs: 0,
      tone: /fail|park/.test(entry.kind) ? "bad" : /compensat|undo|timed/.test(entry.kind) ? "warn" : "ok", children: [],
    };
    const mine = all.filter(({ span }) => attribute(span, "banyan.saga.id") === saga.id);
    const step = mine.filter(({ span }) => span.name.endsWith(` ${entry.step}`));
    place(row, step.filter((span) => holds(span, startMs)), parentOf(mine, rows), roots);
  }
  for (const event of trace.events ?? []) {
    const startMs = Math.max(0, (event.appended_ms ?? event.at_ms) - startedMs);
    const producer = all.find(({ span }) => span.kind === "producer" && attribute(span, "messaging.message.id") === event.id);
    const row: EventRow = {
      what: "event", id: `event ${event.id}`, layer: "events",
      service: producer?.service ?? "", event, title: event.partition === null ? event.topic : `${event.topic} ${event.partition}/${event.offset}`, startMs,
      durationMs: 0, tone: "ok", children: [],
    };
    place(row, producer ? [producer] : [], undefined, roots);
  }
  for (const line of trace.lines ?? []) {
    const startMs = Math.max(0, line.time_ms - startedMs);
    const row: LineRow = {
      what: "line", id: `line ${line.number}`, layer: "logs", service: line.service ?? "", line, title: line.message, startMs,
      durationMs: 0, tone: line.level === "ERROR" ? "bad" : line.level === "WARN" ? "warn" : "ok", children: [],
    };
    const near = all.filter((span) => span.service === line.service && span.layer !== "store" && holds(span, startMs));
    place(row, near, undefined, roots);
  }

  sort(roots);
  const ends = flat(roots).map(({ row }) => row.startMs + row.durationMs);
  return {
    startedMs,
    durationMs: Math.max(0.001, ...ends),
    roots,
    services: [...new Set(all.map((row) => row.service))],
  };
}

function holds(row: SpanRow, atMs: number): boolean {
  return atMs >= row.startMs - SLACK_MS && atMs <= row.startMs + row.durationMs + SLACK_MS;
}

/** Puts a row below the shortest of the spans that it belongs to. */
function place(row: Row, spans: SpanRow[], otherwise: SpanRow | undefined, roots: Row[]): void {
  const inner = spans.reduce<SpanRow | undefined>((best, span) => (!best || span.durationMs < best.durationMs ? span : best), undefined);
  const parent = inner ?? otherwise;
  (parent ? parent.children : roots).push(row);
}

/** What a saga's steps hang from: its begin and end belong there. */
function parentOf(mine: SpanRow[], rows: Map<string, SpanRow>): SpanRow | undefined {
  const first = mine.toSorted((a, b) => a.startMs - b.startMs)[0];
  return first && (rows.get(first.span.parent_id) ?? first);
}

function sort(rows: Row[]): void {
  rows.sort((a, b) => a.startMs - b.startMs);
  for (const row of rows) sort(row.children);
}

function spansOf(row: Row): SpanRow[] {
  return row.children.filter((child) => child.what === "span");
}

function selfOf(row: SpanRow): number {
  const end = row.startMs + row.durationMs;
  const parts = spansOf(row)
    .map((child) => [Math.max(child.startMs, row.startMs), Math.min(child.startMs + child.durationMs, end)] as const)
    .filter(([from, to]) => to > from)
    .toSorted((a, b) => a[0] - b[0]);
  let covered = 0;
  let until = row.startMs;
  for (const [from, to] of parts) {
    covered += Math.max(0, to - Math.max(from, until));
    until = Math.max(until, to);
  }
  return Math.max(0, row.durationMs - covered);
}

/** When a row and everything that follows from it has ended. */
function endOf(row: SpanRow): number {
  return Math.max(row.startMs + row.durationMs, ...spansOf(row).map(endOf));
}

/** Marks what the moment `until` waited for: from the end backwards, always the child that ended last. */
function follow(row: SpanRow, until: number, path: Set<SpanRow>): void {
  if (path.has(row)) return;
  path.add(row);
  let at = until;
  for (const child of spansOf(row).toSorted((a, b) => endOf(b) - endOf(a))) {
    const end = endOf(child);
    if (child.startMs >= at || end > at + SLACK_MS / 100) continue;
    mark(row, end, at);
    follow(child, end, path);
    at = child.startMs;
  }
  mark(row, row.startMs, at);
}

function mark(row: SpanRow, from: number, to: number): void {
  const end = Math.min(to, row.startMs + row.durationMs);
  const start = Math.max(from, row.startMs);
  if (end > start) row.critical.push([start, end]);
}

/** The part of all rows that has begun when most of a trace is over. */
const MOST = 0.85;
/** How much longer the whole has to be than its dense part before the dense part is what is drawn first. */
const SPARSE = 6;
const MARGIN = 1.04;

/** Returns until when an extent is drawn, in milliseconds since the trace began. */
export function untilOf(timeline: Timeline, extent: Extent): number {
  const root = timeline.roots.find((row) => row.what === "span");
  const answered = root ? root.startMs + root.durationMs : 0;
  if (extent === "whole" || !root) return timeline.durationMs;
  if (extent === "answer") return Math.min(timeline.durationMs, answered * MARGIN);
  const ends = flat(timeline.roots).map(({ row }) => row.startMs + row.durationMs).toSorted((a, b) => a - b);
  const most = ends[Math.floor((ends.length - 1) * MOST)] ?? timeline.durationMs;
  return Math.min(timeline.durationMs, Math.max(most, answered) * MARGIN);
}

/** Returns what is drawn of a trace if nobody said: all of it, unless a long tail would make a line of everything else. */
export function extentOf(timeline: Timeline): Extent {
  return timeline.durationMs > SPARSE * untilOf(timeline, "most") ? "most" : "whole";
}

/** Returns rows in the order in which they are drawn, with their depth. */
export function flat(rows: Row[], isOpen: (row: Row) => boolean = () => true, depth = 0): { row: Row; depth: number }[] {
  return rows.flatMap((row) => [{ row, depth }, ...(isOpen(row) ? flat(row.children, isOpen, depth + 1) : [])]);
}

/** Leaves out layers; what hangs from a row that is left out hangs from its parent instead. */
export function without(rows: Row[], hidden: Set<string>): Row[] {
  if (hidden.size === 0) return rows;
  const kept = rows.flatMap((row): Row[] => {
    const children = without(row.children, hidden);
    return hidden.has(row.layer) ? children : [{ ...row, children }];
  });
  return kept.toSorted((a, b) => a.startMs - b.startMs);
}
