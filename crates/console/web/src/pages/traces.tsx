// What requests did: the traces that were kept.

import { useEffect, useState } from "preact/hooks";
import { api } from "../api";
import { useLoaded } from "../async";
import { bare, duration, plural } from "../format";
import { useHeard, useTold } from "../live";
import { Badge, Empty, Id, Page, Shown, Table, Time } from "../parts";
import { Link, useFilters } from "../router";
import { useTyped } from "../typed";

const LIMIT = 200;
const SLOW_MS = ["10", "50", "100", "500", "1000"];

export function Traces() {
  const [filters, setFilters] = useFilters();
  const { q = "", service = "", name = "", failed = "", min_ms = "" } = filters;
  const isLive = filters.live === "1";
  const [text, type] = useTyped(q, (next) => setFilters({ q: next }));
  const [route, typeRoute] = useTyped(name, (next) => setFilters({ name: next }));
  const [fresh, setFresh] = useState(0);
  const system = useTold("system");
  const ask = { q, service, name, failed: failed ? "true" : "", min_ms, limit: LIMIT };
  const traces = useLoaded((signal) => api.traces(ask, signal), [ask], isLive ? 2_000 : 0);
  useHeard("trace", () => setFresh((n) => n + 1));
  useEffect(() => setFresh(0), [traces.value]);
  const services = ["gateway", ...(system?.services.map((one) => one.service) ?? [])];
  const rows = traces.value?.traces ?? [];
  const longest = Math.max(1, ...rows.map((row) => row.duration_ns));

  const follow = (
    <div class="buttons">
      {!isLive && fresh > 0 && !q && (
        <button type="button" class="button quiet" onClick={traces.again}>
          {plural(fresh, "new trace")}
        </button>
      )}
      <label class="check">
        <input type="checkbox" checked={isLive} onChange={() => setFilters({ live: isLive ? "" : "1" })} /> Follow
      </label>
    </div>
  );
  return (
    <Page title="Traces" aside={follow}>
      <div class="toolbar" role="search" aria-label="Filter of the traces">
        <input
          type="search"
          class="grow"
          aria-label="Order number, trace id, correlation id"
          placeholder="Order number, trace id, correlation id"
          value={text}
          onInput={(event) => type(event.currentTarget.value)}
        />
        <input
          type="text"
          aria-label="Part of the name"
          placeholder="Name, for example POST /v1/orders"
          value={route}
          onInput={(event) => typeRoute(event.currentTarget.value)}
        />
        <select aria-label="Service" value={service} onChange={(event) => setFilters({ service: event.currentTarget.value })}>
          <option value="">All services</option>
          {[...new Set([...services, service].filter(Boolean))].map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        <select aria-label="Duration" value={min_ms} onChange={(event) => setFilters({ min_ms: event.currentTarget.value })}>
          <option value="">Any duration</option>
          {SLOW_MS.map((ms) => (
            <option value={ms} key={ms}>
              at least {duration(Number(ms))}
            </option>
          ))}
        </select>
        <label class="check">
          <input type="checkbox" checked={failed !== ""} onChange={() => setFilters({ failed: failed ? "" : "1" })} /> Failed
        </label>
      </div>
      <Shown of={traces} what="traces">
        {() =>
          rows.length === 0 ? (
            <Empty>
              {q || service || name || failed || min_ms
                ? "No kept trace fits. Traces that failed or were slow are always kept, of the others some each second."
                : "No trace was kept yet."}
            </Empty>
          ) : (
            <Table
              label="Traces"
              class="fixed traces"
              heads={[
                { text: "Began", class: "c-time" }, "Name", { text: "Service", class: "c-service" }, { text: "Ended", class: "c-state" },
                { text: "Duration", end: true, class: "c-bar" }, { text: "Spans", end: true, class: "c-number" },
                { text: "Failed", end: true, class: "c-number" }, { text: "Trace", class: "c-id" },
              ]}
            >
              {rows.map((row) => (
                <tr key={row.trace_id}>
                  <td>
                    <Time ms={row.started_ns / 1e6} />
                  </td>
                  <td class="cut">
                    <Link href={`/traces/${row.trace_id}`} data-row title={row.name ?? undefined}>
                      {row.name ? bare(row.name) : "first span unknown"}
                    </Link>
                  </td>
                  <td>{row.service ?? "–"}</td>
                  <td>{row.status && row.status !== "ok" ? <Badge state={row.status} /> : <span class="fine">{row.status ?? "–"}</span>}</td>
                  <td class="end">
                    <span class="meter">
                      <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
                        <rect width={Math.max(1, (100 * row.duration_ns) / longest)} height="4" />
                      </svg>
                      <span>{duration(row.duration_ns / 1e6)}</span>
                    </span>
                  </td>
                  <td class="end">{row.spans}</td>
                  <td class={`end ${row.failed > 0 ? "bad-text" : "fine"}`}>{row.failed}</td>
                  <td>
                    <Id id={row.trace_id} />
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Shown>
      {traces.value?.more && (
        <p class="fine">There may be more: the latest traces were searched for this{q ? ", and the ids of all" : ""}.</p>
      )}
      {rows.length === LIMIT && <p class="fine">The latest {LIMIT}; filter for earlier ones.</p>}
    </Page>
  );
}
