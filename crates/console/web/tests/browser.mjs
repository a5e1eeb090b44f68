// What the scenarios are made of: a browser, its tabs, and a hard look at a page. It needs Chromium (`apt-get install chromium`;
// another one by CHROMIUM=PATH).

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const [scenario, url, json = "{}"] = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
/** What the scenario is about. */
export const given = JSON.parse(json);
const flag = process.argv.indexOf("--screenshots");
const folder = flag > 0 ? process.argv[flag + 1] : undefined;
if (folder) mkdirSync(folder, { recursive: true });

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const LEVELS = ["serious", "critical"];
const DESK = { viewport: { width: 1280, height: 860 }, reducedMotion: "reduce" };
/** How long something may take on a busy machine. */
const WAIT_MS = 60_000;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

/** A tab of its own, in which nothing may go wrong unseen. */
export async function tab(options = {}) {
  const context = await browser.newContext({ ...DESK, ...options });
  const page = await context.newPage();
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(String(error)));
  page.on("console", (message) => {
    // A refusal is shown by the page; the browser notes it as well.
    if (message.type() === "error" && !message.text().includes("Failed to load resource")) page.troubles.push(message.text());
  });
  page.setDefaultTimeout(WAIT_MS);
  return page;
}

/** Checks the page as it stands, and draws it. */
export async function look(page, name) {
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

export async function step(name, work) {
  const began = Date.now();
  await work();
  console.log(`ok  ${name} (${Date.now() - began} ms)`);
}

export const heading = (page, name) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor();

/** Waits until a page has what it shows. */
export async function loaded(page, path, title) {
  await page.goto(url + path);
  await heading(page, title);
  await page.locator(".waiting").waitFor({ state: "detached" });
}

/** Presses Tab until something has the focus, as often as a page may need. */
export async function tabTo(page, locator) {
  for (let presses = 0; presses < 80; presses += 1) {
    if (await locator.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`${locator} cannot be reached with Tab`);
}

export const close = () => browser.close();
