/** The frame of a page: menus, theme, and forms that say they are busy. */
import { enhanceAnnouncements } from "./announcements";
import { find, findAll, setText } from "./dom";
import { applyTheme, asTheme, storeTheme, storedTheme, systemDark } from "./themes";

/** Menus close when somebody goes elsewhere; those that come later, as on cards, too. */
function enhanceMenus(): void {
  const open = (): HTMLDetailsElement[] => findAll("details.menu[open]", HTMLDetailsElement);
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    for (const menu of open()) {
      const chosen = target?.closest(".card-menu .menu-items") ?? null;
      if (!target || !menu.contains(target) || chosen !== null) {
        menu.open = false;
      }
      if (chosen !== null && menu.contains(chosen)) {
        // Where the keyboard is again once a dialog that this opens is closed.
        find("summary", HTMLElement, menu)?.focus();
      }
    }
  });
  document.addEventListener("keydown", (event) => {
    const menu = open()[0];
    if (event.key === "Escape" && menu) {
      menu.open = false;
      find("summary", HTMLElement, menu)?.focus();
    }
  });
}

function enhanceTheme(): void {
  const buttons = findAll("button[data-theme]", HTMLButtonElement);
  const show = (): void => {
    for (const button of buttons) {
      button.ariaPressed = String(asTheme(button.dataset.theme) === storedTheme());
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const theme = asTheme(button.dataset.theme);
      storeTheme(theme);
      applyTheme(theme);
      show();
    });
  }
  systemDark().addEventListener("change", () => applyTheme(storedTheme()));
  show();
}

/** A form that is sent says so, and is sent once; lists of home are drawn anew with theirs. */
function enhanceForms(): void {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || event.defaultPrevented) {
      return;
    }
    const button = find("button[type=submit]", HTMLButtonElement, form);
    if (button && form.dataset.busy !== undefined) {
      button.dataset.word = button.textContent;
      button.disabled = true;
      setText(button, form.dataset.busy);
    }
  });
  // A page taken back out of the browser's memory is as it was left.
  addEventListener("pageshow", () => {
    for (const button of findAll("button[data-word]", HTMLButtonElement)) {
      button.disabled = false;
      setText(button, button.dataset.word ?? "");
    }
  });
}

function enhanceSignIn(): void {
  const warning = find("[data-insecure]", HTMLElement);
  if (warning) {
    warning.hidden = window.isSecureContext;
  }
  for (const button of findAll("button[data-reveal]", HTMLButtonElement)) {
    const input = find(`#${CSS.escape(button.dataset.reveal ?? "")}`, HTMLInputElement);
    button.addEventListener("click", () => {
      if (input) {
        const shown = input.type === "password";
        input.type = shown ? "text" : "password";
        button.ariaPressed = String(shown);
      }
    });
  }
}

/** JupyterHub counts redirects in the address; a reload must not start from that count. */
function cleanAddress(): void {
  const here = new URL(location.href);
  if (find("[data-clean-address]", HTMLElement) && here.searchParams.has("redirects")) {
    here.searchParams.delete("redirects");
    history.replaceState({}, "", here);
  }
}

export function enhanceFrame(): void {
  enhanceMenus();
  enhanceAnnouncements();
  enhanceTheme();
  enhanceForms();
  enhanceSignIn();
  cleanAddress();
}
