// What the server answers. Times ending in `_ms` are milliseconds since the Unix epoch, `_ns` nanoseconds.

export type Role = "viewer" | "operator" | "admin";

export interface Violation {
  field: string;
  description: string;
}
export interface Session {
  user: string;
  role: Role;
  login_required: boolean;
  system: string;
  version: string;
}

export interface Process {
  process: string;
  pid: number;
  address?: string;
  state: string;
  restarts: number;
  restart_reason?: string;
  /** Of the system, as the program of this process was built. */
  version?: string;
}
export interface Service {
  service: string;
  state: string;
  processes: string[];
  contracts: string[];
}
export interface System {
  system: string;
  gateway?: string;
  started_ms?: number;
  processes: Process[];
  services: Service[];
  config?: {
    version?: number | string;
    read_ms?: number;
    source?: string;
    source_problem?: string | null;
    refused?: string;
    restart_keys?: string[];
  };
}

export type NodeKind = "edge" | "service" | "topic" | "store";
export interface Red {
  rate?: number;
  error_rate?: number;
  p50_ms?: number | null;
  p99_ms?: number | null;
}
export interface MapNode extends Red {
  id: string;
  kind: NodeKind;
  label: string;
  state?: string;
  processes?: string[];
}
export interface MapEdge extends Red {
  from: string;
  to: string;
  kind: "call" | "publish" | "consume" | "store";
}
export interface SystemMap {
  at_ms: number;
  window_s: number;
  nodes: MapNode[];
  edges: MapEdge[];
}

export type Status = "ok" | "refused" | "failed" | "cancelled";
export interface TraceSummary {
  trace_id: string;
  started_ns: number;
  duration_ns: number;
  spans: number;
  failed: number;
  name?: string | null;
  service?: string | null;
  status?: Status | null;
  correlation_id: string;
}
export interface Span {
  trace_id: string;
  span_id: string;
  parent_id: string;
  service: string;
  process: string;
  kind: "internal" | "server" | "client" | "producer" | "consumer";
  name: string;
  started_ns: number;
  duration_ns: number;
  status: Status;
  code: string;
  reason: string;
  message: string;
  correlation_id: string;
  attributes: [string, unknown][];
  /** `TRACE-SPAN` each: what led to it without waiting for it. */
  links: string[];
}
export interface JournalEntry {
  seq: number;
  kind: string;
  step: string;
  note?: string;
  at_ms: number;
}
export interface TraceSaga {
  service: string;
  id: string;
  workflow: string;
  state: string;
  journal: JournalEntry[];
}
export interface TraceEvent {
  topic: string;
  /** Absent where the log has not got it (any more). */
  partition: number | null;
  offset: number | null;
  id: string;
  type: string;
  key?: string;
  /** When a span first named it. */
  at_ms: number;
  appended_ms: number | null;
}
export interface LogLine {
  number: number;
  process?: string;
  time_ms: number;
  level: string;
  service?: string;
  message: string;
  trace_id?: string;
  correlation_id?: string;
  target?: string;
  fields?: Record<string, unknown>;
}
export interface Trace {
  trace_id: string;
  spans: Span[];
  sagas?: TraceSaga[];
  events?: TraceEvent[];
  lines?: LogLine[];
}

export interface HealthNode {
  name: string;
  kind: string;
  status: "ok" | "degraded" | "failed" | "unknown";
  latency_ms?: number;
  checked_ms?: number;
  message?: string;
  children?: HealthNode[];
}
export interface ConfigEntry {
  key: string;
  value: unknown;
  origin?: string;
  takes?: string;
  next?: unknown;
}
export interface Config {
  entries: ConfigEntry[];
}
export interface MethodBrief {
  name: string;
  input?: string;
  output?: string;
  no_side_effects?: boolean;
  kind: "unary" | "server_streaming" | "client_streaming" | "bidirectional";
  access: "internal" | "public" | "user" | "admin";
  http?: string[];
}
export interface ContractBrief {
  name: string;
  methods: MethodBrief[];
}
/** What a call that is answered with a stream tells, one after the other; a problem is thrown. */
export type Streamed =
  | { event: "begun"; data: { trace_id: string } }
  | { event: "answer"; data: { number: number; message: unknown } }
  | { event: "end"; data: { why: string; says: string; answers: number } };
