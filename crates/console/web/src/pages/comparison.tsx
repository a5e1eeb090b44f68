// Two runs side by side: the load of both, settings that differ, and each kind of work that became better or worse.

import { api } from "../api";
import { useLoaded } from "../async";
import { bare, bytes, count, duration, percent, plural, rate } from "../format";
import { Empty, Page, Shown, Table } from "../parts";
import { Link, useFilters } from "../router";
import type { Comparison, MetricPoint, RunLoad, Verdict, WorkChange } from "../types";
import { called, Ended } from "./runs";

const GROUPS: { verdict: Verdict; title: string; always: boolean }[] = [
  { verdict: "worse", title: "Worse", always: true },
  { verdict: "mixed", title: "Better and worse", always: true },
  { verdict: "better", title: "Better", always: true },
  { verdict: "new", title: "Only after", always: true },
  { verdict: "gone", title: "Only before", always: true },
  { verdict: "same", title: "The same", always: false },
  { verdict: "unclear", title: "Too rare to say", always: false },
];

/** What does not count can be chosen; the first is what holds if nothing is. */
const CHOICES = [
  { name: "skip_s", label: "Left out of each", choices: [["", "nothing"], ["10", "the first 10 s"], ["30", "the first 30 s"], ["120", "the first 2 min"]] },
  { name: "percent", label: "Least difference", choices: [["", "15 %"], ["25", "25 %"], ["50", "50 %"], ["100", "100 %"]] },
  { name: "ms", label: "and", choices: [["", "0.1 ms"], ["1", "1 ms"], ["5", "5 ms"], ["50", "50 ms"]] },
] as const;

/** Requests a second of another run under which times differ anyway. */
const LOAD_DIFFERS = 1.5;

export function ComparisonPage({ before, after }: { before: string; after: string }) {
  const [filters, setFilters] = useFilters();
  const { skip_s = "", percent = "", ms = "", all = "" } = filters;
  const query = { before, after, skip_s, percent, ms };
  const compared = useLoaded((signal) => api.compare(query, signal), [query]);
  return (
    <Page title={`Run ${before} and run ${after}`} crumbs={<Link href="/runs">Runs</Link>} aside={<Link href={`/runs/${after}/${before}`}>The other way round</Link>}>
      <div class="toolbar" role="group" aria-label="What does not count">
        {CHOICES.map(({ name, label, choices }) => (
          <label class="check" key={name}>
            {label}
            <select value={filters[name] ?? ""} onChange={(event) => setFilters({ [name]: event.currentTarget.value })}>
              {choices.map(([value, text]) => (
                <option value={value} key={value}>
                  {text}
                </option>
              ))}
            </select>
          </label>
        ))}
        <label class="check">
          <input type="checkbox" checked={all === "1"} onChange={() => setFilters({ all: all ? "" : "1" })} /> All work
        </label>
      </div>
      <Shown of={compared} what="the comparison">
        {(value) => <Compared of={value} all={all === "1"} />}
      </Shown>
    </Page>
  );
}

function Compared({ of, all }: { of: Comparison; all: boolean }) {
  const settings = Object.entries(of.settings);
  const ratio = of.after.requests.rate / of.before.requests.rate;
  const works = (verdict: Verdict) => of.work.filter((work) => work.verdict === verdict);
  return (
    <div class="stack">
      <p class={`notice ${tone(of)}`} role="status">
        {conclusion(of)}
        {Number.isFinite(ratio) && ratio > 0 && (ratio > LOAD_DIFFERS || ratio < 1 / LOAD_DIFFERS) && " The load differs: times under another load differ anyway."}
        {of.before.run.build !== of.after.run.build && " The program is another build."}
      </p>
      <Table
        label="Load"
        heads={[
          "", "Run", "How", ...["Busy for", "Requests", "Rate", "Failed", "p50", "p99", "CPU a request", "Memory"].map((text) => ({ text, end: true })),
        ]}
      >
        <Load side="before" of={of.before} />
        <Load side="after" of={of.after} />
      </Table>
      {settings.length > 0 && (
        <>
          <h2>Settings that differ</h2>
          <Table label="Settings that differ" heads={["Setting", "Before", "After"]}>
            {settings.map(([key, change]) => (
              <tr key={key}>
                <td>
                  <code>{key}</code>
                </td>
                {[change.before, change.after].map((value, index) => (
                  <td key={index}>{value === null ? <span class="fine">not set</span> : <code>{value}</code>}</td>
                ))}
              </tr>
            ))}
          </Table>
        </>
      )}
      {GROUPS.filter((group) => (group.always || all) && works(group.verdict).length > 0).map(({ verdict, title }) => (
        <>
          <h2>{title}</h2>
          <Work label={title} of={works(verdict)} />
        </>
      ))}
      {of.work.length === 0 && <Empty>Nothing was done in either.</Empty>}
    </div>
  );
}

