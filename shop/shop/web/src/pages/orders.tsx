// One's orders: the list, and one of them, followed live.

import { useState } from "preact/hooks";
import { api, type Order, type OrderState } from "../api";
import { Art } from "../art";
import { useAction, useLoaded } from "../async";
import { refreshCart } from "../cart";
import { clock, count, money, short, time, title } from "../format";
import { useLiveOrder } from "../live";
import { Empty, Icon, Refused, Total } from "../parts";
import { Link, navigate, useTitle } from "../router";

const STATES: Record<OrderState, { label: string; tone: string }> = {
  ORDER_STATE_PENDING: { label: "In progress", tone: "wait" },
  ORDER_STATE_CONFIRMED: { label: "Confirmed", tone: "good" },
  ORDER_STATE_CANCELLED: { label: "Cancelled", tone: "bad" },
  ORDER_STATE_REFUNDED: { label: "Refunded", tone: "wait" },
};

/** What the shop's reasons mean for a customer. */
const REASONS: Record<string, string> = {
  CARD_DECLINED: "The card was declined. Nothing was charged.",
  INSUFFICIENT_STOCK: "There are not enough pieces left. Nothing was charged.",
};

export function Badge({ state }: { state: OrderState }) {
  const { label, tone } = STATES[state] ?? { label: state, tone: "wait" };
  return <span class={`badge ${tone}`}>{label}</span>;
}

export function Orders() {
  useTitle("Orders");
  const [older, setOlder] = useState<Order[]>([]);
  const [next, setNext] = useState<string>();
  const action = useAction();
  const loaded = useLoaded((signal) => api.orders("", signal), []);
  const me = useLoaded((signal) => api.me(signal), []);
  const orders = [...(loaded.value?.orders ?? []), ...older];
  const token = next ?? loaded.value?.nextPageToken ?? "";
  const more = () =>
    action.run(async () => {
      const page = await api.orders(token);
      setOlder([...older, ...(page.orders ?? [])]);
      setNext(page.nextPageToken ?? "");
    });
  return (
    <>
      <div class="shelf-head">
        <h1 tabIndex={-1}>Orders</h1>
        {me.value?.points && <p class="points">{count(Number(me.value.points.points ?? 0), "point")}</p>}
      </div>
      {loaded.problem && <Refused problem={loaded.problem} again={loaded.again} />}
      {!loaded.value && !loaded.problem && <div class="panel ghost tall" role="status" aria-label="Loading orders" />}
      {loaded.value && orders.length === 0 && (
        <Empty heading="No orders yet">
          <Link class="button" href="/">
            Find something
          </Link>
        </Empty>
      )}
      <ul class="orders">
        {orders.map((order) => (
          <li key={order.orderId}>
            <Link class="panel order-row" href={`/orders/${order.orderId}`}>
              <span class="thumbs" aria-hidden="true">
                {(order.lines ?? []).slice(0, 3).map((line) => (
                  <Art plain class="thumb" id={line.productId} name={line.name} key={line.productId} />
                ))}
              </span>
              <span class="order-what">
                <strong>Order {short(order.orderId)}</strong>
                <span class="fine">
                  {time(order.createdAt)} · {count(order.lines?.length ?? 0, "product")}
                </span>
              </span>
              <Badge state={order.state} />
              <strong class="order-sum">{money(order.total)}</strong>
            </Link>
          </li>
        ))}
      </ul>
      {action.problem && <Refused problem={action.problem} />}
      {token && (
        <p class="center">
          <button type="button" class="button quiet" disabled={action.busy} onClick={() => void more()}>
            Older orders
          </button>
        </p>
      )}
    </>
  );
}

/** Returns the later state of an order: what was answered may come before what was streamed, or after it. */
function later(one: Order | undefined, other: Order | undefined): Order | undefined {
  if (!one || !other) return one ?? other;
  return Date.parse(one.updatedAt) > Date.parse(other.updatedAt) ? one : other;
}

