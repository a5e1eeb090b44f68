// Services and processes: what runs where.

import { useState } from "preact/hooks";
import { api } from "../api";
import { useAction, useLoaded } from "../async";
import { bare, duration, percent, plural, rate, words } from "../format";
import { Entries } from "../entries";
import { useTold } from "../live";
import { isFailing, isIdle } from "../map/picture";
import { useNumbers } from "../map/seen";
import { Badge, Page, Refused, Said, Shown, Table, Time } from "../parts";
import { Link } from "../router";
import { useMay } from "../session";
import type { HealthNode, System } from "../types";

const REFRESH_MS = 5_000;

export function Services() {
  const told = useTold("system");
  const asked = useLoaded((signal) => api.system(signal), [], REFRESH_MS);
  const health = useLoaded((signal) => api.health(signal), [], REFRESH_MS);
  const system = newer(told, asked.value);
  const numbers = useNumbers();
  return (
    <Page title="Services" aside={system?.gateway && <a href={system.gateway}>{system.gateway}</a>}>
      <Shown of={{ ...asked, value: system }} what="the services">
        {(system) => (
          <div class="stack">
            <Table
              label="Services"
              heads={["Service", "State", "Process", "Contracts", { text: "Rate", end: true }, { text: "Errors", end: true }, { text: "p99", end: true }]}
            >
              {system.services.map((service) => {
                const red = numbers(service.service);
                return (
                  <tr key={service.service}>
                    <td>
                      <Link href={`/services/${service.service}`} data-row>
                        {service.service}
                      </Link>
                    </td>
                    <td>
                      <Badge state={service.state} />
                    </td>
                    <td>{service.processes.join(", ")}</td>
                    <td class="fine">{service.contracts.map(bare).join(", ")}</td>
                    <td class="end">{rate(red?.rate)}</td>
                    <td class={`end ${isFailing(red?.error_rate) ? "bad-text" : ""}`}>{isIdle(red?.rate) ? "–" : percent(red?.error_rate)}</td>
                    <td class="end">{isIdle(red?.rate) ? "–" : duration(red?.p99_ms)}</td>
                  </tr>
                );
              })}
            </Table>
            <h2>Processes</h2>
            <Table
              label="Processes"
              heads={["Process", "State", "Version", { text: "Process id", end: true }, "Services", { text: "Restarts", end: true }, "Last restart"]}
            >
              {system.processes.map((process) => (
                <tr key={`${process.process} ${process.pid}`}>
                  <td>{process.process}</td>
                  <td>
                    <Badge state={process.state} />
                  </td>
                  <td>{process.version || "–"}</td>
                  <td class="end">{process.pid || "–"}</td>
                  <td>{inside(system, process.process)}</td>
                  <td class={`end ${process.restarts > 0 ? "bad-text" : ""}`}>{process.restarts}</td>
                  <td class="fine">{process.restart_reason || "–"}</td>
                </tr>
              ))}
            </Table>
            <Configuration system={system} />
            <h2>Health</h2>
            <Shown of={health} what="the health">{(node) => <HealthTree node={node} />}</Shown>
          </div>
        )}
      </Shown>
    </Page>
  );
}

/** What was told by the stream, or what was asked if that is all there is. */
export function newer(told: System | undefined, asked: System | undefined): System | undefined {
  return told ?? asked;
}

function inside(system: System, process: string): string {
  const names = system.services.filter((service) => service.processes.includes(process)).map((service) => service.service);
  return names.join(", ") || "–";
}

function Configuration({ system }: { system: System }) {
  const isAdmin = useMay("admin");
  const action = useAction();
  const [done, setDone] = useState("");
  const [isOpen, setOpen] = useState(false);
  const { config } = system;
  if (!config) return null;
  const reload = () =>
    action.run(async () => {
      setDone("");
      const { changed, restart } = await api.reload();
      const late = restart.length > 0 ? `, ${plural(restart.length, "more", "more")} after a restart` : "";
      setDone(`Read again: ${plural(changed.length, "setting")} changed${late}.`);
    });
  return (
    <section class="stack" aria-labelledby="configuration">
      <div class="toolbar">
        <h2 id="configuration">Configuration</h2>
        <span class="fine">
          {config.version ? <>version {config.version} · </> : null}
          {config.read_ms ? <>read <Time ms={config.read_ms} /></> : null}
          {config.source ? <> from {config.source}</> : null}
        </span>
        <span class="grow" />
        {isAdmin && (
          <button type="button" class="button quiet" disabled={action.busy} onClick={() => void reload()}>
            {action.busy ? "Reading…" : "Read it again"}
          </button>
        )}
      </div>
      <Said>{done}</Said>
      {action.problem && <Refused problem={action.problem} />}
      {config.source_problem && <p class="notice warn">{config.source_problem}</p>}
      {config.refused && <p class="notice warn">A change was refused: {config.refused}</p>}
      {(config.restart_keys ?? []).length > 0 && (
        <p class="notice warn">
          Taken after a restart: <code>{config.restart_keys!.join(", ")}</code>
        </p>
      )}
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>All settings</summary>
        {isOpen && <AllSettings />}
      </details>
    </section>
  );
}

function AllSettings() {
  const config = useLoaded((signal) => api.config(signal), []);
  return (
    <Shown of={config} what="the settings">
      {({ entries }) => <Entries entries={entries} />}
    </Shown>
  );
}

/** What a node depends on hangs from it. */
export function HealthTree({ node }: { node: HealthNode }) {
  return (
    <ul class="health">
      <li>
        <div class="health-row">
          <Badge state={node.status} />
          <span>
            <strong>{node.name}</strong> <span class="fine">{words(node.kind)}</span>
            {node.message && <span class="fine"> · {node.message}</span>}
          </span>
          <span class="end fine">
            {node.latency_ms !== undefined && node.latency_ms !== null && duration(node.latency_ms)}
          </span>
          <span class="end fine health-time">{node.checked_ms ? <Time ms={node.checked_ms} /> : ""}</span>
        </div>
        {node.children?.map((child) => <HealthTree node={child} key={`${child.kind} ${child.name}`} />)}
      </li>
    </ul>
  );
}

