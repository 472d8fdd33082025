// Bundles the desktop's page with noVNC into ../static, which the gateway serves.
import { cp, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const source = dirname(fileURLToPath(import.meta.url));
const target = join(dirname(source), "static");

await rm(target, { recursive: true, force: true });
await build({
  absWorkingDir: source,
  entryPoints: ["desktop.ts", "desktop.css"],
  bundle: true,
  // noVNC waits for what it learns of the browser while it is loaded, as modules alone can.
  format: "esm",
  legalComments: "eof",
  logLevel: "warning",
  minify: true,
  outdir: target,
  target: ["chrome115", "firefox115", "safari16.4"],
});
await cp(join(source, "index.html"), join(target, "index.html"));
// Its license wants to be where its code is.
await cp(
  fileURLToPath(new URL("../LICENSE.txt", import.meta.resolve("@novnc/novnc"))),
  join(target, "novnc-license.txt"),
);