function Load({ side, of }: { side: string; of: RunLoad }) {
  const { requests, run } = of;
  return (
    <tr>
      <th scope="row">{side}</th>
      <td>{called(run)}</td>
      <td>
        <Ended run={run} />
      </td>
      <td class="end">{duration(of.seconds * 1e3)}</td>
      <td class="end">{count(requests.count)}</td>
      <td class="end">{rate(requests.rate)}</td>
      <td class="end">{percent(requests.error_share, 2)}</td>
      <td class="end">{seconds(requests.p50)}</td>
      <td class="end">{seconds(requests.p99)}</td>
      <td class="end">{duration(of.cpu_ms_per_request)}</td>
      <td class="end">{bytes(of.memory_bytes_max)}</td>
    </tr>
  );
}

function Work({ label, of }: { label: string; of: WorkChange[] }) {
  return (
    <Table
      label={label}
      heads={["Work", ...["Count", "Failed", "p50", "p90", "p99"].map((text) => ({ text, end: true })), "Because of", "Slowest trace"]}
    >
      {of.map((work) => (
        <tr key={`${work.metric} ${JSON.stringify(work.labels)}`}>
          <td title={nameOf(work.labels)}>
            <span class="fine">{KINDS[work.metric] ?? work.metric}</span> {bare(nameOf(work.labels))}
          </td>
          <td class="end">{both(work, (point) => count(point.count))}</td>
          <td class="end">{both(work, (point) => percent(point.error_share, 2))}</td>
          <td class="end">{both(work, (point) => seconds(point.p50))}</td>
          <td class="end">{both(work, (point) => seconds(point.p90))}</td>
          <td class="end">{both(work, (point) => seconds(point.p99))}</td>
          <td>{work.because.join(", ") || "–"}</td>
          <td>
            {work.slowest ? (
              <Link href={`/traces/${work.slowest.trace_id}`} data-row>
                {duration(work.slowest.duration_ns / 1e6)}
              </Link>
            ) : (
              "–"
            )}
          </td>
        </tr>
      ))}
    </Table>
  );
}

const KINDS: Record<string, string> = {
  "http.server.request.duration": "request",
  "rpc.server.call.duration": "method",
  "rpc.client.call.duration": "call by",
  "messaging.client.operation.duration": "publish",
  "messaging.process.duration": "consumer",
  "banyan.saga.operation.duration": "saga",
  "db.client.operation.duration": "store",
  "banyan.work.duration": "work",
};

/** The route stands behind its method, and a saga's step behind its workflow: so they are ordered by name. */
function nameOf(labels: Record<string, string>): string {
  const service = labels["http.route"] ? undefined : labels["service.name"];
  const names = Object.keys(labels).filter((name) => name !== "service.name").sort();
  return [service, ...names.map((name) => labels[name])].filter(Boolean).join(" ") || "all";
}

function seconds(value: number | null): string {
  return duration(value === null ? null : value * 1e3);
}

function both(work: WorkChange, write: (point: MetricPoint) => string): string {
  const [before, after] = [work.before, work.after].map((point) => (point ? write(point) : "–"));
  return before === after ? before! : `${before} → ${after}`;
}

function tally(of: Comparison): (...verdicts: Verdict[]) => number {
  return (...verdicts) => of.work.filter((work) => verdicts.includes(work.verdict)).length;
}

function tone(of: Comparison): string {
  return tally(of)("worse", "mixed") > 0 ? "warn" : "good";
}

function conclusion(of: Comparison): string {
  const number = tally(of);
  const [worse, better, same, unclear] = [number("worse", "mixed"), number("better"), number("same"), number("unclear")];
  const kinds = (n: number) => plural(n, "kind of work", "kinds of work");
  const verdict =
    worse > 0
      ? `${kinds(worse)} became worse, ${better || "none"} better.`
      : better > 0
        ? `${kinds(better)} became better, none worse.`
        : same === 0
          ? "Too little was done to say anything: 20 times of each work are the least."
          : "Nothing became better or worse beyond chance.";
  return `${verdict} ${count(same)} the same, ${count(unclear)} too rare to say.`;
}
