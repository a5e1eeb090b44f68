// What must always hold, as the auditor found it.

import { api } from "../api";
import { useLoaded } from "../async";
import { count, json, plural, words } from "../format";
import { Badge, Empty, Page, Refused, Table, Time, Waiting } from "../parts";

const REFRESH_MS = 5_000;

export function Invariants() {
  const answer = useLoaded((signal) => api.invariants(signal), [], REFRESH_MS);
  const { value, problem } = answer;
  return (
    <Page
      title="Invariants"
      aside={
        value && (
          <span class="buttons">
            <Badge state={value.ok ? "ok" : "failed"} label={value.ok ? "all hold" : "broken"} />
            <span class="fine">
              checked <Time ms={value.checked_ms} />
            </span>
          </span>
        )
      }
    >
      {problem && problem.status === 404 && <Empty>Nobody checks: no auditor of this system has written what it found.</Empty>}
      {problem && problem.status !== 404 && <Refused problem={problem} again={answer.again} />}
      {!value && !problem && <Waiting what="the invariants" />}
      {value && (
        <Table label="Invariants" heads={["Invariant", "Of", "Holds", { text: "Checked", end: true }, "What must hold", "Offenders"]}>
          {value.checks.map((check) => (
            <tr key={check.name} class={check.ok ? "" : "bad-row"}>
              <td>
                <strong>{words(check.name)}</strong>
              </td>
              <td>{check.group ?? "–"}</td>
              <td>
                <Badge state={check.ok ? "ok" : "failed"} label={check.ok ? "holds" : "broken"} />
              </td>
              <td class="end">{count(check.checked)}</td>
              <td class="fine">{check.note || "–"}</td>
              <td>{(check.offenders ?? []).length === 0 ? "–" : <Offenders offenders={check.offenders!} all={check.broken ?? check.offenders!.length} />}</td>
            </tr>
          ))}
        </Table>
      )}
    </Page>
  );
}

function Offenders({ offenders, all }: { offenders: unknown[]; all: number }) {
  return (
    <details>
      <summary>{plural(all, "offender")}</summary>
      <ul>
        {offenders.map((offender, index) => (
          <li key={index}>
            <code>{json(offender)}</code>
          </li>
        ))}
        {all > offenders.length && <li class="fine">and {count(all - offenders.length)} more</li>}
      </ul>
    </details>
  );
}
