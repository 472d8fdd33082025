// Bundles the panel into lib, and that into built as JupyterLab takes it.
import { spawnSync } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
const lib = join(here, "lib");

await rm(lib, { recursive: true, force: true });
await build({
  absWorkingDir: here,
  entryPoints: ["src/index.ts"],
  bundle: true,
  // What JupyterLab has is taken from it; what it has not is bundled by its own builder.
  packages: "external",
  format: "esm",
  splitting: true,
  jsx: "transform",
  legalComments: "none",
  logLevel: "warning",
  outdir: lib,
  target: ["chrome115", "firefox115", "safari16.4"],
});
// JupyterLab's packages are found the way that bundlers do it, which is not Node's own.
await writeFile(join(lib, "package.json"), JSON.stringify({ sideEffects: false }));

await rm(join(here, "built"), { recursive: true, force: true });
const builder = join(root, "node_modules/@jupyter/builder/lib/build-labextension.js");
const core = join(root, "node_modules/@jupyterlab/core-meta/core.package.json");
const done = spawnSync(process.execPath, [builder, "--core-package-file", core, root], {
  cwd: root,
  stdio: "inherit",
});
process.exitCode = done.status ?? 1;
