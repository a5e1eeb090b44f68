// Long-running work: the sagas of all services.

import { api } from "../api";
import { useLoaded } from "../async";
import { words } from "../format";
import { useTold } from "../live";
import { Badge, Empty, Id, Page, Shown, Table, Time } from "../parts";
import { Link, useFilters } from "../router";

const LIMIT = 100;
const REFRESH_MS = 3_000;
const STATES = ["running", "compensating", "parked", "completed", "compensated"];

export function Sagas() {
  const [filters, setFilters] = useFilters();
  const { service = "", state = "" } = filters;
  const system = useTold("system");
  const sagas = useLoaded((signal) => api.sagas({ service, state, limit: LIMIT }, signal), [service, state], REFRESH_MS);
  const services = [...new Set([...(system?.services.map((one) => one.service) ?? []), service].filter(Boolean))];
  return (
    <Page title="Sagas">
      <div class="toolbar">
        <select aria-label="Service" value={service} onChange={(event) => setFilters({ service: event.currentTarget.value })}>
          <option value="">All services</option>
          {services.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        <div class="segments" role="group" aria-label="State">
          {["", ...STATES].map((one) => (
            <button type="button" aria-pressed={state === one} onClick={() => setFilters({ state: one })} key={one}>
              {one || "all"}
            </button>
          ))}
        </div>
      </div>
      <Shown of={sagas} what="the sagas">
        {({ sagas, next, more }) =>
          sagas.length === 0 ? (
            <Empty>{state || service ? "No saga fits." : "No saga was begun yet."}</Empty>
          ) : (
            <>
              <Table
                label="Sagas"
                class="fixed"
                heads={[
                  { text: "Changed", class: "c-time" }, { text: "Saga", class: "c-id" }, { text: "Workflow", class: "c-name" }, { text: "Service", class: "c-service" },
                  { text: "State", class: "c-state" }, { text: "Step", class: "c-name" }, "Failure",
                ]}
              >
                {sagas.map((saga) => (
                  <tr key={`${saga.service} ${saga.id}`}>
                    <td>
                      <Time ms={Number(saga.updated_ms)} />
                    </td>
                    <td>
                      <Id id={saga.id} />
                    </td>
                    <td class="cut">
                      <Link href={`/sagas/${saga.service}/${encodeURIComponent(saga.id)}`} data-row>
                        {saga.workflow}
                      </Link>
                    </td>
                    <td>{saga.service}</td>
                    <td>
                      <Badge state={saga.state} />
                    </td>
                    <td class="cut">{saga.step ? words(saga.step) : "–"}</td>
                    <td class="cut fine" title={saga.failure}>
                      {saga.failure || "–"}
                    </td>
                  </tr>
                ))}
              </Table>
              {(next || more) && <p class="fine">The latest {LIMIT}; filter for others.</p>}
            </>
          )
        }
      </Shown>
    </Page>
  );
}
