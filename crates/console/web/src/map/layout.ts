// Where nodes and edges of a directed graph go: layers from top to bottom, as in Sugiyama, Tagawa and Toda (1981).
//
// Cycles are broken by a search in depth, layers are the longest ways, long edges bend in the layers they pass, and each
// layer is sorted by the median of its neighbours. The same graph always gets the same picture.

export interface GraphEdge {
  from: string;
  to: string;
}
export interface Point {
  x: number;
  y: number;
}
export interface Layout {
  width: number;
  height: number;
  /** The middle of each node. */
  places: Map<string, Point>;
  /** The points of each edge, from its first node's lower or upper side to its last one's; by `from>to`. */
  ways: Map<string, Point[]>;
}
export interface Sizes {
  nodeWidth: number;
  nodeHeight: number;
  /** Between two layers. */
  layerGap: number;
  /** Between two nodes of a layer. */
  nodeGap: number;
}

/** Passes over all layers; more do not make it better. */
const SWEEPS = 12;
const PAD = 14;
/** The width that a bend of an edge takes in a layer, as a part of a node's. */
const BEND = 0.15;

export const keyOf = ({ from, to }: GraphEdge): string => `${from}>${to}`;

/** Returns the edges without cycles: those that close one are turned round. */
function acyclic(nodes: string[], edges: GraphEdge[]): GraphEdge[] {
  const out = new Map(nodes.map((node) => [node, edges.filter((edge) => edge.from === node).map((edge) => edge.to).sort()]));
  const state = new Map<string, "open" | "done">();
  const back = new Set<string>();
  const visit = (node: string): void => {
    state.set(node, "open");
    for (const next of out.get(node) ?? []) {
      if (state.get(next) === "open") back.add(keyOf({ from: node, to: next }));
      else if (!state.has(next)) visit(next);
    }
    state.set(node, "done");
  };
  for (const node of nodes) if (!state.has(node)) visit(node);
  return edges.map((edge) => (back.has(keyOf(edge)) ? { from: edge.to, to: edge.from } : edge));
}

function layersOf(nodes: string[], edges: GraphEdge[]): Map<string, number> {
  const before = new Map(nodes.map((node) => [node, edges.filter((edge) => edge.to === node).map((edge) => edge.from)]));
  const layer = new Map<string, number>();
  const place = (node: string): number => {
    const known = layer.get(node);
    if (known !== undefined) return known;
    const at = Math.max(-1, ...(before.get(node) ?? []).map(place)) + 1;
    layer.set(node, at);
    return at;
  };
  nodes.forEach(place);
  return layer;
}

function median(values: number[]): number {
  if (values.length === 0) return -1;
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Sorts the layers, to and fro, so that few edges cross. */
function order(layers: string[][], links: GraphEdge[]): void {
  const near = new Map<string, { before: string[]; after: string[] }>();
  for (const layer of layers) for (const node of layer) near.set(node, { before: [], after: [] });
  for (const { from, to } of links) {
    near.get(from)?.after.push(to);
    near.get(to)?.before.push(from);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const side = sweep % 2 === 0 ? "before" : "after";
    const walk = side === "before" ? layers : layers.toReversed();
    for (let at = 1; at < walk.length; at += 1) {
      const rank = new Map(walk[at - 1]!.map((node, index) => [node, index]));
      const weight = new Map(
        walk[at]!.map((node, index) => {
          const found = median(near.get(node)![side].flatMap((other) => rank.get(other) ?? []));
          return [node, found < 0 ? index : found];
        }),
      );
      walk[at]!.sort((a, b) => weight.get(a)! - weight.get(b)!);
    }
  }
}

export function layOut(ids: string[], edges: GraphEdge[], first: string[], sizes: Sizes): Layout {
  const nodes = [...first.filter((id) => ids.includes(id)), ...ids.filter((id) => !first.includes(id)).sort()];
  const known = new Set(nodes);
  const real = edges.filter(({ from, to }) => from !== to && known.has(from) && known.has(to));
  const sorted = real.toSorted((a, b) => keyOf(a).localeCompare(keyOf(b)));
  const straight = acyclic(nodes, sorted);
  const layer = layersOf(nodes, straight);
  const layers: string[][] = Array.from({ length: Math.max(0, ...layer.values()) + 1 }, () => []);
  for (const node of nodes) layers[layer.get(node)!]!.push(node);

  // A bend stands in every layer that an edge passes.
  const bends = new Map<string, string[]>();
  const links: GraphEdge[] = [];
  straight.forEach((edge, index) => {
    const [start, end] = [layer.get(edge.from)!, layer.get(edge.to)!];
    const way: string[] = [];
    for (let at = start + 1; at < end; at += 1) {
      const bend = `bend ${index} ${at}`;
      layers[at]!.push(bend);
      way.push(bend);
    }
    bends.set(keyOf(sorted[index]!), edge.from === sorted[index]!.from ? way : way.toReversed());
    [edge.from, ...way].forEach((from, at) => links.push({ from, to: [...way, edge.to][at]! }));
  });
  order(layers, links);

  const { nodeWidth, nodeHeight, layerGap, nodeGap } = sizes;
  const widthOf = (node: string): number => (known.has(node) ? nodeWidth : nodeWidth * BEND);
  const wide = layers.map((nodes) => nodes.reduce((sum, node) => sum + widthOf(node) + nodeGap, -nodeGap));
  const width = Math.max(0, ...wide);
  const points = new Map<string, Point>();
  layers.forEach((nodes, at) => {
    let x = PAD + (width - wide[at]!) / 2;
    for (const node of nodes) {
      points.set(node, { x: x + widthOf(node) / 2, y: PAD + nodeHeight / 2 + at * (nodeHeight + layerGap) });
      x += widthOf(node) + nodeGap;
    }
  });
  const ways = new Map<string, Point[]>();
  for (const edge of sorted) {
    const [from, to] = [points.get(edge.from)!, points.get(edge.to)!];
    const isForward = layer.get(edge.from)! < layer.get(edge.to)!;
    const half = isForward ? nodeHeight / 2 : -nodeHeight / 2;
    const between = bends.get(keyOf(edge))!.flatMap((bend) => points.get(bend) ?? []);
    ways.set(keyOf(edge), [{ x: from.x, y: from.y + half }, ...between, { x: to.x, y: to.y - half }]);
  }
  return {
    width: 2 * PAD + width,
    height: 2 * PAD + layers.length * nodeHeight + (layers.length - 1) * layerGap,
    places: new Map(nodes.map((node) => [node, points.get(node)!])),
    ways,
  };
}

/** Writes the points of an edge as a smooth path that leaves and arrives upright. */
export function path(points: Point[]): string {
  const [start, ...rest] = points;
  if (!start) return "";
  let at = start;
  const parts = [`M${start.x} ${start.y}`];
  for (const next of rest) {
    const reach = (next.y - at.y) / 2;
    parts.push(`C${at.x} ${at.y + reach} ${next.x} ${next.y - reach} ${next.x} ${next.y}`);
    at = next;
  }
  return parts.join("");
}
