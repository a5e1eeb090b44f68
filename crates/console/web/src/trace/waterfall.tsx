// The timeline as a tree grid: a name and a bar in each row, walked by keys.

import type { TargetedKeyboardEvent } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { bare, duration } from "../format";
import { flat, type Row, type Timeline } from "./timeline";

/** Rows that are drawn; a longer trace says that it is longer. */
const ROWS_MAX = 1_500;
const TICKS = 5;
/** The width of the picture of bars, in its own units. */
const WIDE = 1_000;
const TALL = 22;

interface WaterfallProps {
  timeline: Timeline;
  /** What is drawn ends here, in milliseconds since the trace began. */
  untilMs: number;
  roots: Row[];
  selected: string;
  onSelect: (id: string) => void;
  withCritical: boolean;
}

/** The hue of a service: the same in every row of a trace. */
export function hueClass(timeline: Timeline, service: string): string {
  const index = timeline.services.indexOf(service);
  return `hue${index < 0 ? "" : index % 10}`;
}

export function Waterfall({ timeline, untilMs, roots, selected, onSelect, withCritical }: WaterfallProps) {
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const grid = useRef<HTMLDivElement>(null);
  const shown = useMemo(() => flat(roots, (row) => !closed.has(row.id)), [roots, closed]);
  const rows = shown.slice(0, ROWS_MAX);
  const parents = useMemo(() => parentsOf(roots), [roots]);
  const current = rows.some(({ row }) => row.id === selected) ? selected : (rows[0]?.row.id ?? "");

  const set = (id: string, open: boolean) => {
    const next = new Set(closed);
    if (open) next.delete(id);
    else next.add(id);
    setClosed(next);
  };
  const focus = (id: string) => {
    onSelect(id);
    grid.current?.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"]`)?.focus();
  };
  const press = (event: TargetedKeyboardEvent<HTMLDivElement>) => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const at = rows.findIndex(({ row }) => row.id === current);
    const row = rows[at]?.row;
    if (!row) return;
    const isOpen = row.children.length > 0 && !closed.has(row.id);
    const go = (index: number) => rows[index] && focus(rows[index].row.id);
    if (event.key === "ArrowDown" || event.key === "j") go(at + 1);
    else if (event.key === "ArrowUp" || event.key === "k") go(at - 1);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(rows.length - 1);
    else if (event.key === "ArrowRight") isOpen ? go(at + 1) : set(row.id, true);
    else if (event.key === "ArrowLeft") isOpen ? set(row.id, false) : parents.has(row.id) && focus(parents.get(row.id)!);
    else if (event.key === "Enter" || event.key === " ") onSelect(row.id);
    else return;
    event.preventDefault();
  };
  // What is selected from elsewhere must be seen.
  useEffect(() => {
    if (selected) grid.current?.querySelector(`[data-id="${CSS.escape(selected)}"]`)?.scrollIntoView({ block: "nearest" });
  }, [selected]);

  const ticks = Array.from({ length: TICKS }, (_, index) => (untilMs * index) / (TICKS - 1));
  return (
    <div class="waterfall" ref={grid} role="treegrid" aria-label="Timeline" onKeyDown={press}>
      <div class="wf-row wf-head" role="row">
        <span role="columnheader">Operation</span>
        <span role="columnheader" class="end">Duration</span>
        <span role="columnheader" class="end wf-self">Self</span>
        <span role="columnheader" class="wf-ruler" aria-label="Time">
          {ticks.map((tick, index) => (
            <i class={`tick t${index}`} key={index}>
              {duration(tick)}
            </i>
          ))}
        </span>
      </div>
      {rows.map(({ row, depth }) => (
        <WaterfallRow
          key={row.id}
          {...{ row, depth, timeline, untilMs, withCritical }}
          isOpen={!closed.has(row.id)}
          isSelected={row.id === selected}
          isCurrent={row.id === current}
          onToggle={() => set(row.id, closed.has(row.id))}
          onSelect={() => onSelect(row.id)}
        />
      ))}
      {shown.length > ROWS_MAX && (
        <p class="fine" role="row">
          <span role="gridcell">{shown.length - ROWS_MAX} more rows are not drawn; collapse some, or leave out a layer.</span>
        </p>
      )}
    </div>
  );
}

