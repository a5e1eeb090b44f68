// One service: where it runs, how it does, what it offers, how it is configured.

import type { TargetedKeyboardEvent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api } from "../api";
import { useAction, useLoaded } from "../async";
import { duration } from "../format";
import { Trends } from "../chart";
import { Entries } from "../entries";
import { Explorer } from "../explorer";
import { useHeard, useTold } from "../live";
import { useNumbers } from "../map/seen";
import { Badge, Field, Page, Refused, Said, Shown, Table } from "../parts";
import { Link, to, useFilters } from "../router";
import { useMay } from "../session";
import type { ServiceDetail } from "../types";
import { RedFigures } from "./map";
import { HealthTree, newer } from "./services";

const TABS = [
  { tab: "", label: "Overview" },
  { tab: "calls", label: "API explorer" },
  { tab: "configuration", label: "Configuration" },
];
const REFRESH_MS = 5_000;

export function ServicePage({ name }: { name: string }) {
  const [filters, setFilters] = useFilters();
  const tab = filters.tab ?? "";
  const service = useLoaded((signal) => api.service(name, signal), [name], REFRESH_MS);
  useHeard("system", service.again);
  const { value } = service;
  return (
    <Page
      title={name}
      crumbs={<Link href="/services">Services</Link>}
      aside={
        <div class="buttons">
          {value && <Badge state={value.state} />}
          <Link href={to("/traces", { service: name })}>Traces</Link>
          <Link href={to("/logs", { service: name })}>Logs</Link>
          <Link href={to("/", { node: `service:${name}` })}>On the map</Link>
        </div>
      }
    >
      <div class="tabs" role="tablist" aria-label={`What about ${name}`} onKeyDown={(event) => walkTabs(event)}>
        {TABS.map((one) => (
          <button
            type="button"
            role="tab"
            id={`tab-${one.tab}`}
            aria-selected={tab === one.tab}
            tabIndex={tab === one.tab ? 0 : -1}
            aria-controls="tab-panel"
            onClick={() => setFilters({ tab: one.tab, method: "" })}
            key={one.tab}
          >
            {one.label}
          </button>
        ))}
      </div>
      <div role="tabpanel" id="tab-panel" aria-labelledby={`tab-${tab}`}>
        <Shown of={service} what={name}>
          {(value) =>
            tab === "calls" ? (
              <Explorer contracts={value.contracts} />
            ) : tab === "configuration" ? (
              <Entries entries={value.config} />
            ) : (
              <Overview service={value} />
            )
          }
        </Shown>
      </div>
    </Page>
  );
}

/** Left and right go to the next tab and open it, as tabs do (ARIA Authoring Practices). */
function walkTabs(event: TargetedKeyboardEvent<HTMLElement>): void {
  const tabs = [...event.currentTarget.querySelectorAll<HTMLElement>("[role=tab]")];
  const here = tabs.findIndex((tab) => tab === document.activeElement);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step === undefined || here < 0) return;
  const next = tabs[(here + step + tabs.length) % tabs.length];
  next?.focus();
  next?.click();
  event.preventDefault();
}

function Overview({ service }: { service: ServiceDetail }) {
  const red = useNumbers()(service.service);
  return (
    <div class="stack">
      <RedFigures of={red} wide />
      <Trends node={`service:${service.service}`} />
      <Placement service={service} />
      {service.health && (
        <section class="stack" aria-labelledby="health">
          <h2 id="health">Health</h2>
          <HealthTree node={service.health} />
        </section>
      )}
    </div>
  );
}

/** The value of the choice that makes a process. */
const NEW = "\0new";

function Placement({ service }: { service: ServiceDetail }) {
  const told = useTold("system");
  const asked = useLoaded((signal) => api.system(signal), []);
  const system = newer(told, asked.value);
  const isAdmin = useMay("admin");
  const action = useAction();
  const [moved, setMoved] = useState<{ to: string; pausedMs: number }>();
  const [here] = service.processes;
  const others = (system?.processes ?? []).map((process) => process.process).filter((process) => !service.processes.includes(process));
  const hasOwn = here === service.service || others.includes(service.service);
  const [target, setTarget] = useState("");
  const [named, setNamed] = useState(service.service);
  const choices = [...(hasOwn && others.includes(service.service) ? [] : [NEW]), ...new Set(others)];
  const chosen = choices.includes(target) ? target : (choices[0] ?? NEW);
  useEffect(() => action.clear(), [chosen]);
  const move = () =>
    action.run(async () => {
      setMoved(undefined);
      const process = chosen === NEW ? named.trim() : chosen;
      const { paused_ms } = await api.move(service.service, process, chosen === NEW);
      setMoved({ to: process, pausedMs: paused_ms });
      asked.again();
    });
  return (
    <section class="stack" aria-labelledby="placement">
      <h2 id="placement">Placement</h2>
      <Table label="Instances" heads={["Process", "State", { text: "Process id", end: true }, { text: "Restarts", end: true }]}>
        {service.processes.map((name) => {
          const process = system?.processes.find((one) => one.process === name);
          return (
            <tr key={name}>
              <td>{name}</td>
              <td>{process ? <Badge state={process.state} /> : "–"}</td>
              <td class="end">{process?.pid ?? "–"}</td>
              <td class="end">{process?.restarts ?? "–"}</td>
            </tr>
          );
        })}
      </Table>
      {isAdmin && service.processes.length === 1 && (
        <form
          class="panel move"
          onSubmit={(event) => {
            event.preventDefault();
            void move();
          }}
        >
          <Field label="Move it to">
            {(id) => (
              <select id={id} value={chosen} disabled={action.busy} onChange={(event) => setTarget(event.currentTarget.value)}>
                {choices.map((choice) => (
                  <option value={choice} key={choice}>
                    {choice === NEW ? "its own process" : choice}
                  </option>
                ))}
              </select>
            )}
          </Field>
          {chosen === NEW && (
            <Field label="Name of the process">
              {(id) => (
                <input id={id} type="text" value={named} required maxLength={60} disabled={action.busy} onInput={(event) => setNamed(event.currentTarget.value)} />
              )}
            </Field>
          )}
          <button type="submit" class="button" disabled={action.busy}>
            {action.busy ? "Moving…" : chosen === NEW ? "Move to its own process" : `Move into ${chosen}`}
          </button>
          <p class="fine move-says" role="status">
            {action.busy
              ? `Starting it there, then handing over; ${duration(action.elapsedMs)} so far. Calls wait, none is lost.`
              : "Its calls wait while it is handed over. None is lost."}
          </p>
        </form>
      )}
      {isAdmin && service.processes.length > 1 && <p class="fine">A service with several instances is placed by the configuration.</p>}
      <Said>
        {moved && (
          <>
            {service.service} runs in <strong>{moved.to}</strong> now; its calls waited for {duration(moved.pausedMs)}.
          </>
        )}
      </Said>
      {action.problem && <Refused problem={action.problem} />}
    </section>
  );
}
