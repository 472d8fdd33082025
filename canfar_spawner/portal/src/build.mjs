// Bundles the browser side into ../static, which the wheel installs for the hub to serve.
import { cp, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const source = dirname(fileURLToPath(import.meta.url));
const target = join(dirname(source), "static");

await rm(target, { recursive: true, force: true });
await build({
  absWorkingDir: source,
  entryPoints: ["portal.ts", "theme.ts", "stock.ts", "portal.css"],
  bundle: true,
  format: "iife",
  legalComments: "none",
  logLevel: "warning",
  minify: true,
  outdir: target,
  target: ["chrome115", "firefox115", "safari16.4"],
});
await cp(join(source, "icons"), target, { recursive: true });
