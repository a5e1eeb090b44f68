// Writes down which sources the assets were built from: `dist/SEAL`, which a test of the crate compares.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const SOURCES = ["index.html", "package-lock.json", "package.json", "public", "src", "tsconfig.json", "vite.config.ts"];

function files(path) {
  return statSync(path).isDirectory() ? readdirSync(path).flatMap((name) => files(join(path, name))) : [path];
}

function digest(paths) {
  const hash = createHash("sha256");
  for (const path of paths.flatMap(files).filter((path) => path !== "dist/SEAL").sort()) {
    const content = readFileSync(path);
    hash.update(`${path}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

writeFileSync("dist/SEAL", `sources ${digest(SOURCES)}\nassets ${digest(["dist"])}\n`);
