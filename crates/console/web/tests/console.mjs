// The console in a real browser, against a system that runs:
//
//   node tests/console.mjs SCENARIO http://127.0.0.1:8081 [JSON] [--screenshots FOLDER]
//
// The scenarios and what they are given as JSON stand at the end.

import assert from "node:assert/strict";
import { close, given, heading, loaded, look, scenario, step, tab, tabTo, url } from "./browser.mjs";
import { cancelled, commitAside, followed, followedToItsEnd, freed, notedThere, readAgain, runs } from "./operating.mjs";

/** A trace is found by the number of the order that it is about, and shows everything that followed. */
async function traceByOrder(page) {
  await loaded(page, "/", "Map");
  await page.keyboard.press("/");
  await page.keyboard.type(given.order);
  await page.keyboard.press("Enter");
  await heading(page, "Traces");
  const found = page.locator("table a[data-row]").filter({ hasText: /POST \/v1\/orders|checkout/ });
  await found.first().click();
  await heading(page, "Trace");
  const grid = page.getByRole("treegrid", { name: "Timeline" });
  for (const text of ["OrderService/PlaceOrder", "step charge_card", "PaymentService/Charge", "publish OrderPlaced", "process OrderPlaced"]) {
    await grid.getByText(text).first().waitFor();
  }
  await grid.locator(".wf-row.journal").first().waitFor();
  await grid.locator(".wf-row.event").first().waitFor();
  await look(page, "trace");
  // One layer less, and it stands in the address.
  await page.getByRole("button", { name: /^Store/ }).click();
  await grid.getByText(/^transact$/).first().waitFor({ state: "detached" });
  assert.ok(page.url().includes("hide=store"), page.url());
  await grid.locator(".wf-row.event").first().click();
  await page.getByRole("complementary", { name: /orders/ }).getByText("In the log").waitFor();
  await look(page, "trace-event");
}

async function saga(page) {
  await page.locator(".figures").getByRole("link", { name: "fulfil_order" }).click();
  await heading(page, "fulfil_order");
  for (const name of ["reserve stock", "charge card"]) await page.locator(".saga-steps").getByText(name).waitFor();
  await page.getByRole("region", { name: "Journal" }).getByText("step completed").first().waitFor();
  await look(page, "saga");
}

/** A dead letter is looked at, mended and sent again; what is wrong with it is said before. */
async function deadLetter(page) {
  await loaded(page, "/dead-letters?group=loyalty", "Dead letters");
  await page.getByRole("row").filter({ hasText: given.letter }).getByRole("button", { name: "OrderConfirmed" }).click();
  const letter = page.getByRole("complementary", { name: /^Dead letter/ });
  await letter.getByText("USD").waitFor();
  await look(page, "dead-letter");
  await letter.getByRole("button", { name: "Edit" }).click();
  const payload = letter.getByLabel("Payload");
  const text = await payload.inputValue();
  await payload.fill(text.slice(0, -1));
  assert.ok(await letter.getByRole("button", { name: /^Redrive/ }).isDisabled(), "what is no JSON is not sent");
  await payload.fill(text.replace('"USD"', '"USD", "colour": "red"'));
  await letter.getByRole("button", { name: /^Redrive/ }).click();
  await letter.getByRole("alert").getByText(/colour/).first().waitFor();
  await look(page, "dead-letter-refused");
  await payload.fill(text.replace(/"(USD|EUR)"/, '"GBP"'));
  await letter.getByRole("button", { name: "Redrive with this payload" }).click();
  await page.getByText("sent again, with its new payload").waitFor();
}

/** Another one is dropped, after a question. */
async function dropped(page) {
  await loaded(page, "/dead-letters?group=loyalty", "Dead letters");
  await page.getByRole("checkbox", { name: /^Choose loyalty/ }).check();
  await page.getByRole("main").getByRole("button", { name: "Drop", exact: true }).click();
  const question = page.getByRole("dialog", { name: "Drop 1 event?" });
  await question.waitFor();
  await look(page, "dead-letter-drop");
  await question.getByRole("button", { name: "Leave it" }).click();
  await question.waitFor({ state: "detached" });
  await page.getByRole("main").getByRole("button", { name: "Drop", exact: true }).click();
  await question.getByRole("button", { name: "Drop", exact: true }).click();
  await page.getByText("1 event dropped").waitFor();
  await page.getByText("Every event was handled").waitFor();
}

/** A group reads a topic again; only who types its name gets that far. */
async function replay(page) {
  await loaded(page, "/events/orders", "orders");
  await page.getByRole("button", { name: "OrderPlaced" }).first().click();
  await page.getByRole("complementary", { name: /^Message/ }).getByText(given.user).first().waitFor();
  await look(page, "message");
  await page.getByRole("button", { name: "Replay…" }).click();
  const dialog = page.getByRole("dialog", { name: "Replay orders" });
  await dialog.getByLabel("Group").selectOption("loyalty");
  assert.ok(await dialog.getByRole("button", { name: "Replay" }).isDisabled(), "nothing is replayed by accident");
  await dialog.getByLabel("Type loyalty to confirm").fill("loyalty");
  await look(page, "replay");
  await dialog.getByRole("button", { name: "Replay" }).click();
  await page.getByText("loyalty reads orders again").waitFor();
}