function parentsOf(rows: Row[]): Map<string, string> {
  const parents = new Map<string, string>();
  const walk = (row: Row): void => {
    for (const child of row.children) {
      parents.set(child.id, row.id);
      walk(child);
    }
  };
  rows.forEach(walk);
  return parents;
}

interface RowProps {
  row: Row;
  depth: number;
  timeline: Timeline;
  untilMs: number;
  withCritical: boolean;
  isOpen: boolean;
  isSelected: boolean;
  isCurrent: boolean;
  onToggle: () => void;
  onSelect: () => void;
}

const MARKS = { span: "", journal: "◆", event: "✉", line: "≡" };

function WaterfallRow({ row, depth, timeline, untilMs, withCritical, isOpen, isSelected, isCurrent, onToggle, onSelect }: RowProps) {
  const hasChildren = row.children.length > 0;
  const hue = hueClass(timeline, row.service);
  return (
    <div
      class={`wf-row ${row.what} ${row.tone} ${isSelected ? "selected" : ""}`}
      role="row"
      aria-level={depth + 1}
      aria-expanded={hasChildren ? isOpen : undefined}
      aria-selected={isSelected}
      tabIndex={isCurrent ? 0 : -1}
      data-id={row.id}
      onClick={onSelect}
    >
      <span role="gridcell" class={`wf-name d${Math.min(depth, 14)}`}>
        <span
          class={`wf-twist ${hasChildren ? (isOpen ? "open" : "closed") : ""}`}
          onClick={(event) => {
            if (!hasChildren) return;
            event.stopPropagation();
            onToggle();
          }}
          aria-hidden="true"
        />
        {row.what === "span" ? (
          <>
            <i class={`wf-service ${hue}`}>{row.service}</i>
            <span class="wf-title">{bare(row.title)}</span>
            {row.tone !== "ok" && <em class={`wf-flag ${row.tone}`}>{row.span.reason || row.span.code || row.span.status}</em>}
          </>
        ) : (
          <>
            <i class={`wf-mark ${row.what}`} aria-hidden="true">
              {MARKS[row.what]}
            </i>
            <span class="wf-title">{row.what === "journal" ? row.title.replaceAll("_", " ") : row.title}</span>
          </>
        )}
      </span>
      <span role="gridcell" class="end wf-number">
        {row.what === "span" ? duration(row.durationMs) : `+${duration(row.startMs)}`}
      </span>
      <span role="gridcell" class="end wf-number wf-self">
        {row.what === "span" ? duration(row.selfMs) : ""}
      </span>
      <span role="gridcell" class="wf-bar">
        <Bar row={row} total={untilMs} hue={hue} withCritical={withCritical} />
      </span>
    </div>
  );
}

function Bar({ row, total, hue, withCritical }: { row: Row; total: number; hue: string; withCritical: boolean }) {
  const x = (ms: number): number => (ms / total) * WIDE;
  const from = x(row.startMs);
  if (row.startMs > total) {
    return (
      <svg viewBox={`0 0 ${WIDE} ${TALL}`} preserveAspectRatio="none" aria-hidden="true">
        <path d={`M${WIDE - 7} 6 ${WIDE} ${TALL / 2} ${WIDE - 7} ${TALL - 6}`} class="later" />
      </svg>
    );
  }
  if (row.what !== "span") {
    return (
      <svg viewBox={`0 0 ${WIDE} ${TALL}`} preserveAspectRatio="none" aria-hidden="true">
        <rect x={Math.min(from, WIDE - 3)} y="5" width="3" height={TALL - 10} class={`instant ${row.what} ${row.tone}`} />
      </svg>
    );
  }
  return (
    <svg viewBox={`0 0 ${WIDE} ${TALL}`} preserveAspectRatio="none" aria-hidden="true">
      <rect x={Math.min(from, WIDE - 2)} y="5" width={Math.max(2, x(Math.min(row.durationMs, total - row.startMs)))} height={TALL - 10} class={`span-bar ${hue} ${row.tone}`} />
      {withCritical &&
        row.critical.filter(([start]) => start < total).map(([start, end]) => (
          <rect x={Math.min(x(start), WIDE - 2)} y={TALL - 5} width={Math.max(2, x(Math.min(end, total) - start))} height="2.5" class="critical" key={start} />
        ))}
    </svg>
  );
}
