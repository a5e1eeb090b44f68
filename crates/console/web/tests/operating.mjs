// Scenarios of who operates: sagas that are cancelled and freed, and a configuration that is read again.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { given, heading, loaded, look, tab, tabTo } from "./browser.mjs";

/** Calls a method that is asked by an order's id. */
async function call(page, service, method, expected) {
  await loaded(page, `/services/${service}?tab=calls&method=${method}`, service);
  await page.getByLabel(/^orderId/).fill(given.order);
  await page.getByRole("button", { name: "Call" }).click();
  await page.getByRole("region", { name: "Answer" }).getByText(expected).waitFor();
}

const WATCH = "/services/orders?tab=calls&method=shop.orders.v1.OrderService/WatchOrder";
const answers = (page) => page.getByRole("list", { name: "Answers" }).getByRole("region");

/** Follows the order in a tab that stays: what is answered is shown as it comes, and somebody can stop it. */
export async function followed() {
  const page = await tab();
  await loaded(page, WATCH, "orders");
  await page.getByLabel(/^orderId/).fill("no-such-order");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await page.getByLabel(/^orderId/).fill(given.order);
  await page.keyboard.press("Enter");
  await answers(page).getByText("ORDER_STATE_PENDING").waitFor();
  await page.getByText("1 answer so far").waitFor();
  await look(page, "explorer-following");
  const stop = page.getByRole("button", { name: "Stop" });
  await tabTo(page, stop);
  await page.keyboard.press("Enter");
  await page.getByText("you stopped it").waitFor();
  await stop.waitFor({ state: "detached" });
  await look(page, "explorer-stopped");
  await page.getByRole("button", { name: "Call" }).click();
  await page.getByText("1 answer so far").waitFor();
  return page;
}

/** The order has come to its end: so has what was answered. */
export async function followedToItsEnd(page) {
  await answers(page).nth(1).getByText("ORDER_STATE_CANCELLED").waitFor();
  await page.getByText("there are no more answers").waitFor();
  await look(page, "explorer-followed");
  await page.getByRole("link", { name: "Its trace" }).click();
  await heading(page, "Trace");
  await page.getByRole("treegrid", { name: "Timeline" }).getByText("OrderService/WatchOrder").first().waitFor();
}

/** Somebody sends the goods out by hand while the card is still being charged: the saga cannot release them any more. */
export async function commitAside(page) {
  await call(page, "inventory", "shop.inventory.v1.InventoryService/CommitReservation", "RESERVATION_STATE_COMMITTED");
}

const state = (page, name) => page.locator(".figures .badge").getByText(name, { exact: true }).waitFor();
const entries = (page, kind) => page.getByRole("region", { name: "Journal" }).getByRole("cell", { name: kind, exact: true });

/** Finds the saga of the order among those that run, without a mouse, and opens it. */
async function opened(page, among) {
  await loaded(page, "/sagas", "Sagas");
  const filter = page.getByRole("button", { name: among, exact: true });
  await tabTo(page, filter);
  await page.keyboard.press("Enter");
  await page.waitForURL(/state=/);
  const row = page.locator(`table a[data-row][href$="/${given.order}"]`);
  await row.waitFor();
  await tabTo(page, row);
  await page.keyboard.press("Enter");
  await heading(page, "fulfil_order");
}

export async function cancelled(page) {
  await opened(page, "running");
  await page.getByRole("list", { name: "The way forward" }).locator("li.running").getByText("charge card").waitFor();
  const cancel = page.getByRole("button", { name: "Cancel…" });
  await cancel.click();
  const question = page.getByRole("dialog", { name: "Cancel this saga?" });
  assert.ok(await question.getByRole("button", { name: "Cancel it" }).isDisabled(), "nothing is cancelled without a reason");
  await look(page, "saga-cancel");
  await page.keyboard.press("Escape");
  await question.waitFor({ state: "detached" });
  assert.ok(await cancel.evaluate((button) => button === document.activeElement), "the focus is back where it was");
  await page.keyboard.press("Enter");
  await question.getByLabel("Reason").fill("the customer called");
  await page.keyboard.press("Enter");
  await page.getByText("It is being cancelled").waitFor();
  await state(page, "compensating");
  await page.getByRole("list", { name: "The way back" }).getByText("undo charge card").waitFor();
  await look(page, "saga-compensating");
  // The money can be given back again; what the goods did in the meantime cannot be undone.
  process.kill(given.processor, "SIGCONT");
  await state(page, "parked");
  await page.locator("main .notice.bad").getByText("restock them instead").waitFor();
  await look(page, "saga-parked");
}

export async function freed(page) {
  await opened(page, "parked");
  await page.getByRole("button", { name: "Retry" }).click();
  await page.getByText("It runs again.").waitFor();
  // Nothing was mended: it comes no further, and says so.
  await entries(page, "parked").nth(1).waitFor();
  await state(page, "parked");
  await call(page, "inventory", "shop.inventory.v1.InventoryService/Restock", "RESERVATION_STATE_RESTOCKED");
  await opened(page, "parked");
  const retry = page.getByRole("button", { name: "Retry" });
  await tabTo(page, retry);
  await page.keyboard.press("Enter");
  await state(page, "compensated");
  await page.getByRole("list", { name: "The way back" }).locator("li.undone").getByText("undo reserve stock").waitFor();
  assert.equal(await entries(page, "resumed").count(), 2);
  for (const name of ["Retry", "Cancel…"]) assert.equal(await page.getByRole("button", { name }).count(), 0, `${name} of a saga that has ended`);
  await look(page, "saga-compensated");
}

