// The system, live: a picture, a table that says the same, and one node in detail.

import { useEffect, useRef } from "preact/hooks";
import { api } from "../api";
import { useLoaded } from "../async";
import { metricsOf, Trends } from "../chart";
import { duration, percent, rate } from "../format";
import { useTold } from "../live";
import { isFailing, isIdle, numbers, Picture } from "../map/picture";
import { keyOf } from "../map/layout";
import { useSeen } from "../map/seen";
import { Badge, Empty, Icon, Page, Refused, Table, Time, Waiting } from "../parts";
import { Link, to, useFilters } from "../router";
import type { MapEdge, MapNode, Red, System } from "../types";

const KINDS: Record<MapNode["kind"], string> = { edge: "Gateway", service: "Service", topic: "Topic", store: "Store" };

export function MapPage() {
  const [filters, setFilters] = useFilters();
  const told = useTold("map");
  const system = useTold("system");
  const first = useLoaded((signal) => api.map(signal), []);
  const map = told ?? first.value;
  const { nodes, edges } = useSeen(map);
  const withStores = filters.stores === "1";
  const shownNodes = nodes.filter((node) => withStores || node.kind !== "store");
  const shownEdges = edges.filter((edge) => withStores || edge.kind !== "store");
  const selected = nodes.find((node) => node.id === filters.node);
  const select = (id: string) => setFilters({ node: id === filters.node ? "" : id });
  const isTable = filters.view === "table";

  const toggle = (
    <div class="buttons">
      {system && <Summary system={system} />}
      <div class="segments" role="group" aria-label="View">
        <button type="button" aria-pressed={!isTable} onClick={() => setFilters({ view: "" })}>
          Picture
        </button>
        <button type="button" aria-pressed={isTable} onClick={() => setFilters({ view: "table" })}>
          Table
        </button>
      </div>
      <label class="check">
        <input type="checkbox" checked={withStores} onChange={() => setFilters({ stores: withStores ? "" : "1" })} /> Stores
      </label>
    </div>
  );
  return (
    <Page title="Map" aside={toggle}>
      {!map && first.problem && <Refused problem={first.problem} again={first.again} />}
      {!map && !first.problem && <Waiting what="the map" lines={10} />}
      {map && (
        <div class={`map-page ${selected ? "with-drawer" : ""}`}>
          <div class="map-main">
            {isTable ? (
              <Tables nodes={shownNodes} edges={shownEdges} selected={filters.node ?? ""} select={select} system={system} />
            ) : shownEdges.length === 0 && shownNodes.length === 0 ? (
              <Empty>Nothing was measured yet.</Empty>
            ) : (
              <Picture nodes={shownNodes} edges={shownEdges} selected={filters.node ?? ""} onSelect={select} />
            )}
            {!isTable && <NodeList nodes={shownNodes} selected={filters.node ?? ""} select={select} />}
            <p class="fine map-foot">
              Rates, errors, median and 99th percentile of the last {Math.round(map.window_s)} s · measured <Time ms={map.at_ms} />
            </p>
          </div>
          {selected && (
            <Drawer node={selected} nodes={nodes} edges={edges} close={() => setFilters({ node: "" })} />
          )}
        </div>
      )}
    </Page>
  );
}

function Summary({ system }: { system: System }) {
  const down = system.services.filter((service) => service.state !== "READY").length;
  return (
    <span class="fine">
      {system.services.length} services in {system.processes.length} {system.processes.length === 1 ? "process" : "processes"}
      {down > 0 && <strong class="bad-text"> · {down} not ready</strong>}
    </span>
  );
}

interface ListProps {
  nodes: MapNode[];
  selected: string;
  select: (id: string) => void;
}

/** The nodes as buttons: the picture by keyboard. */
function NodeList({ nodes, selected, select }: ListProps) {
  return (
    <ul class="node-list" aria-label="Nodes of the map">
      {nodes.map((node) => (
        <li key={node.id}>
          <button type="button" class={`chip ${node.kind}`} aria-pressed={node.id === selected} onClick={() => select(node.id)}>
            {node.label}
            {node.kind === "topic" && <small>topic</small>}
          </button>
        </li>
      ))}
    </ul>
  );
}

function Numbers({ of }: { of: MapNode | MapEdge }) {
  return (
    <>
      <td class="end">{rate(of.rate)}</td>
      <td class={`end ${isFailing(of.error_rate) ? "bad-text" : ""}`}>{isIdle(of.rate) ? "–" : percent(of.error_rate)}</td>
      <td class="end">{isIdle(of.rate) ? "–" : duration(of.p50_ms)}</td>
      <td class="end">{isIdle(of.rate) ? "–" : duration(of.p99_ms)}</td>
    </>
  );
}

const RED = [{ text: "Rate", end: true }, { text: "Errors", end: true }, { text: "p50", end: true }, { text: "p99", end: true }];

/** Which versions its processes are of: more than one while they are replaced one by one. */
function versions(node: MapNode, system: System | undefined): string {
  const of = node.processes?.map((name) => system?.processes.find((one) => one.process === name)?.version || "–");
  return of ? [...new Set(of)].join(", ") : "–";
}

