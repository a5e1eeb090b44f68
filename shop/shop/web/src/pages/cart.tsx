// The cart, at today's prices.

import { useState } from "preact/hooks";
import { api, type Cart, type Line } from "../api";
import { Art } from "../art";
import { useAction, useLoaded } from "../async";
import { refreshCart } from "../cart";
import { count, money, title } from "../format";
import { Empty, Icon, Refused, Stepper, Total } from "../parts";
import { Link, useTitle } from "../router";

export function CartPage() {
  useTitle("Cart");
  const [changed, setChanged] = useState<Cart>();
  const action = useAction();
  const loaded = useLoaded(async (signal) => {
    const cart = await api.cart(signal);
    refreshCart(cart);
    return cart;
  }, []);
  const cart = changed ?? loaded.value;
  const change = (work: () => Promise<Cart>) =>
    action.run(async () => {
      const next = await work();
      refreshCart(next);
      setChanged(next);
    });
  const lines = cart?.lines ?? [];

  return (
    <>
      <h1 tabIndex={-1}>Cart</h1>
      {loaded.problem && <Refused problem={loaded.problem} again={loaded.again} />}
      {!cart && !loaded.problem && <div class="panel ghost tall" aria-label="Loading the cart" role="status" />}
      {cart && lines.length === 0 && (
        <Empty heading="The cart is empty">
          <Link class="button" href="/">
            Find something
          </Link>
        </Empty>
      )}
      {cart && lines.length > 0 && (
        <div class="two">
          <ul class="lines" aria-busy={action.busy}>
            {lines.map((line) => (
              <Row line={line} busy={action.busy} change={change} key={line.productId} />
            ))}
          </ul>
          <aside class="panel summary" aria-label="Summary">
            <p class="fine">{count(lines.length, "product")}</p>
            <Total label="Total" amount={cart.total} />
            <Link class="button wide" href="/checkout">
              Check out
            </Link>
            {action.problem && <Refused problem={action.problem} />}
            <p role="status" class="sr">
              {`Total ${money(cart.total)}`}
            </p>
          </aside>
        </div>
      )}
    </>
  );
}

interface RowProps {
  line: Line;
  busy: boolean;
  change: (work: () => Promise<Cart>) => void;
}

function Row({ line, busy, change }: RowProps) {
  const name = title(line.name);
  return (
    <li class="line">
      <Art plain class="thumb" id={line.productId} name={line.name} />
      <div class="line-text">
        <Link href={`/products/${encodeURIComponent(line.productId)}`}>{name}</Link>
        <span class="fine">{money(line.unitPrice)} each</span>
      </div>
      <Stepper
        value={line.quantity}
        of={name}
        disabled={busy}
        onChange={(quantity) => change(() => api.put(line.productId, quantity))}
      />
      <strong class="line-total">{money(line.total)}</strong>
      <button
        type="button"
        class="icon-button"
        disabled={busy}
        aria-label={`Remove ${name}`}
        onClick={() => change(() => api.remove(line.productId))}
      >
        <Icon name="bin" />
      </button>
    </li>
  );
}
