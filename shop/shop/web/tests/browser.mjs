// The storefront in a real browser, against a shop that runs: a purchase, a declined card, a cancellation, an ended
// session, a phone, and what axe-core finds.
//
//   npm ci && node tests/browser.mjs http://127.0.0.1:8080 [--screenshots FOLDER]
//
// It needs Chromium (`apt-get install chromium`; another one by CHROMIUM=PATH) and imported products (`shop import`).

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [url = "http://127.0.0.1:8080"] = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const flag = process.argv.indexOf("--screenshots");
const folder = flag > 0 ? process.argv[flag + 1] : undefined;
if (folder) mkdirSync(folder, { recursive: true });

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PASSWORD = "a-long-password";
const LEVELS = ["serious", "critical"];
const CANCELS_MAX = 5;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const DESK = { viewport: { width: 1280, height: 860 } };

/** A tab of its own, in which nothing may go wrong unseen. */
async function tab(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(String(error)));
  page.on("console", (message) => {
    // A refusal is shown by the page; the browser notes it as well.
    if (message.type() === "error" && !message.text().includes("Failed to load resource")) page.troubles.push(message.text());
  });
  page.setDefaultTimeout(60_000);
  return page;
}

/** Checks the page as it stands, and draws it. */
async function look(page, name) {
  await page.evaluate(() => document.fonts.ready);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${name} is ${wide} pixels too wide`);
  // The policy of the page admits no script but its own; the tools of the browser stand above it.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter((violation) => LEVELS.includes(violation.impact));
  const told = serious.map((v) => `${v.id}: ${v.nodes.map((node) => `${node.html} ${node.any.map((c) => c.message)}`).join("\n  ")}`);
  assert.deepEqual(told, [], `${name}: axe`);
  assert.deepEqual(page.troubles, [], name);
  if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
}

async function register(page) {
  await page.getByLabel("Name").fill("Ann Example");
  await page.getByLabel("E-mail").fill(`ann-${Date.now()}-${Math.floor(Math.random() * 1e6)}@example.com`);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Make the account" }).click();
}

/** From the cart to the page of the order. */
async function pay(page, card, twice = false) {
  await page.goto(`${url}/checkout`);
  await page.getByLabel("Street and number").fill("1 Market Street");
  await page.getByLabel("City").fill("Springfield");
  await page.getByLabel("Postcode").fill("00001");
  await page.getByRole("radio", { name: card }).check();
  const button = page.getByRole("button", { name: /^Pay/ });
  await (twice ? button.dblclick() : button.click());
  await page.getByRole("heading", { name: /^Order / }).waitFor();
  const id = new URL(page.url()).pathname.split("/").at(-1);
  assert.ok(id);
  await page.getByText(`Order number ${id}`).waitFor();
}

async function put(page, query) {
  await page.goto(`${url}/?q=${query}`);
  await page.locator(".tile a").first().click();
  await page.getByRole("button", { name: "Add to cart" }).click();
  await page.getByText("Go to the cart").waitFor();
}

async function orders(page) {
  await page.goto(`${url}/orders`);
  await page.locator(".order-row").first().waitFor();
  return page.locator(".order-row").count();
}

async function purchase(page, prefix) {
  await page.goto(url);
  await page.locator(".tile a").nth(5).waitFor();
  await look(page, `${prefix}-shop`);
  await page.getByRole("searchbox").fill("heart");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "“heart”" }).waitFor();
  await page.locator(".tile a").nth(3).waitFor();
  await look(page, `${prefix}-search`);
  await page.locator(".tile a").nth(1).click();
  await page.getByText("In stock").waitFor();
  await page.locator(".similar .tile a").first().waitFor();
  await look(page, `${prefix}-product`);
  await page.getByRole("button", { name: "One more" }).click();
  await page.getByRole("button", { name: "Add to cart" }).click();
  // Nobody is signed in: what was wanted waits until somebody is.
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await page.getByRole("link", { name: "Make an account" }).click();
  await page.getByRole("heading", { name: "Make an account" }).waitFor();
  await look(page, `${prefix}-register`);
  await register(page);
  await page.getByRole("heading", { name: "Cart", exact: true }).waitFor();
  await page.locator(".line").first().waitFor();
  assert.equal(await page.getByLabel("Quantity", { exact: true }).inputValue(), "2");
  await look(page, `${prefix}-cart`);
  await page.getByRole("link", { name: "Check out" }).click();
  await page.getByLabel("Street and number").waitFor();
  await look(page, `${prefix}-checkout`);
  await pay(page, /4242/, true);
  await page.getByText("It is paid").waitFor();
  await page.getByText("Final", { exact: true }).waitFor();
  await look(page, `${prefix}-confirmed`);
  assert.equal(await orders(page), 1, "a double click buys once");
}

async function declined(page) {
  await put(page, "candle");
  await pay(page, /0002/);
  await page.getByText("The card was declined").waitFor();
  await look(page, "desk-declined");
  await page.getByRole("button", { name: "Put it in the cart again" }).click();
  await page.locator(".line").first().waitFor();
}

/** A card whose answer is lost leaves seconds to cancel the order: on a busy machine perhaps too few for the first time. */
async function cancelled(page) {
  const end = page.locator(".verdict.good, .verdict.bad");
  const cancel = page.getByRole("button", { name: "Cancel the order" });
  const isCancelled = page.getByText("The order was cancelled");
  for (let attempt = 1; attempt <= CANCELS_MAX; attempt += 1) {
    await pay(page, /0408/);
    await cancel.or(end).first().waitFor();
    await cancel.click({ timeout: 2_000 }).catch(() => {});
    await end.waitFor();
    if (await isCancelled.isVisible()) break;
    await put(page, "candle");
  }
  assert.ok(await isCancelled.isVisible(), "the order is cancelled");
  await look(page, "desk-cancelled");
  await page.getByRole("button", { name: "Put it in the cart again" }).click();
  await page.locator(".line").first().waitFor();
  await pay(page, /2000/);
  await page.getByText(/^(Live|Final)$/).waitFor();
  await look(page, "desk-pending");
  // Nobody loads the page again: the stream says so.
  await page.getByText("It is paid").waitFor();
  assert.ok((await orders(page)) >= 4);
  await look(page, "desk-orders");
}

async function expired(page) {
  await page.evaluate(() => {
    const kept = JSON.parse(sessionStorage.session);
    sessionStorage.session = JSON.stringify({ ...kept, token: `${kept.token.slice(0, -8)}AAAAAAAA` });
  });
  await page.goto(`${url}/orders`);
  await page.getByText("You were signed out").waitFor();
  assert.ok(page.url().includes(`next=${encodeURIComponent("/orders")}`));
  await look(page, "desk-login");
}

async function refusals(page) {
  await page.goto(`${url}/products/NO-SUCH`);
  await page.getByRole("alert").waitFor();
  await look(page, "desk-missing");
  await page.goto(`${url}/?q=zzzzzz`);
  await page.getByText("Nothing fits").waitFor();
  await look(page, "desk-nothing");
  await page.goto(`${url}/no/such/page`);
  await page.getByText("There is no such page").waitFor();
}

async function scenario(name, work) {
  const began = Date.now();
  await work();
  console.log(`ok  ${name} (${Date.now() - began} ms)`);
}

try {
  const desk = await tab(DESK);
  await scenario("a purchase, clicked twice, bought once", () => purchase(desk, "desk"));
  await scenario("a declined card", () => declined(desk));
  await scenario("an order followed live and cancelled", () => cancelled(desk));
  await scenario("a session that ends", () => expired(desk));
  await scenario("what is not there", () => refusals(desk));
  await scenario("a purchase on a phone of 360 pixels, in the dark", async () =>
    purchase(await tab({ ...PHONE, colorScheme: "dark" }), "phone-dark"));
  await scenario("a phone by day", async () => {
    const phone = await tab({ ...PHONE, viewport: { width: 390, height: 844 } });
    await phone.goto(url);
    await phone.locator(".tile a").nth(5).waitFor();
    await look(phone, "phone-shop");
  });
  await scenario("a desk in the dark", async () => {
    const dark = await tab({ ...DESK, colorScheme: "dark" });
    await dark.goto(url);
    await dark.locator(".tile a").nth(5).waitFor();
    await look(dark, "desk-dark-shop");
  });
} finally {
  await browser.close();
}
