// What the live map told: now, and since a page was opened.

import { useMemo, useRef } from "preact/hooks";
import { useTold } from "../live";
import type { MapEdge, MapNode, SystemMap } from "../types";
import { keyOf } from "./layout";
import { isIdle } from "./picture";

/** Everything that was seen since the page was opened: what falls silent stays where it is, at rest. */
export function useSeen(map: SystemMap | undefined): { nodes: MapNode[]; edges: MapEdge[] } {
  const seen = useRef({ nodes: new Map<string, MapNode>(), edges: new Map<string, MapEdge>() });
  return useMemo(() => {
    const { nodes, edges } = seen.current;
    const still = { rate: 0, error_rate: 0, p50_ms: null, p99_ms: null };
    for (const [id, node] of nodes) nodes.set(id, { ...node, ...still });
    for (const [key, edge] of edges) edges.set(key, { ...edge, ...still });
    for (const node of map?.nodes ?? []) nodes.set(node.id, node.kind === "store" ? { ...node, label: `${node.label} store` } : node);
    for (const edge of map?.edges ?? []) edges.set(keyOf(edge), edge);
    const flows = [...edges.values()];
    return { nodes: [...nodes.values()].map((node) => withEvents(node, flows)), edges: flows };
  }, [map]);
}

/** A service that nobody calls works at the rate of the events that it is told of. */
function withEvents(node: MapNode, edges: MapEdge[]): MapNode {
  const events = edges.filter((edge) => edge.kind === "consume" && edge.to === node.id && !isIdle(edge.rate));
  if (node.kind !== "service" || !isIdle(node.rate) || events.length === 0) return node;
  const rate = events.reduce((sum, edge) => sum + (edge.rate ?? 0), 0);
  const failing = events.reduce((sum, edge) => sum + (edge.rate ?? 0) * (edge.error_rate ?? 0), 0);
  const worst = (of: (edge: MapEdge) => number | null | undefined) => Math.max(...events.map((edge) => of(edge) ?? 0));
  return { ...node, rate, error_rate: failing / rate, p50_ms: worst((edge) => edge.p50_ms), p99_ms: worst((edge) => edge.p99_ms) };
}

/** Returns a function that finds what is measured of a service now. */
export function useNumbers(): (service: string) => MapNode | undefined {
  const map = useTold("map");
  return (service) => {
    const node = map?.nodes.find((one) => one.id === `service:${service}`);
    return node && withEvents(node, map?.edges ?? []);
  };
}
