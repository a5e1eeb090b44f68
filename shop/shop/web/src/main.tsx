// The storefront: its frame, and which page is shown for which path.

import { render, type TargetedSubmitEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { catchUp } from "./cart";
import { Account } from "./pages/account";
import { CartPage } from "./pages/cart";
import { Checkout } from "./pages/checkout";
import { List } from "./pages/list";
import { OrderPage, Orders } from "./pages/orders";
import { ProductPage } from "./pages/product";
import { Empty, Icon } from "./parts";
import { Link, navigate, usePlace, useTitle } from "./router";
import { session, useSession } from "./session";
import "./styles.css";

const SIGNED_IN_ONLY = /^\/(cart|checkout|orders)(\/|$)/;

function Page({ place }: { place: URL }) {
  const [, first = "", second = ""] = place.pathname.split("/").map(decodeURIComponent);
  switch (first) {
    case "":
      return <List place={place} />;
    case "products":
      return <ProductPage id={second} key={second} />;
    case "cart":
      return <CartPage />;
    case "checkout":
      return <Checkout />;
    case "orders":
      return second ? <OrderPage id={second} key={second} /> : <Orders />;
    case "login":
    case "register":
      return <Account place={place} isNew={first === "register"} />;
    default:
      return <Nowhere />;
  }
}

function Nowhere() {
  useTitle("Not found");
  return (
    <Empty heading="There is no such page">
      <Link class="button" href="/">
        To the shop
      </Link>
    </Empty>
  );
}

function SearchBox({ place }: { place: URL }) {
  const asked = place.pathname === "/" ? (place.searchParams.get("q") ?? "") : "";
  const [text, setText] = useState(asked);
  useEffect(() => setText(asked), [asked]);
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const query = text.trim();
    navigate(query ? `/?q=${encodeURIComponent(query)}` : "/");
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <Icon name="search" />
      <input
        type="search"
        name="q"
        aria-label="Search the shop"
        placeholder="Search"
        maxLength={200}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </form>
  );
}

function Header({ place }: { place: URL }) {
  const { active, pieces, email } = useSession();
  const inCart = pieces();
  const log = () => {
    session.end();
    navigate("/");
  };
  return (
    <header class="top">
      <div class="bar">
        <Link class="brand" href="/" aria-label="Banyan Gifts, to the shop">
          <img src="/favicon.svg" alt="" width="32" height="32" />
          <span>Banyan Gifts</span>
        </Link>
        <SearchBox place={place} />
        <nav class="account" aria-label="Account">
          {active() ? (
            <>
              <Link href="/orders" title={email()}>
                Orders
              </Link>
              <button type="button" class="link" onClick={log}>
                Log out
              </button>
            </>
          ) : (
            <Link href={`/login${place.pathname === "/" ? "" : `?next=${encodeURIComponent(place.pathname)}`}`}>Log in</Link>
          )}
          <Link class="cart-link" href="/cart" aria-label={inCart ? `Cart, ${inCart} products` : "Cart"}>
            <Icon name="cart" />
            {inCart > 0 && <span class="count">{inCart}</span>}
          </Link>
        </nav>
      </div>
    </header>
  );
}

function App() {
  const place = usePlace();
  const main = useRef<HTMLElement>(null);
  const path = place.pathname;
  const isFirst = useRef(true);
  useSession();
  const mustSignIn = SIGNED_IN_ONLY.test(path) && !session.active();

  useEffect(() => {
    if (mustSignIn) navigate(`/login?next=${encodeURIComponent(path)}`, true);
  }, [mustSignIn, path]);

  // A screen reader reads the heading of the page that was asked for; the first one it reads by itself.
  useEffect(() => {
    if (!isFirst.current) main.current?.querySelector("h1")?.focus({ preventScroll: true });
    isFirst.current = false;
  }, [path]);

  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <Header place={place} />
      <main id="main" ref={main} tabIndex={-1}>
        {!mustSignIn && <Page place={place} />}
      </main>
      <footer class="foot">
        <p>A shop of ten services behind one gateway.</p>
        <p>
          <a href="/openapi.json">API</a> <a href="/errors">Reasons</a>
        </p>
      </footer>
    </>
  );
}

session.whenExpired(() => {
  const here = location.pathname + location.search;
  if (!here.startsWith("/login")) navigate(`/login?expired=1&next=${encodeURIComponent(here)}`);
});
if (session.active()) catchUp().catch(() => {});

const app = document.getElementById("app");
if (app) render(<App />, app);
