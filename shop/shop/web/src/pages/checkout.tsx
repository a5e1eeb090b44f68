// Where the parcel goes and which card pays.

import { useState } from "preact/hooks";
import type { TargetedSubmitEvent } from "preact";
import { api, type Address } from "../api";
import { useAction, useLoaded } from "../async";
import { count, money, title } from "../format";
import { Empty, Field, read, Refused, Total } from "../parts";
import { Link, navigate, useTitle } from "../router";
import { session } from "../session";

const CARDS = [
  { token: "tok_visa", name: "Visa •••• 4242", what: "Is approved" },
  { token: "tok_declined", name: "Visa •••• 0002", what: "Is declined" },
  { token: "tok_slow", name: "Mastercard •••• 2000", what: "Takes two seconds" },
  { token: "tok_error", name: "Mastercard •••• 0119", what: "Fails once, then works" },
  { token: "tok_timeout", name: "Amex •••• 0408", what: "Charged, but the answer is lost" },
];
const KEY = "checkout-key";

/**
 * Returns the key under which a purchase happens once, however often it is sent: the same for the same cart, card and
 * address, also when the page was loaded again in between.
 */
function purchaseKey(what: string): string {
  const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  if (kept?.what === what) return kept.key;
  const key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem(KEY, JSON.stringify({ what, key }));
  return key;
}

export function Checkout() {
  useTitle("Check out");
  const action = useAction();
  const [card, setCard] = useState("tok_visa");
  const cart = useLoaded((signal) => api.cart(signal), []);
  const me = useLoaded((signal) => api.me(signal), []);
  const lines = cart.value?.lines ?? [];

  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const { name = "", street = "", city = "", postalCode = "", country = "" } = read(event.currentTarget);
    const address: Address = { name, street, city, postalCode, country };
    const key = purchaseKey(JSON.stringify([session.email(), cart.value?.updatedAt, lines, card, address]));
    void action.run(async () => {
      const order = await api.checkout(card, address, key);
      sessionStorage.removeItem(KEY);
      session.setPieces(0);
      navigate(`/orders/${order.orderId}`, true);
      scrollTo(0, 0);
    });
  };

  if (cart.problem) return <Refused problem={cart.problem} again={cart.again} />;
  if (cart.value && lines.length === 0) {
    return (
      <Empty heading="There is nothing to pay">
        <Link class="button" href="/">
          Find something
        </Link>
      </Empty>
    );
  }
  const { problem } = action;
  const profile = me.value?.profile;
  const isReady = cart.value && (me.value || me.problem);
  return (
    <>
      <h1 tabIndex={-1}>Check out</h1>
      {!isReady ? (
        <div class="panel ghost tall" role="status" aria-label="Loading" />
      ) : (
        <form class="two" onSubmit={submit}>
          <div class="stack">
            <fieldset class="panel form">
              <legend>Deliver to</legend>
              <Field label="Name" name="name" autocomplete="name" maxLength={200} value={profile?.name} problem={problem} />
              <Field label="Street and number" name="street" autocomplete="address-line1" maxLength={200} problem={problem} />
              <div class="pair">
                <Field label="Postcode" name="postalCode" autocomplete="postal-code" maxLength={200} problem={problem} />
                <Field label="City" name="city" autocomplete="address-level2" maxLength={200} problem={problem} />
              </div>
              <Field
                label="Country"
                name="country"
                autocomplete="country-name"
                maxLength={200}
                value={profile?.country || "United Kingdom"}
                problem={problem}
              />
            </fieldset>
            <fieldset class="panel form">
              <legend>Pay with a test card</legend>
              <div class="cards">
                {CARDS.map(({ token, name, what }) => (
                  <label class="card" key={token}>
                    <input
                      type="radio"
                      name="card"
                      value={token}
                      checked={card === token}
                      onChange={() => setCard(token)}
                    />
                    <span class={`card-face ${token}`} aria-hidden="true" />
                    <span>
                      <strong>{name}</strong>
                      <span class="fine">{what}</span>
                    </span>
                  </label>
                ))}
              </div>
            </fieldset>
          </div>
          <aside class="panel summary" aria-label="Your order">
            <p class="fine">{count(lines.length, "product")}</p>
            <ul class="brief">
              {lines.slice(0, 6).map((line) => (
                <li key={line.productId}>
                  <span>
                    {line.quantity} × {title(line.name)}
                  </span>
                  <span>{money(line.total)}</span>
                </li>
              ))}
              {lines.length > 6 && <li class="fine">and {lines.length - 6} more</li>}
            </ul>
            <Total label="To pay" amount={cart.value?.total} />
            {problem && <Refused problem={problem} />}
            <button class="button wide" disabled={action.busy}>
              {action.busy ? "Placing the order…" : `Pay ${money(cart.value?.total)}`}
            </button>
            <p class="fine">Sent twice by mistake, it is bought once.</p>
          </aside>
        </form>
      )}
    </>
  );
}