/** The form comes from the contract; the answer has a trace. */
async function explorer(page) {
  await loaded(page, "/services/orders?tab=calls&method=shop.orders.v1.OrderService/GetOrder", "orders");
  await page.getByLabel(/^orderId/).fill(given.order);
  await page.getByLabel("On behalf of").fill(given.user);
  await page.getByRole("button", { name: "Call" }).click();
  await page.getByRole("region", { name: "Answer" }).getByText("ORDER_STATE_CONFIRMED").waitFor();
  await look(page, "explorer");
  await page.getByRole("link", { name: "Its trace" }).waitFor();
  await page.getByLabel(/^orderId/).fill("no-such-order");
  await page.getByRole("button", { name: "Call" }).click();
  await page.getByRole("alert").waitFor();
  // What no form can call says why, and what can.
  await loaded(page, "/services/catalog?tab=calls&method=shop.catalog.v1.CatalogService/ImportProducts", "catalog");
  await page.getByText("it cannot be called here").waitFor();
  await page.getByRole("region", { name: "Command" }).getByText(/^grpcurl -plaintext .* shop.catalog.v1.CatalogService\/ImportProducts < messages.json$/).waitFor();
  assert.equal(await page.getByRole("button", { name: "Call" }).count(), 0);
  await look(page, "explorer-elsewhere");
}

/** Nobody touches the mouse. */
async function keyboard(page) {
  await loaded(page, "/", "Map");
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await heading(page, "Traces");
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await look(page, "keys");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("g");
  await page.keyboard.press("s");
  await heading(page, "Services");
  const link = page.getByRole("region", { name: "Services" }).getByRole("link", { name: "analytics", exact: true });
  await link.waitFor();
  await tabTo(page, link);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await heading(page, "cart");
  // In a timeline: down, and a row's children are put away and brought back.
  await page.goto(`${url}/traces?q=${given.order}`);
  const found = page.locator("table a[data-row]").filter({ hasText: /POST \/v1\/orders|checkout/ });
  await found.first().waitFor();
  await tabTo(page, found.first());
  await page.keyboard.press("Enter");
  await heading(page, "Trace");
  const rows = page.locator(".wf-row[data-id]");
  await rows.first().waitFor();
  await tabTo(page, rows.first());
  const all = await rows.count();
  await page.keyboard.press("ArrowLeft");
  await rows.nth(1).waitFor({ state: "detached" });
  await page.keyboard.press("ArrowRight");
  await rows.nth(all - 1).waitFor();
  await page.keyboard.press("ArrowDown");
  assert.equal(await rows.nth(1).evaluate((row) => row === document.activeElement), true, "the focus moved down");
  await page.getByRole("complementary").filter({ hasText: "Duration" }).waitFor();
  await page.keyboard.press("Escape");
}

const PAGES = [
  ["/", "Map"], ["/?view=table", "Map"], ["/?node=service:orders", "Map"], ["/traces", "Traces"], ["/logs", "Logs"],
  ["/services", "Services"], ["/services/orders", "orders"], ["/services/orders?tab=calls", "orders"],
  ["/services/orders?tab=configuration", "orders"], ["/events", "Events"], ["/events/orders", "orders"],
  ["/dead-letters", "Dead letters"], ["/sagas", "Sagas"], ["/slos", "SLOs"], ["/invariants", "Invariants"],
  ["/operations", "Operations"], ["/runs", "Runs"], ["/nowhere", "Not found"],
];

/** Every page, as `scheme` has it. */
async function pages(scheme) {
  const page = await tab({ colorScheme: scheme });
  for (const [path, title] of PAGES) {
    await loaded(page, path, title);
    await look(page, `${scheme}${path.replace(/[^a-z]+/g, "-")}`);
  }
  await page.close();
}

/** The switch goes from the system's colours to light to dark, and the choice stays. */
async function theme(page) {
  await loaded(page, "/slos", "SLOs");
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await page.getByRole("button", { name: "Colours: as the system" }).click();
  await page.getByRole("button", { name: "Colours: light" }).click();
  assert.notEqual(await paper(), light, "dark is dark");
  await page.reload();
  await page.getByRole("button", { name: "Colours: dark" }).click();
  assert.equal(await paper(), light);
}

