// Every start of the system: when it began, how it ended, and the way to what changed from one to another.

import { useState } from "preact/hooks";
import { api } from "../api";
import { useLoaded } from "../async";
import { duration, moment } from "../format";
import { Badge, Empty, Field, Page, Shown, Table, useNow } from "../parts";
import { Link, navigate } from "../router";
import type { Run } from "../types";

const REFRESH_MS = 5_000;

const ENDS: Record<Run["state"], string> = { running: "running", stopped: "ok", killed: "failed" };

export function Runs() {
  const runs = useLoaded((signal) => api.runs(signal), [], REFRESH_MS);
  return (
    <Page title="Runs">
      <Shown of={runs} what="the runs">
        {({ runs }) =>
          runs.length === 0 ? (
            <Empty>No run is remembered.</Empty>
          ) : (
            <>
              {runs.length > 1 && <Choice runs={runs} />}
              <List runs={runs} />
            </>
          )
        }
      </Shown>
    </Page>
  );
}

/** Says which run it is: its number, and its name if it has one. */
export function called(run: Run): string {
  return run.label ? `${run.id}, ${run.label}` : String(run.id);
}

export function Ended({ run }: { run: Run }) {
  return <Badge state={ENDS[run.state]} label={run.state} />;
}

/** Two runs to set side by side: at first the last one and the one before it. */
function Choice({ runs }: { runs: Run[] }) {
  const [before, setBefore] = useState(runs[1]!.id);
  const [after, setAfter] = useState(runs[0]!.id);
  const choose = (label: string, value: number, set: (id: number) => void) => (
    <Field label={label}>
      {(id) => (
        <select id={id} value={value} onChange={(event) => set(Number(event.currentTarget.value))}>
          {runs.map((run) => (
            <option value={run.id} key={run.id}>
              {called(run)}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
  return (
    <form
      class="panel compare"
      aria-label="Two runs"
      onSubmit={(event) => {
        event.preventDefault();
        navigate(`/runs/${before}/${after}`);
      }}
    >
      {choose("Before", before, setBefore)}
      {choose("After", after, setAfter)}
      <button type="submit" class="button" disabled={before === after}>
        Compare
      </button>
      <p class="fine">What became better or worse from the one to the other, beyond chance.</p>
    </form>
  );
}

function List({ runs }: { runs: Run[] }) {
  const now = useNow();
  return (
    <Table
      label="Runs"
      heads={[{ text: "Run", end: true }, "Label", "Began", "Ended", "How", { text: "For", end: true }, "Program of", "Settings", "Compared"]}
    >
      {runs.map((run, index) => {
        const before = runs[index + 1];
        const isRunning = run.state === "running";
        return (
          <tr key={run.id}>
            <td class="end">{run.id}</td>
            <td>{run.label || "–"}</td>
            <td>{at(run.started_ms)}</td>
            <td>
              {isRunning ? "–" : at(run.until_ms)}
              {run.state === "killed" && <span class="fine"> last heard of</span>}
            </td>
            <td>
              <Ended run={run} />
            </td>
            <td class="end">{duration((isRunning ? Math.max(now, run.until_ms) : run.until_ms) - run.started_ms)}</td>
            <td class="fine">{run.build.slice(0, 19) || "–"}</td>
            <td>
              <code>{run.configuration}</code>
            </td>
            <td>
              {before ? (
                <Link href={`/runs/${before.id}/${run.id}`} data-row>
                  with run {before.id}
                </Link>
              ) : (
                "–"
              )}
            </td>
          </tr>
        );
      })}
    </Table>
  );
}

function at(ms: number) {
  return <time dateTime={new Date(ms).toISOString()}>{moment(ms).replace(/\.\d+$/, "")}</time>;
}
