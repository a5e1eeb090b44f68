// Topics and the groups that read them.

import { api } from "../api";
import { useLoaded } from "../async";
import { bytes, count, duration } from "../format";
import { Badge, Empty, Page, Shown, Table } from "../parts";
import { Link, useFilters } from "../router";
import type { Group, Topic } from "../types";

const REFRESH_MS = 3_000;
/** The ends of names of topics that the system makes for itself. */
const INTERNAL = /\.(redrive|dlq|dead-letters|retry)$/;

function sum(topic: Topic, of: (partition: Topic["partitions"][number]) => number): number {
  return topic.partitions.reduce((total, partition) => total + of(partition), 0);
}

/** Absent where the engine does not tell. */
function sizeOf(topic: Topic): number | undefined {
  const isTold = topic.partitions.every((partition) => partition.bytes !== null);
  return isTold ? sum(topic, (partition) => partition.bytes ?? 0) : undefined;
}

export function Events() {
  const [filters, setFilters] = useFilters();
  const answer = useLoaded((signal) => api.topics(signal), [], REFRESH_MS);
  const withInternal = filters.internal === "1";
  const toggle = (
    <label class="check">
      <input type="checkbox" checked={withInternal} onChange={() => setFilters({ internal: withInternal ? "" : "1" })} /> Redrive topics and the like
    </label>
  );
  return (
    <Page title="Events" aside={toggle}>
      <Shown of={answer} what="topics and groups">
        {({ topics, groups }) => {
          const shown = topics.filter((topic) => withInternal || !INTERNAL.test(topic.topic));
          return (
            <div class="stack">
              {shown.length === 0 && <Empty>There is no topic yet.</Empty>}
              {shown.length > 0 && (
                <Table
                  label="Topics"
                  heads={[
                    "Topic", { text: "Partitions", end: true }, { text: "Events", end: true }, { text: "Kept", end: true },
                    { text: "Size", end: true }, "Retention",
                  ]}
                >
                  {shown.map((topic) => (
                    <tr key={topic.topic}>
                      <td>
                        <Link href={`/events/${encodeURIComponent(topic.topic)}`} data-row>
                          {topic.topic}
                        </Link>
                      </td>
                      <td class="end">{topic.partitions.length}</td>
                      <td class="end">{count(sum(topic, (partition) => partition.next))}</td>
                      <td class="end">{count(sum(topic, (partition) => partition.next - partition.first))}</td>
                      <td class="end">{bytes(sizeOf(topic))}</td>
                      <td>{topic.retention_ms ? duration(topic.retention_ms) : "for ever"}</td>
                    </tr>
                  ))}
                </Table>
              )}
              <h2>Groups</h2>
              <Groups groups={groups} />
            </div>
          );
        }}
      </Shown>
    </Page>
  );
}

export function Groups({ groups }: { groups: Group[] }) {
  if (groups.length === 0) return <Empty>Nobody reads.</Empty>;
  const most = Math.max(1, ...groups.map((group) => group.lag));
  return (
    <Table label="Groups" heads={["Group", "State", { text: "Members", end: true }, { text: "Partitions", end: true }, { text: "Lag", end: true, class: "c-bar" }]}>
      {groups.map((group) => {
        const stopped = group.partitions?.filter((partition) => partition.stopped) ?? [];
        return (
          <tr key={group.group}>
            <td>{group.group}</td>
            <td>
              {stopped.length > 0 ? (
                <span title={stopped.map((one) => `${one.topic} ${one.partition}: ${one.stopped}`).join("\n")}>
                  <Badge state="stopped" label={`stopped in ${stopped.length}`} />
                </span>
              ) : (
                <Badge state={(group.members?.length ?? 0) > 0 ? "ready" : "idle"} label={(group.members?.length ?? 0) > 0 ? "reading" : "no member"} />
              )}
            </td>
            <td class="end">{group.members?.length ?? 0}</td>
            <td class="end">{group.partitions?.length ?? "–"}</td>
            <td class="end">
              <span class="meter">
                <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
                  <rect width={(100 * group.lag) / most} height="4" />
                </svg>
                <span>{count(group.lag)}</span>
              </span>
            </td>
          </tr>
        );
      })}
    </Table>
  );
}