/** A phone in somebody's hand at night. */
async function phone() {
  const page = await tab({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: "dark" });
  for (const [path, title] of [["/", "Map"], ["/traces", "Traces"], ["/services/orders", "orders"]]) {
    await loaded(page, path, title);
    await look(page, `phone${path.replace(/[^a-z]+/g, "-")}`);
  }
  await page.getByRole("button", { name: "Pages" }).click();
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: /^Sagas/ }).click();
  await heading(page, "Sagas");
  await page.close();
}

async function operations(page) {
  await loaded(page, "/operations", "Operations");
  await page.getByRole("row").filter({ hasText: "edit and redrive" }).filter({ hasText: "done" }).waitFor();
}

/** A service goes to a process of its own and comes back, while others use it. */
async function move(page) {
  await loaded(page, `/services/${given.service}`, given.service);
  await page.getByRole("button", { name: "Move to its own process" }).click();
  await page.getByText(`${given.service} runs in ${given.service} now`).waitFor();
  await page.getByRole("region", { name: "Instances" }).getByRole("cell", { name: given.service, exact: true }).waitFor();
  await look(page, "moved-apart");
  await page.getByLabel("Move it to").selectOption("main");
  await page.getByRole("button", { name: "Move into main" }).click();
  await page.getByText(`${given.service} runs in main now`).waitFor();
}

/** Somebody who may only look, sees no buttons for the rest, and is refused if he asks all the same. */
async function viewer(page) {
  await page.goto(`${url}/services/orders?tab=calls`);
  await heading(page, "Console");
  await look(page, "login");
  await page.getByLabel("Name").fill(given.name);
  await page.getByLabel("Password").fill("a wrong one, of course");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").waitFor();
  await look(page, "login-refused");
  await page.getByLabel("Password").fill(given.password);
  await page.getByRole("button", { name: "Log in" }).click();
  // Where he wanted to go.
  await heading(page, "orders");
  await page.getByText("Operators may call it").or(page.getByText("administrators may call it")).waitFor();
  for (const [path, title] of [
    ["/services/orders?tab=calls", "orders"], ["/services/orders", "orders"], ["/services", "Services"],
    ["/dead-letters", "Dead letters"], ["/events/orders", "orders"],
  ]) {
    await loaded(page, path, title);
    const buttons = page.locator("main").getByRole("button", { name: /^(Move|Call|Read it again|Redrive|Drop|Replay|Retry|Cancel)/ });
    assert.equal(await buttons.count(), 0, `${path} has a button that would be refused`);
    await look(page, `viewer${path.replace(/[^a-z]+/g, "-")}`);
  }
  const status = await page.evaluate(async () => {
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ process: "orders", new: true }) };
    return (await fetch("/api/services/orders/move", init)).status;
  });
  assert.equal(status, 403);
  await page.getByRole("button", { name: "Log out" }).click();
  await heading(page, "Console");
  await page.goto(`${url}/traces`);
  await heading(page, "Console");
}

/** What each scenario is given (`runs` nothing: run 1 stopped, `before` was killed, `after` is slower): `read` an order, its user, and the key of a dead letter of loyalty in dollars, beside another; `move` a service; `viewer`
 *  a name and its password; `operate` an order whose card is being charged by a processor that is stopped, and its process id; `configure` a configuration
 *  file that is not there yet. */
const SCENARIOS = {
  async read() {
    const page = await tab();
    await step("a trace found by order number", () => traceByOrder(page));
    await step("the saga of the order", () => saga(page));
    await step("a dead letter edited and redriven", () => deadLetter(page));
    await step("a dead letter dropped", () => dropped(page));
    await step("a topic replayed", () => replay(page));
    await step("a call by the explorer", () => explorer(page));
    await step("the keyboard alone", () => keyboard(page));
    await step("every page by day", () => pages("light"));
    await step("every page in the dark", () => pages("dark"));
    await step("the switch of colours", () => theme(page));
    await step("a phone", () => phone());
    await step("what was done is noted", () => operations(page));
  },
  async move() {
    const page = await tab();
    await step(`${given.service} moved apart and back`, () => move(page));
  },
  async viewer() {
    const page = await tab();
    await step("somebody who may only look", () => viewer(page));
  },
  async operate() {
    const page = await tab();
    let following;
    await step("an order is followed as it goes", async () => (following = await followed()));
    await step("the goods of an order leave behind its saga's back", () => commitAside(page));
    await step("its saga is cancelled and gets stuck", () => cancelled(page));
    await step("what is stuck is freed and undone", () => freed(page));
    await step("who followed it knows", () => followedToItsEnd(following));
    await step("what was done is noted", () => notedThere(page));
  },
  async runs() {
    const page = await tab();
    await step("two runs are set side by side", () => runs(page));
  },
  async configure() {
    const page = await tab();
    await step("a setting is read again and seen at once", () => readAgain(page, given.file));
  },
};

try {
  assert.ok(SCENARIOS[scenario], `${scenario} is none of ${Object.keys(SCENARIOS)}`);
  await SCENARIOS[scenario]();
} finally {
  await close();
}
