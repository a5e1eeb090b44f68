// One product: what it costs, whether it is there, and the way into the cart.

import { useState } from "preact/hooks";
import { api } from "../api";
import { Art } from "../art";
import { useAction, useLoaded } from "../async";
import { putLater, refreshCart } from "../cart";
import { count, money, title } from "../format";
import { Icon, Refused, Stepper, Tile, TileSkeletons } from "../parts";
import { Link, navigate, useTitle } from "../router";
import { session } from "../session";

const SIMILAR = 6;

export function ProductPage({ id }: { id: string }) {
  const product = useLoaded((signal) => api.product(id, signal), [id]);
  const stock = useLoaded((signal) => api.stock(id, signal), [id]);
  const [quantity, setQuantity] = useState(1);
  const [added, setAdded] = useState(0);
  const action = useAction();
  const name = product.value ? title(product.value.name) : "";
  useTitle(name);
  if (product.problem) return <Refused problem={product.problem} again={product.again} />;

  const available = stock.value?.available ?? 0;
  const isGone = stock.value !== undefined && available === 0;
  const add = () =>
    action.run(async () => {
      setAdded(0);
      if (!session.active()) {
        putLater({ id, quantity });
        navigate(`/login?next=${encodeURIComponent("/cart")}`);
        return;
      }
      const cart = await api.cart();
      const before = cart.lines?.find((line) => line.productId === id)?.quantity ?? 0;
      refreshCart(await api.put(id, before + quantity));
      setAdded(quantity);
    });

  return (
    <>
      <nav class="crumbs" aria-label="Breadcrumb">
        <Link href="/">Shop</Link>
        {product.value?.category && (
          <Link href={`/?category=${encodeURIComponent(product.value.category)}`}>{product.value.category}</Link>
        )}
      </nav>
      <article class="product">
        {product.value ? (
          <Art class="large" id={product.value.productId} name={product.value.name} />
        ) : (
          <div class="art large ghost" />
        )}
        <div class="product-text">
          <h1 tabIndex={-1}>{name || <i class="bone" />}</h1>
          <p class="price">{product.value ? money(product.value.price) : <i class="bone short" />}</p>
          <p class={`stock ${isGone ? "none" : ""}`}>
            {stock.value ? (
              isGone ? "Sold out" : <>In stock <span class="fine">{count(available, "piece")}</span></>
            ) : stock.problem ? (
              <span class="fine">Stock unknown</span>
            ) : (
              <i class="bone short" />
            )}
          </p>
          <div class="buy">
            <Stepper value={quantity} max={Math.max(1, available || 100_000)} of={name} onChange={setQuantity} />
            <button type="button" class="button" disabled={!product.value || isGone || action.busy} onClick={add}>
              <Icon name="cart" /> {action.busy ? "Adding…" : "Add to cart"}
            </button>
          </div>
          <div role="status">
            {added > 0 && (
              <p class="notice good">
                <Icon name="tick" /> {count(added, "piece")} added. <Link href="/cart">Go to the cart</Link>
              </p>
            )}
          </div>
          {action.problem && <Refused problem={action.problem} />}
          <dl class="facts">
            <div>
              <dt>Stock code</dt>
              <dd>{id}</dd>
            </div>
            <div>
              <dt>Category</dt>
              <dd>{product.value?.category ?? "…"}</dd>
            </div>
            <div>
              <dt>Delivery</dt>
              <dd>Handed over the moment it is paid</dd>
            </div>
          </dl>
        </div>
      </article>
      {product.value && <Similar id={id} category={product.value.category ?? ""} />}
    </>
  );
}

function Similar({ id, category }: { id: string; category: string }) {
  const loaded = useLoaded((signal) => api.products({ query: "", category }, 100, "", signal), [category]);
  if (loaded.problem) return null;
  const others = (loaded.value?.products ?? []).filter((product) => product.productId !== id);
  // A window that depends on the product: not the same six everywhere.
  const start = others.length > SIMILAR ? [...id].reduce((n, c) => n + c.charCodeAt(0), 0) % (others.length - SIMILAR) : 0;
  return (
    <section class="similar" aria-labelledby="similar">
      <h2 id="similar">More like this</h2>
      <ul class="grid small">
        {loaded.value
          ? others.slice(start, start + SIMILAR).map((product) => <Tile product={product} key={product.productId} />)
          : <TileSkeletons count={SIMILAR} />}
      </ul>
    </section>
  );
}
