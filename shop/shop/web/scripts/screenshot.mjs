// Draws docs/img/storefront.png from a shop that runs and has products:
//
//   node scripts/screenshot.mjs http://127.0.0.1:8080 [FILE]

import { chromium } from "playwright-core";

const [url = "http://127.0.0.1:8080", file] = process.argv.slice(2);
const target = file ?? new URL("../../../../docs/img/storefront.png", import.meta.url).pathname;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
});

async function draw(path, options) {
  const page = await browser.newPage(options);
  await page.goto(url + path);
  await page.locator(".tile a").nth(5).waitFor();
  await page.getByRole("navigation", { name: "Categories" }).or(page.getByText("In stock")).first().waitFor();
  const picture = await page.screenshot();
  await page.close();
  return `data:image/png;base64,${picture.toString("base64")}`;
}

try {
  const desk = await draw("/", { viewport: { width: 1160, height: 850 } });
  const phone = await draw("/products/22423", {
    viewport: { width: 390, height: 800 }, isMobile: true, colorScheme: "dark",
  });
  const page = await browser.newPage({ viewport: { width: 1200, height: 676 } });
  await page.setContent(`<style>
      body { margin: 0; background: #dfe7da; }
      img { position: absolute; border-radius: 12px; box-shadow: 0 12px 40px #1f241b40; }
      .desk { left: 32px; top: 40px; width: 812px; }
      .phone { right: 36px; top: 46px; width: 282px; border: 7px solid #0d0f0a; border-radius: 30px; }
    </style><img class="desk" src="${desk}"><img class="phone" src="${phone}">`);
  await page.locator(".phone").evaluate((image) => image.decode());
  await page.screenshot({ path: target });
  console.log(target);
} finally {
  await browser.close();
}
