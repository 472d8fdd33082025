// The theme a person chose on the hub's pages, where this is the same origin.
(() => {
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("jupyterhub-bs-theme") ?? "auto";
  } catch {
    // Storage may be forbidden; the page works without it.
  }
  const dark =
    chosen === "dark" ||
    (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
})();