export interface ServiceDetail {
  service: string;
  state: string;
  processes: string[];
  contracts: ContractBrief[];
  config: ConfigEntry[];
  health?: HealthNode;
}
export interface Schema {
  $ref?: string;
  type?: string | string[];
  title?: string;
  description?: string;
  format?: string;
  enum?: (string | number)[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  oneOf?: Schema[];
  anyOf?: Schema[];
  default?: unknown;
  readOnly?: boolean;
}
export interface ContractMethod {
  name: string;
  input: Schema;
  output: Schema;
  description?: string | null;
}
export interface Contract {
  name: string;
  methods: ContractMethod[];
  components: { schemas: Record<string, Schema> };
}

export interface Topic {
  topic: string;
  partitions: { partition: number; first: number; next: number; bytes: number | null }[];
  retention_ms?: number | null;
  retention_bytes?: number | null;
}
export interface Group {
  group: string;
  topics?: string[];
  members?: (string | { member: string })[];
  lag: number;
  partitions?: { topic: string; partition: number; next: number; lag: number; stopped?: string | null }[];
}
export interface Message {
  partition: number;
  offset: number;
  id: string;
  type: string;
  source?: string;
  key?: string;
  time_ms: number;
  correlation_id?: string;
  trace_id?: string | null;
  payload: unknown;
  payload_kind: string;
}
export type SeekTo = "beginning" | "end" | { time_ms: number } | { offset: number; partition: number };
export interface Letter {
  group: string;
  partition: number;
  offset: number;
  topic: string;
  type: string;
  key?: string;
  error: string;
  reason: string;
  attempts: number;
  dead_ms: number;
  trace_id?: string | null;
  /** A contract describes it, and nothing of it is hidden. */
  editable: boolean;
  payload: unknown;
  payload_kind: string;
}

export interface SagaSummary {
  service: string;
  id: string;
  workflow: string;
  state: string;
  step?: string;
  failure?: string;
  created_ms: number;
  updated_ms: number;
}
export interface SagaDetail extends SagaSummary {
  journal: JournalEntry[];
  trace_id?: string;
}

/** What was measured in one step of time; durations in seconds. */
export interface Point {
  at_ms: number;
  count: number;
  rate: number | null;
  error_share: number | null;
  p50: number | null;
  p99: number | null;
}
export interface Series {
  labels: Record<string, string>;
  points: Point[];
}
export interface Slo {
  name: string;
  indicator: "availability" | { latency: { ms: number } };
  objective: number;
  metric: string;
  window_hours: number;
  good: number;
  total: number;
  share: number;
  budget_left: number;
  /** By the time it is measured over: `5m`, `1h`, `6h`. */
  burn: Record<string, number | null>;
  state: "no_data" | "ok" | "burning" | "spent";
}
export interface Invariants {
  checked_ms: number;
  ok: boolean;
  checks: {
    name: string;
    /** What it is about. */
    group?: string;
    ok: boolean;
    checked: number;
    /** How many offend; the first of them are named. */
    broken?: number;
    offenders?: unknown[];
    note?: string;
  }[];
}
export interface Operation {
  number: number;
  at_ms: number;
  user: string;
  role: string;
  action: string;
  target: string;
  arguments?: unknown;
  outcome?: string | null;
  /** How often: the same refusal is one entry for an hour. */
  count: number;
}

export interface Run {
  id: number;
  started_ms: number;
  /** When it stopped, or was last heard of. */
  until_ms: number;
  state: "running" | "stopped" | "killed";
  label: string;
  build: string;
  /** Tells settings apart. */
  configuration: string;
}
/** Durations in seconds. */
export interface MetricPoint {
  count: number;
  rate: number;
  error_share: number;
  p50: number | null;
  p90: number | null;
  p99: number | null;
}
export interface RunLoad {
  run: Run;
  seconds: number;
  requests: MetricPoint;
  cpu_ms_per_request: number | null;
  memory_bytes_max: number;
}
export type Verdict = "worse" | "mixed" | "better" | "same" | "unclear" | "new" | "gone";
export interface WorkChange {
  metric: string;
  labels: Record<string, string>;
  before: MetricPoint | null;
  after: MetricPoint | null;
  verdict: Verdict;
  because: string[];
  slowest: { trace_id: string; duration_ns: number } | null;
}
export interface Comparison {
  before: RunLoad;
  after: RunLoad;
  settings: Record<string, { before: string | null; after: string | null }>;
  work: WorkChange[];
}
