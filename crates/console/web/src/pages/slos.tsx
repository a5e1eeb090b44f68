// What was promised, and how much of the error budget is left.

import { api } from "../api";
import { useLoaded } from "../async";
import { duration, percent } from "../format";
import { Badge, Empty, Page, Shown, Table } from "../parts";
import type { Slo } from "../types";

const REFRESH_MS = 10_000;

export function Slos() {
  const slos = useLoaded((signal) => api.slos(signal), [], REFRESH_MS);
  return (
    <Page title="SLOs">
      <Shown of={slos} what="the SLOs">
        {({ slos }) =>
          slos.length === 0 ? (
            <Empty>No objective is set. They stand in the configuration, under [slos].</Empty>
          ) : (
            <Table label="SLOs" heads={["Objective", { text: "Promised", end: true }, { text: "Kept", end: true }, { text: "Error budget left", class: "c-budget" }, "Burn rates"]}>
              {slos.map((slo) => (
                <tr key={slo.name}>
                  <td>
                    <strong>{slo.name}</strong>
                    {slo.description && <p class="fine">{slo.description}</p>}
                  </td>
                  <td class="end">
                    {percent(slo.objective, 2)}
                    {slo.window_s && <p class="fine">of {duration(slo.window_s * 1000)}</p>}
                  </td>
                  <td class="end">{percent(slo.current, 2)}</td>
                  <td>
                    <Budget slo={slo} />
                  </td>
                  <td>
                    <span class="buttons">
                      {(slo.burn_rates ?? []).map(({ window_s, rate, alert }) => (
                        <Badge
                          key={window_s}
                          state={rate === null ? "unknown" : alert || rate > 10 ? "failed" : rate > 1 ? "degraded" : "ok"}
                          label={`${duration(window_s * 1000)}: ${rate === null ? "–" : `${rate.toFixed(1)}×`}`}
                        />
                      ))}
                    </span>
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Shown>
    </Page>
  );
}

function Budget({ slo }: { slo: Slo }) {
  if (slo.budget_left === undefined || slo.budget_left === null) return <span class="fine">nothing was measured</span>;
  const left = Math.max(0, Math.min(1, slo.budget_left));
  const tone = left > 0.5 ? "good" : left > 0.1 ? "warn" : "bad";
  return (
    <span class={`budget ${tone}`}>
      <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect width="100" height="8" class="track" />
        <rect width={100 * left} height="8" />
      </svg>
      <span>{slo.budget_left < 0 ? "used up" : percent(slo.budget_left, 1)}</span>
    </span>
  );
}
