/** The theme a person chose, kept under the name JupyterHub's own pages use. */
const KEY = "jupyterhub-bs-theme";

export type Theme = "light" | "dark" | "auto";

export function asTheme(value: string | null | undefined): Theme {
  return value === "light" || value === "dark" ? value : "auto";
}

export function storedTheme(): Theme {
  try {
    return asTheme(localStorage.getItem(KEY));
  } catch {
    return "auto"; // Storage may be forbidden; the page works without it.
  }
}

export function storeTheme(theme: Theme): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // The choice then holds for this page only.
  }
}

export const systemDark = (): MediaQueryList => matchMedia("(prefers-color-scheme: dark)");

export function applyTheme(theme: Theme): void {
  const dark = theme === "dark" || (theme === "auto" && systemDark().matches);
  document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
}
