// The console's API: what the server answers, and how it is asked.

import type * as t from "./types";

/** A refusal of the server (RFC 9457), or the lack of an answer. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    title: string,
    readonly violations: t.Violation[] = [],
    readonly traceId?: string,
  ) {
    super(title);
  }
}

type Query = Record<string, string | number | boolean | undefined>;
let onLoggedOut = (): void => {};

/** Sets what happens when the server asks for a login. */
export function whenLoggedOut(listener: () => void): void {
  onLoggedOut = listener;
}

async function refusal(response: Response): Promise<Problem> {
  return refused(response.status, await response.json().catch(() => ({})));
}

function refused(status: number, body: any): Problem {
  const title = body.detail || body.title || `The console answered with ${status}.`;
  return new Problem(status, body.reason ?? `HTTP_${status}`, title, body.violations ?? [], body.trace_id ?? body.instance);
}

async function ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers = body === undefined ? undefined : { "content-type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "UNREACHABLE", "The console cannot be reached. Does the system still run?");
  }
  if (!response.ok) {
    const problem = await refusal(response);
    if (problem.status === 401 && path !== "/api/session") onLoggedOut();
    throw problem;
  }
  return response;
}

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const text = await (await ask(method, path, body, signal)).text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** Reads server-sent events as they come; what asks for them is a POST, which an `EventSource` cannot do. */
async function* events(response: Response): AsyncGenerator<{ event: string; data: unknown }> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const whole = (held + value).split("\n\n");
    held = whole.pop()!;
    for (const text of whole) {
      const field = (name: string) => text.split("\n").find((line) => line.startsWith(name))?.slice(name.length);
      const [event, data] = [field("event: "), field("data: ")];
      if (event && data) yield { event, data: JSON.parse(data) };
    }
  }
}

/** Calls a method that answers with a stream; `hear` gets each of what comes, until it ends or `signal` stops it. */
async function stream(body: unknown, hear: (told: t.Streamed) => void, signal: AbortSignal): Promise<void> {
  try {
    for await (const told of events(await ask("POST", "/api/stream", body, signal))) {
      if (told.event === "problem") {
        const problem = told.data as { status: number };
        throw refused(problem.status, problem);
      }
      hear(told as t.Streamed);
      if (told.event === "end") return;
    }
  } catch (error) {
    if (signal.aborted || error instanceof Problem) throw error;
  }
  throw new Problem(0, "UNREACHABLE", "The answers broke off: the console cannot be reached any more.");
}

function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "" && value !== false) asked.set(name, String(value));
  }
  return call("GET", asked.size ? `${path}?${asked}` : path, undefined, signal);
}

const post = <T>(path: string, body: unknown = {}): Promise<T> => call("POST", path, body);
const at = encodeURIComponent;

export const api = {
  session: () => get<t.Session>("/api/session"),
  login: (name: string, password: string) => post<t.Session>("/api/session", { name, password }),
  logout: () => call<void>("DELETE", "/api/session"),

  system: (signal?: AbortSignal) => get<t.System>("/api/system", {}, signal),
  map: (signal?: AbortSignal) => get<t.SystemMap>("/api/map", {}, signal),
  traces: (query: Query, signal?: AbortSignal) => get<{ traces: t.TraceSummary[]; more?: boolean }>("/api/traces", query, signal),
  trace: (id: string, signal?: AbortSignal) => get<t.Trace>(`/api/traces/${at(id)}`, {}, signal),
  logs: (query: Query, signal?: AbortSignal) => get<{ lines: t.LogLine[]; last?: number }>("/api/logs", query, signal),

  service: (name: string, signal?: AbortSignal) => get<t.ServiceDetail>(`/api/services/${at(name)}`, {}, signal),
  move: (name: string, process: string, isNew: boolean) =>
    post<{ paused_ms: number }>(`/api/services/${at(name)}/move`, { process, new: isNew }),
  contract: (name: string, signal?: AbortSignal) => get<t.Contract>(`/api/contracts/${at(name)}`, {}, signal),
  call: (method: string, message: unknown, as?: string) =>
    post<{ message: unknown; trace_id?: string }>("/api/call", { method, message, as: as || undefined }),
  stream: (method: string, message: unknown, as: string, hear: (told: t.Streamed) => void, signal: AbortSignal) =>
    stream({ method, message, as: as || undefined }, hear, signal),
  health: (signal?: AbortSignal) => get<t.HealthNode>("/api/health", {}, signal),
  config: (signal?: AbortSignal) => get<t.Config>("/api/config", {}, signal),
  reload: () => post<{ changed: unknown[]; restart: unknown[] }>("/api/config/reload"),

  topics: (signal?: AbortSignal) => get<{ topics: t.Topic[]; groups: t.Group[] }>("/api/topics", {}, signal),
  messages: (topic: string, query: Query, signal?: AbortSignal) =>
    get<{ messages: t.Message[]; next?: unknown }>(`/api/topics/${at(topic)}/messages`, query, signal),
  seek: (group: string, topic: string, to: t.SeekTo) => post<unknown>(`/api/groups/${at(group)}/seek`, { topic, to }),
  letters: (group: string, signal?: AbortSignal) =>
    get<{ letters: t.Letter[]; next?: unknown }>("/api/dead-letters", { group }, signal),
  redrive: (group: string, letters: string[], payload?: unknown) =>
    post<{ done: number }>("/api/dead-letters/redrive", { group, letters, payload }),
  drop: (group: string, letters: string[]) => post<{ done: number }>("/api/dead-letters/drop", { group, letters }),

  sagas: (query: Query, signal?: AbortSignal) =>
    get<{ sagas: t.SagaSummary[]; next?: unknown; more?: boolean }>("/api/sagas", query, signal),
  saga: (service: string, id: string, signal?: AbortSignal) =>
    get<t.SagaDetail>(`/api/sagas/${at(service)}/${at(id)}`, {}, signal),
  retry: (service: string, id: string) => post<unknown>(`/api/sagas/${at(service)}/${at(id)}/retry`),
  cancel: (service: string, id: string, reason: string) =>
    post<unknown>(`/api/sagas/${at(service)}/${at(id)}/cancel`, { reason }),

  metrics: (query: Query, signal?: AbortSignal) => get<{ series: t.Series[] }>("/api/metrics", query, signal),
  slos: (signal?: AbortSignal) => get<{ slos: t.Slo[] }>("/api/slos", {}, signal),
  runs: (signal?: AbortSignal) => get<{ runs: t.Run[] }>("/api/runs", {}, signal),
  compare: (query: Query, signal?: AbortSignal) => get<t.Comparison>("/api/runs/compare", query, signal),
  invariants: (signal?: AbortSignal) => get<t.Invariants>("/api/invariants", {}, signal),
  audit: (limit: number, signal?: AbortSignal) => get<{ entries: t.Operation[] }>("/api/audit", { limit }, signal),
};
