import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  cacheDir: "../node_modules/.vite",
  root: dirname(fileURLToPath(import.meta.url)),
  test: {
    environment: "jsdom",
    globals: true,
    include: [
      "src/**/__tests__/*.spec.ts",
      // The hub's pages have the same tools.
      "../canfar_spawner/portal/src/__tests__/*.spec.ts",
    ],
    // JupyterLab's packages are written for bundlers.
    server: { deps: { inline: [/@jupyterlab/, /@lumino/, /@jupyter/] } },
  },
});
