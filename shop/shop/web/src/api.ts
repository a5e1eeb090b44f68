// The shop's API, as its OpenAPI document describes it.

import { session } from "./session";
import { traceparent } from "./trace";

export interface Money {
  currencyCode: string;
  /** Whole pence; the API writes 64-bit numbers as text. */
  minorUnits?: string;
}
export interface Product {
  productId: string;
  name: string;
  category?: string;
  price: Money;
}
export interface ProductPage {
  products?: Product[];
  nextPageToken?: string;
}
export interface Category {
  name: string;
  products: number;
}
export interface Line {
  productId: string;
  name: string;
  quantity: number;
  unitPrice: Money;
  total: Money;
}
export interface Cart {
  lines?: Line[];
  total?: Money;
  updatedAt?: string;
}
export interface Address {
  name: string;
  street: string;
  city: string;
  postalCode: string;
  country: string;
}
export type OrderState =
  | "ORDER_STATE_PENDING"
  | "ORDER_STATE_CONFIRMED"
  | "ORDER_STATE_CANCELLED"
  | "ORDER_STATE_REFUNDED";
export interface Order {
  orderId: string;
  lines?: Line[];
  total: Money;
  state: OrderState;
  createdAt: string;
  updatedAt: string;
  cancelReason?: string;
  paymentId?: string;
  shipmentId?: string;
  tracking?: string;
}

/** A refusal of the shop (RFC 9457), or the lack of an answer. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    detail: string,
    readonly fields: Record<string, string> = {},
    readonly instance = "",
  ) {
    super(detail);
  }

  /** What is wrong with one field of a form, if anything is. */
  field(name: string): string | undefined {
    const key = Object.keys(this.fields).find((field) => field === name || field.endsWith(`.${name}`));
    return key && this.fields[key];
  }
}

/** Reads a refusal, whatever sent it. */
async function refusal(response: Response): Promise<Problem> {
  const body = await response.json().catch(() => ({}));
  const fields: Record<string, string> = {};
  for (const violation of body.violations ?? []) fields[violation.field] = violation.description;
  const detail = body.detail || `The shop answered with ${response.status}.`;
  return new Problem(response.status, body.reason ?? `HTTP_${response.status}`, detail, fields, body.instance);
}

/** Sends a request as whoever is signed in. A token that is not accepted ends the session. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("traceparent", traceparent());
  const token = session.token();
  if (token) headers.set("authorization", `Bearer ${token}`);
  let response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem(0, "UNREACHABLE", "The shop cannot be reached. Check the connection and try again.");
  }
  if (response.ok) return response;
  const problem = await refusal(response);
  if (problem.status === 401 && !path.endsWith(":login")) session.expire();
  throw problem;
}

interface Ask {
  body?: unknown;
  key?: string;
  signal?: AbortSignal;
}

async function call<T>(method: string, path: string, { body, key, signal }: Ask = {}): Promise<T> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key) headers["idempotency-key"] = key;
  const response = await request(path, { method, headers, body: JSON.stringify(body), signal });
  return response.json();
}

const at = encodeURIComponent;

export interface Search {
  query: string;
  category: string;
  min?: string;
  max?: string;
}

export const api = {
  products(search: Search, size: number, pageToken: string, signal?: AbortSignal): Promise<ProductPage> {
    const query = new URLSearchParams({ pageSize: String(size) });
    if (search.query) query.set("query", search.query);
    if (search.category) query.set("category", search.category);
    if (search.min) query.set("minPriceMinor", search.min);
    if (search.max) query.set("maxPriceMinor", search.max);
    if (pageToken) query.set("pageToken", pageToken);
    return call("GET", `/v1/products?${query}`, { signal });
  },
  product: (id: string, signal?: AbortSignal) => call<Product>("GET", `/v1/products/${at(id)}`, { signal }),
  stock: (id: string, signal?: AbortSignal) =>
    call<{ onHand?: number; available?: number }>("GET", `/v1/stock/${at(id)}`, { signal }),
  categories: (signal?: AbortSignal) => call<{ categories?: Category[] }>("GET", "/v1/categories", { signal }),

  register: (account: { name: string; email: string; password: string }) =>
    call("POST", "/v1/users", { body: account }),
  login: (email: string, password: string) =>
    call<{ accessToken: string; expiresAt: string; userId: string }>("POST", "/v1/users:login", {
      body: { email, password },
    }),
  me: (signal?: AbortSignal) =>
    call<{ profile?: { name: string; country?: string }; points?: { points?: string } }>("GET", "/v1/me", { signal }),

  cart: (signal?: AbortSignal) => call<Cart>("GET", "/v1/cart", { signal }),
  put: (id: string, quantity: number) => call<Cart>("PUT", `/v1/cart/items/${at(id)}`, { body: { quantity } }),
  remove: (id: string) => call<Cart>("DELETE", `/v1/cart/items/${at(id)}`),
  checkout: (cardToken: string, shippingAddress: Address, key: string) =>
    call<Order>("POST", "/v1/cart:checkout", { body: { cardToken, shippingAddress }, key }),

  orders: (pageToken: string, signal?: AbortSignal) =>
    call<{ orders?: Order[]; nextPageToken?: string }>(
      "GET",
      `/v1/orders?pageSize=20${pageToken && `&pageToken=${at(pageToken)}`}`,
      { signal },
    ),
  cancel: (id: string) =>
    call<Order>("POST", `/v1/orders/${at(id)}:cancel`, { body: { reason: "changed my mind" } }),
};
