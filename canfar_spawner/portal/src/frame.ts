/** The frame of a page: menus, theme, and forms that say they are busy. */
import { find, findAll, setText } from "./dom";
import { applyTheme, asTheme, storeTheme, storedTheme, systemDark } from "./themes";

function enhanceMenus(): void {
  const menus = findAll("details.menu", HTMLDetailsElement);
  const close = (except: Element | null): void => {
    for (const menu of menus) {
      if (!except || !menu.contains(except)) {
        menu.open = false;
      }
    }
  };
  document.addEventListener("click", (event) => {
    close(event.target instanceof Element ? event.target : null);
  });
  document.addEventListener("keydown", (event) => {
    const open = menus.find((menu) => menu.open);
    if (event.key === "Escape" && open) {
      open.open = false;
      find("summary", HTMLElement, open)?.focus();
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

function enhanceForms(): void {
  for (const form of findAll("form[data-busy]", HTMLFormElement)) {
    const button = find("button[type=submit]", HTMLButtonElement, form);
    const word = button?.textContent ?? "";
    form.addEventListener("submit", () => {
      if (button) {
        button.disabled = true;
        setText(button, form.dataset.busy ?? word);
      }
    });
    // A page taken back out of the browser's memory is as it was left.
    addEventListener("pageshow", () => {
      if (button) {
        button.disabled = false;
        setText(button, word);
      }
    });
  }
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
  enhanceTheme();
  enhanceForms();
  enhanceSignIn();
  cleanAddress();
}
