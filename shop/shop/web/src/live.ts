// An order, followed live by server-sent events. `EventSource` sends no headers, so the stream is read by hand.

import { useEffect, useState } from "preact/hooks";
import { type Order, Problem, request } from "./api";
import { asProblem } from "./async";

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;

export type Link = "connecting" | "live" | "broken" | "ended";

export interface Seen {
  order: Order;
  /** When it came, in milliseconds since the Unix epoch. */
  at: number;
}

export interface LiveOrder {
  /** What was seen so far, the latest last. */
  seen: Seen[];
  link: Link;
  problem?: Problem;
}

interface Event {
  id: string;
  name: string;
  data: string;
}

/** Reads the events of a stream (HTML, section 9.2.6), as far as the shop uses them. */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<Event> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const event: Event = { id: "", name: "message", data: "" };
        for (const line of text.slice(0, end).split("\n")) {
          if (line.startsWith("id: ")) event.id = line.slice(4);
          if (line.startsWith("event: ")) event.name = line.slice(7);
          if (line.startsWith("data: ")) event.data += line.slice(6);
        }
        text = text.slice(end + 2);
        if (event.data) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Follows an order until it is no longer pending, over as many connections as that takes. */
export function useLiveOrder(orderId: string): LiveOrder {
  const [live, setLive] = useState<LiveOrder>({ seen: [], link: "connecting" });
  useEffect(() => {
    const control = new AbortController();
    let lastId = "";
    const path = `/v1/orders/${encodeURIComponent(orderId)}/events`;
    const set = (next: Partial<LiveOrder>): void => {
      if (!control.signal.aborted) setLive((now) => ({ ...now, ...next }));
    };

    async function connect(): Promise<boolean> {
      const headers: Record<string, string> = { accept: "text/event-stream" };
      if (lastId) headers["last-event-id"] = lastId;
      const response = await request(path, { headers, signal: control.signal });
      set({ link: "live", problem: undefined });
      for await (const event of events(response.body!)) {
        if (event.name === "end") return true;
        if (event.name === "problem") throw new Problem(503, "UNAVAILABLE", JSON.parse(event.data).detail);
        lastId = event.id || lastId;
        const order: Order = JSON.parse(event.data);
        if (!control.signal.aborted) setLive((now) => ({ ...now, seen: [...now.seen, { order, at: Date.now() }] }));
      }
      return false;
    }

    async function follow(): Promise<void> {
      for (let pause = RETRY_MS_MIN; !control.signal.aborted; ) {
        try {
          if (await connect()) return set({ link: "ended" });
          pause = RETRY_MS_MIN;
        } catch (error) {
          if (control.signal.aborted) return;
          const problem = asProblem(error);
          const final = problem.status >= 400 && problem.status < 500 && problem.status !== 429;
          set({ link: final ? "ended" : "broken", problem: final ? problem : undefined });
          if (final) return;
          pause = Math.min(2 * pause, RETRY_MS_MAX);
        }
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }

    setLive({ seen: [], link: "connecting" });
    void follow();
    return () => control.abort();
  }, [orderId]);
  return live;
}
