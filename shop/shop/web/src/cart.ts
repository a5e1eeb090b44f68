// What is in the cart, for the number beside it; and what goes into it after a login.

import { api, type Cart } from "./api";
import { session } from "./session";

const LATER = "put-later";

interface Later {
  id: string;
  quantity: number;
}

export function refreshCart(cart: Cart): void {
  session.setPieces(cart.lines?.length ?? 0);
}

/** Remembers what somebody wanted who is not signed in yet. */
export function putLater(item: Later): void {
  sessionStorage.setItem(LATER, JSON.stringify(item));
}

/** Puts what was wanted before the login, and counts what is there. */
export async function catchUp(): Promise<void> {
  const text = sessionStorage.getItem(LATER);
  let cart = await api.cart();
  if (text) {
    sessionStorage.removeItem(LATER);
    const item: Later = JSON.parse(text);
    const before = cart.lines?.find((line) => line.productId === item.id)?.quantity ?? 0;
    cart = await api.put(item.id, before + item.quantity);
  }
  refreshCart(cart);
}