function Tables({ nodes, edges, selected, select, system }: ListProps & { edges: MapEdge[]; system: System | undefined }) {
  const label = new Map(nodes.map((node) => [node.id, node.label]));
  return (
    <div class="stack">
      <Table label="Nodes" heads={["Node", "Kind", "State", "Processes", "Version", ...RED]}>
        {nodes.map((node) => (
          <tr key={node.id} class={node.id === selected ? "selected" : ""}>
            <td>
              <button type="button" class="text" data-row aria-pressed={node.id === selected} onClick={() => select(node.id)}>
                {node.label}
              </button>
            </td>
            <td>{KINDS[node.kind]}</td>
            <td>{node.state ? <Badge state={node.state} /> : "–"}</td>
            <td>{node.processes?.join(", ") ?? "–"}</td>
            <td>{versions(node, system)}</td>
            <Numbers of={node} />
          </tr>
        ))}
      </Table>
      <Table label="Connections" heads={["From", "To", "How", ...RED]}>
        {edges.map((edge) => (
          <tr key={keyOf(edge)}>
            <td>{label.get(edge.from) ?? edge.from}</td>
            <td>{label.get(edge.to) ?? edge.to}</td>
            <td>{edge.kind}</td>
            <Numbers of={edge} />
          </tr>
        ))}
      </Table>
    </div>
  );
}

interface DrawerProps {
  node: MapNode;
  nodes: MapNode[];
  edges: MapEdge[];
  close: () => void;
}

function Drawer({ node, nodes, edges, close }: DrawerProps) {
  const label = (id: string): string => nodes.find((other) => other.id === id)?.label ?? id;
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    const press = (event: KeyboardEvent) => event.key === "Escape" && !document.querySelector("dialog[open]") && close();
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  const system = useTold("system");
  const links = linksOf(node);
  const around = edges.filter((edge) => edge.from === node.id || edge.to === node.id);
  return (
    <aside class="drawer" ref={panel} aria-label={node.label}>
      <div class="drawer-head">
        <h2>{node.label}</h2>
        <button type="button" class="icon-button" aria-label="Close" onClick={close}>
          <Icon name="cross" />
        </button>
      </div>
      <p class="fine">
        {KINDS[node.kind]} {node.state && <Badge state={node.state} />}
      </p>
      <RedFigures of={node} />
      {metricsOf(node.id).length > 0 && <Trends node={node.id} brief key={node.id} />}
      {node.processes && node.processes.length > 0 && (
        <p>
          <span class="fine">Runs in</span>{" "}
          {node.processes.map((name) => {
            const process = system?.processes.find((one) => one.process === name);
            return (
              <span key={name}>
                {name} <span class="fine">{process && `version ${process.version || "unknown"}, process id ${process.pid}`}</span>{" "}
              </span>
            );
          })}
        </p>
      )}
      {around.length > 0 && (
        <ul class="around" aria-label="Connections">
          {around.map((edge) => (
            <li key={keyOf(edge)}>
              <span>
                <span class="fine">{edge.from === node.id ? VERBS[edge.kind][0] : VERBS[edge.kind][1]}</span>{" "}
                {label(edge.from === node.id ? edge.to : edge.from)}
              </span>
              <span class="end fine">
                {numbers(edge)}
              </span>
            </li>
          ))}
        </ul>
      )}
      <ul class="links">
        {links.map(({ href, text }) => (
          <li key={href}>
            <Link href={href}>{text}</Link>
          </li>
        ))}
      </ul>
    </aside>
  );
}

/** How an edge reads from its first node, and from its last. */
const VERBS: Record<MapEdge["kind"], [string, string]> = {
  call: ["calls", "called by"],
  publish: ["publishes to", "published by"],
  consume: ["consumed by", "consumes"],
  store: ["uses", "used by"],
};

/** Rate, errors and durations of something, as figures. */
export function RedFigures({ of, wide }: { of?: Red; wide?: boolean }) {
  const measured = of && !isIdle(of.rate) ? of : undefined;
  return (
    <dl class={`figures ${wide ? "wide" : ""}`}>
      <Figure label="Rate" value={rate(of?.rate)} />
      <Figure label="Errors" value={percent(measured?.error_rate)} tone={isFailing(measured?.error_rate) ? "bad" : ""} />
      <Figure label="p50" value={duration(measured?.p50_ms)} />
      <Figure label="p99" value={duration(measured?.p99_ms)} />
    </dl>
  );
}

export function Figure({ label, value, tone = "" }: { label: string; value: string; tone?: string }) {
  return (
    <div class={tone}>
      <dt>{label}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function linksOf(node: MapNode): { href: string; text: string }[] {
  const name = node.id.slice(node.id.indexOf(":") + 1);
  switch (node.kind) {
    case "service":
      return [
        { href: to("/traces", { service: name }), text: "Traces" },
        { href: to("/traces", { service: name, failed: "1" }), text: "Traces with failures" },
        { href: to("/logs", { service: name }), text: "Logs" },
        { href: `/services/${name}`, text: "Placement, health" },
        { href: to(`/services/${name}`, { tab: "calls" }), text: "API explorer" },
        { href: to(`/services/${name}`, { tab: "configuration" }), text: "Configuration" },
      ];
    case "topic":
      return [
        { href: `/events/${encodeURIComponent(name)}`, text: "Messages" },
        { href: "/events", text: "Groups and lag" },
      ];
    case "edge":
      return [
        { href: "/traces", text: "Traces" },
        { href: to("/traces", { failed: "1" }), text: "Traces with failures" },
      ];
    default:
      return [];
  }
}
