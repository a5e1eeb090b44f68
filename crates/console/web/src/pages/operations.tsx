// The audit log: who changed what, and what came of it.

import { api } from "../api";
import { useLoaded } from "../async";
import { json, words } from "../format";
import { Badge, Empty, Page, Shown, Table, Time } from "../parts";

const LIMIT = 200;
const REFRESH_MS = 5_000;

export function Operations() {
  const audit = useLoaded((signal) => api.audit(LIMIT, signal), [], REFRESH_MS);
  return (
    <Page title="Operations">
      <Shown of={audit} what="the operations">
        {({ entries }) =>
          entries.length === 0 ? (
            <Empty>Nobody has changed anything from here.</Empty>
          ) : (
            <Table label="Operations" heads={["When", "Who", "What", "On", "With", "Outcome"]}>
              {entries.map((entry) => (
                <tr key={entry.number}>
                  <td>
                    <Time ms={entry.at_ms} />
                  </td>
                  <td>
                    {entry.user} <span class="fine">{entry.role}</span>
                  </td>
                  <td>{words(entry.action)}</td>
                  <td>
                    <code>{entry.target}</code>
                  </td>
                  <td class="fine">{entry.arguments === undefined || entry.arguments === null ? "–" : <code>{brief(entry.arguments)}</code>}</td>
                  <td>
                    {entry.outcome ? <Badge state={/^(ok|done)/i.test(entry.outcome) ? "ok" : "failed"} label={entry.outcome} /> : <Badge state="running" label="not known" />}
                    {entry.count > 1 && <span class="fine"> {entry.count} times</span>}
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

function brief(value: unknown): string {
  return json(typeof value === "object" ? JSON.stringify(value) : value);
}
