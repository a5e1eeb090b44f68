// The system as a picture: who calls whom, which topics lie between, and how much flows.

import { useMemo } from "preact/hooks";
import { duration, percent, plural, rate } from "../format";
import type { MapEdge, MapNode } from "../types";
import { keyOf, layOut, path, type Sizes } from "./layout";

const SIZES: Sizes = { nodeWidth: 190, nodeHeight: 52, layerGap: 66, nodeGap: 24 };
/** What is slow or fails more than this is told by colour; the numbers are always written. */
const ERRORS_BAD = 0.01;
const LABEL_MAX = 19;

export function isFailing(errorRate: number | undefined): boolean {
  return (errorRate ?? 0) > ERRORS_BAD;
}

export function isIdle(rate: number | undefined): boolean {
  return !rate;
}

/** Widths grow with the order of magnitude. */
function widthOf(perSecond: number | undefined): number {
  return Math.min(5, 1.2 + Math.log10(1 + (perSecond ?? 0)) * 1.6);
}

/** One of three paces: a stroke that flows changes its pace seldom, and so does not stutter. */
function paceOf(perSecond: number | undefined): string {
  const flow = perSecond ?? 0;
  return flow > 50 ? "fast" : flow > 5 ? "brisk" : flow > 0 ? "slow" : "";
}

function cut(text: string): string {
  return text.length > LABEL_MAX ? `${text.slice(0, LABEL_MAX - 1)}…` : text;
}

export function numbers({ rate: flow, error_rate, p99_ms }: MapNode | MapEdge): string {
  if (isIdle(flow)) return "at rest";
  const parts = [rate(flow)];
  if (isFailing(error_rate)) parts.push(`${percent(error_rate)} err`);
  if (p99_ms !== undefined && p99_ms !== null) parts.push(duration(p99_ms));
  return parts.join(" · ");
}

interface PictureProps {
  nodes: MapNode[];
  edges: MapEdge[];
  selected: string;
  onSelect: (id: string) => void;
}

export function Picture({ nodes, edges, selected, onSelect }: PictureProps) {
  const shape = JSON.stringify([nodes.map((node) => node.id).sort(), edges.map(keyOf).sort()]);
  const layout = useMemo(() => layOut(nodes.map((node) => node.id), edges, ["edge"], SIZES), [shape]);
  const isNear = ({ from, to }: MapEdge): boolean => from === selected || to === selected;
  const near = new Set(edges.filter(isNear).flatMap(({ from, to }) => [from, to]));
  const { nodeWidth, nodeHeight } = SIZES;
  const label = `Map of ${plural(nodes.length, "node")} and ${plural(edges.length, "connection")}; the table beside it says the same`;
  return (
    <svg
      class={`map ${selected ? "has-selected" : ""}`}
      viewBox={`0 0 ${layout.width} ${layout.height}`}
      role="group"
      aria-label={label}
    >
      <g>
        {edges.map((edge) => {
          const points = layout.ways.get(keyOf(edge));
          if (!points) return null;
          const way = path(points);
          const end = points.at(-1)!;
          const before = points.at(-2)!;
          const tone = isFailing(edge.error_rate) ? "bad" : isIdle(edge.rate) ? "idle" : "";
          const out = edge.from === selected;
          const isDown = end.y > before.y;
          return (
            <g class={`edge ${edge.kind} ${tone} ${isNear(edge) ? "near" : ""}`} key={keyOf(edge)}>
              <path d={way} class="way" stroke-width={widthOf(edge.rate)} />
              <path d={way} class={`flow ${paceOf(edge.rate)}`} stroke-width={widthOf(edge.rate)} />
              <path d="M-7-4 0 0-7 4Z" class="tip" transform={`translate(${end.x} ${end.y}) rotate(${isDown ? 90 : -90})`} />
              {isNear(edge) && (
                <g class="edge-label" transform={`translate(${out ? end.x : points[0]!.x} ${out ? end.y : points[0]!.y})`}>
                  <text text-anchor="middle" dy={out === isDown ? -11 : 20}>
                    {numbers(edge)}
                  </text>
                </g>
              )}
            </g>
          );
        })}
      </g>
      <g>
        {nodes.map((node) => {
          const place = layout.places.get(node.id);
          if (!place) return null;
          const tone = node.state && node.state.toUpperCase() !== "READY" ? "off" : isFailing(node.error_rate) ? "bad" : "";
          const apart = node.id !== selected && !near.has(node.id) ? "apart" : "";
          return (
            <g
              class={`node ${node.kind} ${tone} ${apart} ${node.id === selected ? "selected" : ""}`}
              transform={`translate(${place.x - nodeWidth / 2} ${place.y - nodeHeight / 2})`}
              onClick={() => onSelect(node.id)}
              key={node.id}
            >
              <rect width={nodeWidth} height={nodeHeight} rx={node.kind === "topic" ? nodeHeight / 2 : 8} />
              <text class="node-name" x={node.kind === "topic" ? 20 : 12} y="22">
                {cut(node.label)}
              </text>
              <text class="node-says" x={node.kind === "topic" ? 20 : 12} y="40">
                {numbers(node)}
              </text>
              {node.processes && node.processes.length > 1 && (
                <text class="node-count" x={nodeWidth - 10} y="22" text-anchor="end">
                  ×{node.processes.length}
                </text>
              )}
              {node.kind === "topic" && (
                <text class="node-count" x={nodeWidth - 18} y="22" text-anchor="end">
                  topic
                </text>
              )}
              <title>{node.label}</title>
            </g>
          );
        })}
      </g>
    </svg>
  );
}
