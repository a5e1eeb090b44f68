// Draws the pictures of the documents from a console of a shop that runs, with traffic and dead letters:
//
//   node scripts/screenshots.mjs http://127.0.0.1:8081 FOLDER

import { chromium } from "playwright-core";

const [url = "http://127.0.0.1:8081", folder = "."] = process.argv.slice(2);
const VIEW = { viewport: { width: 1280, height: 760 }, reducedMotion: "reduce" };
/** The map is drawn when so many connections were measured: not in the first seconds of a shop. */
const EDGES_MIN = 18;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
});

async function draw(name, path, ready, options = {}) {
  const page = await browser.newPage({ ...VIEW, ...options });
  page.setDefaultTimeout(60_000);
  await page.goto(url + path);
  await ready(page);
  await page.evaluate(() => document.fonts.ready);
  await page.screenshot({ path: `${folder}/console-${name}.png` });
  console.log(`console-${name}.png`);
  await page.close();
}

const ask = async (path) => (await fetch(url + path)).json();

/** The latest purchase whose saga did something and that has come to its end. */
async function purchase() {
  const { traces } = await ask("/api/traces?name=checkout&limit=50");
  // The shorter, the more of it is seen.
  const whole = traces.filter((trace) => trace.spans > 40).toSorted((a, b) => a.duration_ns - b.duration_ns);
  return (whole[0] ?? traces[0]).trace_id;
}

try {
  await draw("trace", `/traces/${await purchase()}`, (page) => page.locator(".wf-row.event").first().waitFor(), {
    viewport: { width: 1280, height: 960 },
  });
  const { sagas } = await ask("/api/sagas?state=compensated&limit=1");
  await draw("saga", `/sagas/${sagas[0].service}/${sagas[0].id}`, (page) => page.getByRole("region", { name: "Journal" }).waitFor());
  await draw("dead-letters", "/dead-letters?group=loyalty", async (page) => {
    await page.locator("[data-row]").first().click();
    await page.getByRole("button", { name: "Edit" }).click();
  }, { colorScheme: "dark" });
  await draw("map", "/?node=service:orders", async (page) => {
    await page.waitForFunction((least) => document.querySelectorAll(".map .edge:not(.idle)").length >= least, EDGES_MIN);
    // So that the little charts have lines.
    await page.waitForFunction(() => (document.querySelector(".chart .line")?.getAttribute("d") ?? "").split("L").length > 2, undefined, { timeout: 90_000 });
  });
} finally {
  await browser.close();
}
