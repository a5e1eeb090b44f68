import { defineConfig } from "vite";

// `npm run dev` serves the pages with live reload, and asks a shop that runs at the default port.
const shop = "http://127.0.0.1:8080";

export default defineConfig({
  build: { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0, reportCompressedSize: true },
  server: { proxy: { "/v1": shop, "/errors": shop, "/openapi.json": shop } },
});
