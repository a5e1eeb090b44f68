// Products: all of them, by category, by price, or by the words of a search.

import { useEffect, useState } from "preact/hooks";
import { api, type Category, type Product, type Problem, type Search } from "../api";
import { asProblem, useLoaded } from "../async";
import { count } from "../format";
import { Empty, Refused, Tile, TileSkeletons } from "../parts";
import { Link, navigate, useTitle } from "../router";

const PAGE = 24;
/** Searches that are remembered, so that the way back is short. */
const REMEMBERED_MAX = 20;

interface Found {
  products: Product[];
  next: string;
}
const remembered = new Map<string, Found>();
let categories: Category[] | undefined;

function remember(key: string, found: Found): void {
  remembered.set(key, found);
  const oldest = remembered.keys().next().value;
  if (remembered.size > REMEMBERED_MAX && oldest !== undefined) remembered.delete(oldest);
}

const PRICES: { label: string; min?: string; max?: string }[] = [
  { label: "Any price" },
  { label: "Under £1", max: "99" },
  { label: "£1 to £5", min: "100", max: "500" },
  { label: "£5 to £20", min: "500", max: "2000" },
  { label: "Over £20", min: "2001" },
];

function place(search: Search): string {
  const entries = Object.entries({ q: search.query, category: search.category, min: search.min, max: search.max });
  const query = new URLSearchParams(entries.filter((entry): entry is [string, string] => Boolean(entry[1])));
  return query.size ? `/?${query}` : "/";
}

export function List({ place: url }: { place: URL }) {
  const get = (name: string) => url.searchParams.get(name) ?? "";
  const search: Search = {
    query: get("q"),
    category: get("category"),
    min: get("min") || undefined,
    max: get("max") || undefined,
  };
  const key = place(search);
  const heading = search.query ? `“${search.query}”` : search.category || "Everything in the shop";
  useTitle(search.query || search.category);

  const isPlain = key === "/";
  return (
    <>
      {isPlain && <Hero />}
      <Categories search={search} />
      <div class="shelf-head">
        <h1 class={isPlain ? "h2" : ""} tabIndex={-1}>
          {heading}
        </h1>
        <label class="select">
          <span class="sr">Price</span>
          <select
            value={String(Math.max(0, PRICES.findIndex((p) => p.min === search.min && p.max === search.max)))}
            onChange={(event) => {
              const price = PRICES[Number(event.currentTarget.value)];
              navigate(place({ ...search, min: price?.min, max: price?.max }));
            }}
          >
            {PRICES.map((price, index) => (
              <option value={String(index)} key={price.label}>
                {price.label}
              </option>
            ))}
          </select>
        </label>
      </div>
      <Shelf key={key} name={key} search={search} />
    </>
  );
}

function Hero() {
  return (
    <section class="hero">
      <div>
        <p class="eyebrow">Banyan Gifts</p>
        <p class="hero-line">Small things that make somebody’s day.</p>
        <p class="lead">Hearts, lanterns, teacups and paper, handed over the moment they are paid.</p>
      </div>
      <Grove />
    </section>
  );
}

/** A banyan, which has many trunks. */
function Grove() {
  const crowns = [
    [60, 70, 34], [104, 46, 42], [160, 36, 48], [216, 48, 42], [262, 72, 34], [132, 84, 34], [190, 86, 34],
  ];
  const trunks = [64, 104, 142, 178, 216, 258];
  return (
    <svg class="grove" viewBox="0 -16 320 200" aria-hidden="true">
      <path class="ground" d="M8 178h304" />
      {trunks.map((x, index) => (
        <path class="trunk" d={`M${x} 178c${index % 2 ? 5 : -5}-28 ${index % 2 ? -6 : 6}-50 0-92`} key={x} />
      ))}
      {crowns.map(([x, y, r], index) => (
        <circle class={`crown c${index % 3}`} cx={x} cy={y} r={r} key={`${x}`} />
      ))}
      <path class="gift" d="M34 152h30v26H34ZM242 146h34v32h-34Z" />
      <path class="ribbon" d="M49 152v26M34 163h30M259 146v32M242 160h34M49 152c-5-9-13-6-10 0 5 1 15 1 20 0 3-6-5-9-10 0" />
    </svg>
  );
}

function Categories({ search }: { search: Search }) {
  const loaded = useLoaded(async (signal) => {
    categories ??= (await api.categories(signal)).categories ?? [];
    return categories;
  }, []);
  const list = loaded.value ?? categories;
  const chip = (label: string, category: string, products?: number) => (
    <li key={label}>
      <Link
        class="chip"
        href={place({ ...search, category })}
        aria-current={search.category === category ? "true" : undefined}
      >
        {label} {products !== undefined && <small>{products}</small>}
      </Link>
    </li>
  );
  return (
    <nav class="chips" aria-label="Categories">
      <ul>
        {chip("All", "")}
        {list?.map((category) => chip(category.name, category.name, category.products))}
        {!list && !loaded.problem && [1, 2, 3, 4, 5, 6].map((n) => <li class="chip ghost" key={n} aria-hidden="true" />)}
      </ul>
    </nav>
  );
}

function Shelf({ name, search }: { name: string; search: Search }) {
  const [found, setFound] = useState<Found | undefined>(() => remembered.get(name));
  const [problem, setProblem] = useState<Problem>();
  const [loading, setLoading] = useState(false);

  async function more(before: Found, signal?: AbortSignal): Promise<void> {
    setLoading(true);
    setProblem(undefined);
    try {
      const page = await api.products(search, PAGE, before.next, signal);
      const next = { products: [...before.products, ...(page.products ?? [])], next: page.nextPageToken ?? "" };
      remember(name, next);
      if (!signal?.aborted) setFound(next);
    } catch (error) {
      if (!signal?.aborted) setProblem(asProblem(error));
    } finally {
      if (!signal?.aborted) setLoading(false);
    }
  }

  const first = () => {
    const control = new AbortController();
    if (!remembered.has(name)) void more({ products: [], next: "" }, control.signal);
    return () => control.abort();
  };
  useEffect(first, [name]);

  if (problem && !found) return <Refused problem={problem} again={first} />;
  if (found && found.products.length === 0 && name === "/") {
    return (
      <Empty heading="The shelves are empty">
        <p>
          <code>shop import</code> fills them, in a terminal.
        </p>
      </Empty>
    );
  }
  if (found && found.products.length === 0) {
    return (
      <Empty heading="Nothing fits">
        <p>Try fewer words, another price or another category.</p>
        <Link class="button" href="/">
          Show everything
        </Link>
      </Empty>
    );
  }
  return (
    <>
      <p class="sr" role="status">
        {found ? `${count(found.products.length, "product")} shown` : "Loading products"}
      </p>
      <ul class="grid" aria-busy={loading}>
        {found?.products.map((product) => <Tile product={product} key={product.productId} />)}
        {loading && <TileSkeletons count={found ? 6 : 12} />}
      </ul>
      {problem && found && <Refused problem={problem} again={() => void more(found)} />}
      {found?.next && !problem && (
        <p class="center">
          <button type="button" class="button quiet" disabled={loading} onClick={() => void more(found)}>
            {loading ? "Loading…" : "Show more"}
          </button>
        </p>
      )}
    </>
  );
}