export async function notedThere(page) {
  await loaded(page, "/operations", "Operations");
  const rows = page.getByRole("row").filter({ hasText: `orders/${given.order}` });
  await rows.filter({ hasText: "cancel saga" }).filter({ hasText: "the customer called" }).filter({ hasText: "done" }).waitFor();
  await rows.filter({ hasText: "retry saga" }).filter({ hasText: "done" }).nth(1).waitFor();
  const calls = page.getByRole("row").filter({ hasText: "OrderService/WatchOrder" });
  for (const outcome of ["NOT_FOUND", "who called stopped it", "done"]) await calls.filter({ hasText: outcome }).waitFor();
}

const KEY = "services.payments.processor_timeout_ms";

/** A value is written into the file and read again; another page that is open sees it, with where it stands now. */
export async function readAgain(page, file) {
  const other = await tab();
  await loaded(other, "/services/payments?tab=configuration", "payments");
  const seen = (...texts) => texts.reduce((row, hasText) => row.filter({ hasText }), other.getByRole("row").filter({ hasText: KEY })).waitFor();
  const read = async (text) => {
    writeFileSync(file, text);
    await page.getByRole("button", { name: "Read it again" }).click();
  };
  await loaded(page, "/services", "Services");
  await read("[services.payments]\nprocessor_timeout_ms = 3500\n");
  await page.getByText("Read again: 1 setting changed.").waitFor();
  await seen("3500", "banyan.toml:2");
  await look(other, "setting-changed");
  // The same place of another value, another place of the next; what is wrong changes nothing, and is named.
  await read("[services.payments]\nprocessor_timeout_ms = 0\n");
  await page.getByRole("alert").getByText(/processor_timeout_ms/).first().waitFor();
  await look(page, "setting-refused");
  await seen("3500", "banyan.toml:2");
  await read("# Slower, for a while.\n\n[services.payments]\nprocessor_timeout_ms = 3600\n");
  await page.getByText("Read again: 1 setting changed.").waitFor();
  await seen("3600", "banyan.toml:4");
  await page.getByText("All settings").click();
  const all = page.getByRole("region", { name: "Settings" }).getByRole("row").filter({ hasText: KEY });
  await all.filter({ hasText: "3600" }).filter({ hasText: "banyan.toml:4" }).waitFor();
  await loaded(page, "/operations", "Operations");
  await page.getByRole("row").filter({ hasText: "reload configuration" }).filter({ hasText: "done" }).nth(1).waitFor();
}

/** Each run says how it ended; two of them are set side by side, without a mouse. */
export async function runs(page) {
  await loaded(page, "/", "Map");
  await page.keyboard.press("g");
  await page.keyboard.press("r");
  await heading(page, "Runs");
  const row = (label) => page.getByRole("region", { name: "Runs" }).getByRole("row").filter({ hasText: label });
  await row("after").getByText("running", { exact: true }).waitFor();
  await row("before").getByText("killed", { exact: true }).waitFor();
  await row("before").getByText("last heard of").waitFor();
  await row("first").getByText("stopped", { exact: true }).waitFor();
  await look(page, "runs");
  const links = page.locator("table a[data-row]");
  await tabTo(page, links.first());
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await heading(page, "Run 1 and run 2");
  await page.goBack();
  await heading(page, "Runs");
  await tabTo(page, page.getByRole("button", { name: "Compare" }));
  await page.keyboard.press("Enter");
  await heading(page, "Run 2 and run 3");
  await page.getByText(/kinds? of work became worse/).waitFor();
  const setting = page.getByRole("region", { name: "Settings that differ" }).getByRole("row").filter({ hasText: "faults.delay_ms" });
  await setting.getByText("200").waitFor();
  const worse = page.getByRole("region", { name: "Worse", exact: true }).getByRole("row").filter({ hasText: "step reserve_stock" });
  await worse.getByText(/p50/).waitFor();
  await worse.getByText(/ → 2\d\d ms/).first().waitFor();
  await look(page, "runs-compared");
  // What is the same is shown to who asks for it, and it stands in the address.
  const all = page.getByRole("checkbox", { name: "All work" });
  await tabTo(page, all);
  await page.keyboard.press("Space");
  await page.getByRole("heading", { name: /The same|Too rare to say/ }).first().waitFor();
  assert.ok(page.url().includes("all=1"), page.url());
  await page.getByRole("combobox", { name: "and" }).selectOption("50");
  await page.waitForURL(/ms=50/);
  await worse.waitFor();
  await page.getByRole("link", { name: "The other way round" }).click();
  await heading(page, "Run 3 and run 2");
  await page.getByRole("region", { name: "Better", exact: true }).getByRole("row").filter({ hasText: "step reserve_stock" }).waitFor();
  // The slowest trace of what became worse was kept.
  await loaded(page, "/runs/before/after", "Run before and run after");
  const slowest = page.getByRole("region", { name: "Worse", exact: true }).locator("a[data-row]").first();
  await slowest.click();
  await heading(page, "Trace");
  await page.getByRole("treegrid", { name: "Timeline" }).waitFor();
  await loaded(page, "/runs/1/9", "Run 1 and run 9");
  await page.getByRole("alert").getByText(/run/).first().waitFor();
  const dark = await tab({ colorScheme: "dark" });
  for (const [path, title] of [["/runs", "Runs"], ["/runs/2/3?all=1", "Run 2 and run 3"]]) {
    await loaded(dark, path, title);
    await look(dark, `dark${path.replace(/[^a-z0-9]+/g, "-")}`);
  }
  const phone = await tab({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await loaded(phone, "/runs/2/3", "Run 2 and run 3");
  await look(phone, "phone-runs");
}