export function OrderPage({ id }: { id: string }) {
  useTitle(`Order ${short(id)}`);
  const live = useLiveOrder(id);
  const [after, setAfter] = useState<Order>();
  const cancel = useAction();
  const again = useAction();
  const order = later(after, live.seen.at(-1)?.order);
  if (live.problem && !order) return <Refused problem={live.problem} />;
  if (!order) {
    return (
      <>
        <h1 tabIndex={-1}>Order {short(id)}</h1>
        <div class="panel ghost tall" role="status" aria-label="Loading the order" />
      </>
    );
  }
  const isPending = order.state === "ORDER_STATE_PENDING";
  const isCancelled = order.state === "ORDER_STATE_CANCELLED";
  const buyAgain = () =>
    again.run(async () => {
      for (const line of order.lines ?? []) refreshCart(await api.put(line.productId, line.quantity));
      navigate("/cart");
    });
  return (
    <>
      <nav class="crumbs" aria-label="Breadcrumb">
        <Link href="/orders">Orders</Link>
      </nav>
      <div class="shelf-head">
        <h1 tabIndex={-1}>Order {short(order.orderId)}</h1>
        <span class={`link-state ${live.link}`}>
          {{ connecting: "Connecting", live: "Live", broken: "Connecting again", ended: "Final" }[live.link]}
        </span>
      </div>
      <div class="two">
        <div class="stack">
          <section class="panel" aria-labelledby="progress">
            <h2 id="progress" class="sr">
              Progress
            </h2>
            <div role="status">
              <Verdict order={order} />
            </div>
            <Steps order={order} />
            {isPending && (
              <button
                type="button"
                class="button quiet"
                disabled={cancel.busy}
                onClick={() => void cancel.run(async () => setAfter(await api.cancel(order.orderId)))}
              >
                {cancel.busy ? "Cancelling…" : "Cancel the order"}
              </button>
            )}
            {isCancelled && (
              <button type="button" class="button" disabled={again.busy} onClick={() => void buyAgain()}>
                Put it in the cart again
              </button>
            )}
            {cancel.problem && <Refused problem={cancel.problem} />}
            {again.problem && <Refused problem={again.problem} />}
          </section>
        </div>
        <aside class="panel summary" aria-label="What was ordered">
          <ul class="brief pictured">
            {(order.lines ?? []).map((line) => (
              <li key={line.productId}>
                <Art plain class="thumb" id={line.productId} name={line.name} />
                <span>
                  <Link href={`/products/${encodeURIComponent(line.productId)}`}>{title(line.name)}</Link>
                  <span class="fine">
                    {line.quantity} × {money(line.unitPrice)}
                  </span>
                </span>
                <span>{money(line.total)}</span>
              </li>
            ))}
          </ul>
          <Total label="Total" amount={order.total} />
          <p class="fine number">
            Order number <code>{order.orderId}</code>
          </p>
        </aside>
      </div>
    </>
  );
}

function Verdict({ order }: { order: Order }) {
  switch (order.state) {
    case "ORDER_STATE_CONFIRMED":
      return <p class="verdict good">Thank you! It is paid, and on its way.</p>;
    case "ORDER_STATE_CANCELLED": {
      const reason = order.cancelReason ?? "";
      const text = REASONS[reason] ?? (reason ? `The order was cancelled: ${reason}.` : "The order was cancelled.");
      return <p class="verdict bad">{text}</p>;
    }
    case "ORDER_STATE_REFUNDED":
      return <p class="verdict">The money is on its way back.</p>;
    default:
      return <p class="verdict">We are getting it ready. This page follows along by itself.</p>;
  }
}

type Tone = "done" | "now" | "failed" | "open";

function Steps({ order }: { order: Order }) {
  const { state } = order;
  const isCancelled = state === "ORDER_STATE_CANCELLED";
  const isPending = state === "ORDER_STATE_PENDING";
  const isDone = state === "ORDER_STATE_CONFIRMED" || state === "ORDER_STATE_REFUNDED";
  const steps: { name: string; note: string; tone: Tone }[] = [
    { name: "Order placed", note: time(order.createdAt), tone: "done" },
    {
      name: "Stock, payment and parcel",
      note: isPending ? "Being arranged…" : isCancelled ? "Undone, nothing is left of it" : `Arranged at ${clock(order.updatedAt)}`,
      tone: isPending ? "now" : isCancelled ? "failed" : "done",
    },
    isCancelled
      ? { name: "Cancelled", note: `At ${clock(order.updatedAt)} · ${order.cancelReason ?? ""}`, tone: "failed" }
      : {
          name: "Handed over",
          note: order.tracking ? `Tracking ${order.tracking}` : isDone ? "" : "Soon",
          tone: isDone ? "done" : "open",
        },
  ];
  if (state === "ORDER_STATE_REFUNDED") steps.push({ name: "Refunded", note: time(order.updatedAt), tone: "done" });
  const marks: Record<Tone, "tick" | "cross" | undefined> = { done: "tick", failed: "cross", now: undefined, open: undefined };
  return (
    <ol class="steps">
      {steps.map(({ name, note, tone }) => {
        const mark = marks[tone];
        return (
          <li class={tone} key={name} aria-current={tone === "now" ? "step" : undefined}>
            <span class="dot">{mark && <Icon name={mark} />}</span>
            <span>
              <strong>{name}</strong>
              <span class="fine">{note}</span>
            </span>
          </li>
        );
      })}
    </ol>
  );
}
