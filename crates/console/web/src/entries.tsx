// Settings, with where each value comes from and when another one takes hold.

import { json } from "./format";
import { Empty, Table } from "./parts";
import type { ConfigEntry } from "./types";

export function Entries({ entries }: { entries: ConfigEntry[] }) {
  if (entries.length === 0) return <Empty>Nothing is configured for it; the defaults hold.</Empty>;
  return (
    <Table label="Settings" heads={["Key", "Value", "From", "A change takes hold"]}>
      {entries.map((entry) => (
        <tr key={entry.key}>
          <td>
            <code>{entry.key}</code>
          </td>
          <td>
            <code>{json(entry.value)}</code>
            {entry.next !== undefined && entry.next !== null && (
              <span class="fine">
                {" "}
                then <code>{json(entry.next)}</code>
              </span>
            )}
          </td>
          <td class="fine">{entry.origin ?? "–"}</td>
          <td class="fine">{entry.takes ?? "–"}</td>
        </tr>
      ))}
    </Table>
  );
}
