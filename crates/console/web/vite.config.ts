import { defineConfig } from "vite";

// `npm run dev` serves the pages with live reload, and asks the console of a system that runs at the default ports.
const server = "http://127.0.0.1:8081";

export default defineConfig({
  build: { target: "es2023", modulePreload: { polyfill: false }, assetsInlineLimit: 0, reportCompressedSize: true },
  server: { proxy: { "/api": server, "/metrics": server } },
});
