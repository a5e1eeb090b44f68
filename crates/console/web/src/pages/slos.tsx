// What was promised, and how much of the error budget is left.

import { api } from "../api";
import { useLoaded } from "../async";
import { count, duration, percent, words } from "../format";
import { Badge, Empty, Page, Shown, Table } from "../parts";
import type { Slo } from "../types";

const REFRESH_MS = 10_000;
/** A budget that is spent this fast is gone long before its window is over: the threshold of the fast alert. */
const BURNS_FAST = 14.4;

const BURN_OVER = ["5m", "1h", "6h"];

const TONES: Record<Slo["state"], string> = { no_data: "unknown", ok: "ok", burning: "degraded", spent: "failed" };

export function Slos() {
  const slos = useLoaded((signal) => api.slos(signal), [], REFRESH_MS);
  return (
    <Page title="SLOs">
      <Shown of={slos} what="the SLOs">
        {({ slos }) =>
          slos.length === 0 ? (
            <Empty>No objective is set. They stand in the configuration, in sections [slo.NAME].</Empty>
          ) : (
            <Table
              label="SLOs"
              heads={[
                "Objective", "State", { text: "Promised", end: true }, { text: "Kept", end: true }, { text: "Of", end: true },
                { text: "Error budget left", class: "c-budget" }, "Burn rate",
              ]}
            >
              {slos.map((slo) => (
                <tr key={`${slo.name} ${JSON.stringify(slo.indicator)}`}>
                  <td>
                    <strong>{slo.name}</strong>
                    <p class="fine">
                      {slo.indicator === "availability" ? "does not fail" : `takes at most ${duration(slo.indicator.latency.ms).replace(".00", "")}`}
                    </p>
                  </td>
                  <td>
                    <Badge state={TONES[slo.state]} label={words(slo.state)} />
                  </td>
                  <td class="end">
                    {percent(slo.objective, 2)}
                    <p class="fine">of {duration(slo.window_hours * 3_600_000)}</p>
                  </td>
                  <td class="end">{slo.state === "no_data" ? "–" : percent(slo.share, 2)}</td>
                  <td class="end">{count(slo.total)}</td>
                  <td>
                    <Budget slo={slo} />
                  </td>
                  <td>
                    <span class="buttons">
                      {BURN_OVER.map((over) => [over, slo.burn[over] ?? null] as const).map(([over, rate]) => (
                        <Badge
                          key={over}
                          state={rate === null ? "unknown" : rate > BURNS_FAST ? "failed" : rate > 1 ? "degraded" : "ok"}
                          label={`${over} ${rate === null ? "–" : `${rate.toFixed(1)}×`}`}
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
  if (slo.state === "no_data") return <span class="fine">nothing was measured</span>;
  const left = Math.max(0, Math.min(1, slo.budget_left));
  const tone = left > 0.5 ? "good" : left > 0.1 ? "warn" : "bad";
  return (
    <span class={`budget ${tone}`}>
      <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect width="100" height="8" class="track" />
        <rect width={100 * left} height="8" />
      </svg>
      <span>{slo.budget_left <= 0 ? "spent" : percent(slo.budget_left, 1)}</span>
    </span>
  );
}
