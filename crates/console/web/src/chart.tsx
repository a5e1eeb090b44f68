// What was measured over time, from the local memory: rate, failures and durations of a service or of the edge.

import type { TargetedPointerEvent } from "preact";
import { useState } from "preact/hooks";
import { api, Problem } from "./api";
import { useLoaded } from "./async";
import { clock, duration, percent, rate } from "./format";
import { Refused } from "./parts";
import { useFilters } from "./router";
import type { Point } from "./types";

const REFRESH_MS = 10_000;
/** Points of a chart: a step is so much of its time. */
const POINTS = 60;
/** Points further apart than this many steps have a gap between them. */
const GAP_STEPS = 1.5;
const WIDE = 600;
const TALL = 64;
const TOP = 6;

/** The memory has a point for each ten seconds. */
const BRIEF_MINUTES = 10;
const RANGES = [
  { minutes: 15, label: "15 min" },
  { minutes: 60, label: "1 h" },
  { minutes: 360, label: "6 h" },
];

interface Metric {
  name: string;
  service?: string;
  /** What it counts. */
  work: string;
}

/** The metrics that say how a node of the map works, the first of them that it has. */
export function metricsOf(node: string): Metric[] {
  if (node === "edge") return [{ name: "http.server.request.duration", work: "Requests" }];
  if (!node.startsWith("service:")) return [];
  const service = node.slice("service:".length);
  return [
    { name: "rpc.server.call.duration", service, work: "Calls" },
    { name: "messaging.process.duration", service, work: "Events" },
  ];
}

interface TrendsProps {
  node: string;
  /** Only the rate and the slowest percent. */
  brief?: boolean;
}

export function Trends({ node, brief }: TrendsProps) {
  const [filters, setFilters] = useFilters();
  const minutes = brief ? BRIEF_MINUTES : RANGES.find((one) => String(one.minutes) === filters.range)?.minutes ?? 15;
  const stepS = (minutes * 60) / POINTS;
  const metrics = metricsOf(node);
  const asked = useLoaded(
    async (signal) => {
      const until = Date.now();
      const from = until - minutes * 60_000;
      let points: Point[] = [];
      let work = "";
      for (const { name, service, work: of } of metrics) {
        const query = { name, service, by: "service.name", from_ms: from, step_s: stepS };
        points = (await api.metrics(query, signal).catch(unmeasured)).series[0]?.points ?? [];
        work = of;
        if (points.length > 0) break;
      }
      // A step that is not over yet has not got all of its work.
      return { from, until, work, points: points.filter((point) => point.at_ms + stepS * 1_000 <= until) };
    },
    [node, minutes],
    REFRESH_MS,
  );
  if (metrics.length === 0) return null;
  const { from = 0, until = 1, points = [], work = "Rate" } = asked.value ?? {};
  const gapMs = GAP_STEPS * stepS * 1_000;
  const rest = { points, from, until, gapMs };
  return (
    <section class="trends" aria-label="Trends">
      {!brief && (
        <div class="toolbar">
          <h2>Trends</h2>
          <span class="grow" />
          <div class="segments" role="group" aria-label="Time">
            {RANGES.map((one) => (
              <button type="button" aria-pressed={minutes === one.minutes} onClick={() => setFilters({ range: String(one.minutes) })} key={one.label}>
                {one.label}
              </button>
            ))}
          </div>
        </div>
      )}
      {asked.problem && <Refused problem={asked.problem} again={asked.again} />}
      <div class={brief ? "charts brief" : "charts"}>
        <Chart label={work} {...rest} value={(point) => point.rate} write={rate} />
        {!brief && <Chart label="Failed" tone="bad" {...rest} value={(point) => point.error_share} write={percent} />}
        {!brief && <Chart label="p50" {...rest} value={(point) => ms(point.p50)} write={duration} />}
        <Chart label="p99" {...rest} value={(point) => ms(point.p99)} write={duration} />
      </div>
    </section>
  );
}

/** A metric that nothing has been measured of yet, as in a system without visitors, is refused by its name. */
function unmeasured(error: unknown): { series: [] } {
  if (error instanceof Problem && error.violations.some((violation) => violation.field === "name")) return { series: [] };
  throw error;
}

function ms(seconds: number | null | undefined): number | undefined {
  return seconds === null || seconds === undefined ? undefined : seconds * 1_000;
}

interface ChartProps {
  label: string;
  points: Point[];
  from: number;
  until: number;
  gapMs: number;
  value: (point: Point) => number | null | undefined;
  write: (value: number) => string;
  tone?: string;
}

function Chart({ label, points, from, until, gapMs, value, write, tone = "" }: ChartProps) {
  const [pointed, setPointed] = useState<{ at: number; value: number }>();
  const known = points.flatMap((point) => {
    const of = value(point);
    return of === null || of === undefined ? [] : [{ at: point.at_ms, value: of }];
  });
  const top = Math.max(0, ...known.map((point) => point.value));
  const last = known.at(-1);
  const x = (at: number): number => ((at - from) / (until - from)) * WIDE;
  const y = (of: number): number => TALL - (top > 0 ? (of / top) * (TALL - TOP) : 0) - 1;
  const line = known.map((point, index) => {
    const before = known[index - 1];
    const begins = !before || point.at - before.at > gapMs;
    // A single point is a dash.
    return `${begins ? "M" : "L"}${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}${begins ? "h2" : ""}`;
  });
  const point = (event: TargetedPointerEvent<SVGSVGElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const at = from + ((event.clientX - box.left) / box.width) * (until - from);
    setPointed(known.reduce<{ at: number; value: number } | undefined>(
      (best, one) => (!best || Math.abs(one.at - at) < Math.abs(best.at - at) ? one : best), undefined));
  };
  const shown = pointed ?? last;
  return (
    <figure class={`chart ${top > 0 ? tone : ""}`}>
      <figcaption>
        <span>{label}</span>
        <span class="fine">{pointed ? clock(pointed.at).slice(0, 8) : ""}</span>
        <strong>{shown ? write(shown.value) : "–"}</strong>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDE} ${TALL}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={last ? `${label}: ${write(last.value)} now, at most ${write(top)}` : `${label}: nothing was measured`}
        onPointerMove={point}
        onPointerLeave={() => setPointed(undefined)}
      >
        <path d={`M0 ${TALL - 0.5}H${WIDE}`} class="axis" />
        <path d={line.join("")} class="line" />
        {pointed && <path d={`M${x(pointed.at)} 0V${TALL}`} class="cursor" />}
      </svg>
      <p class="fine chart-top">{top > 0 && `at most ${write(top)}`}</p>
    </figure>
  );
}
