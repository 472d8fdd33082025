/** The page of access tokens: makes them, shows each once, revokes them. */
import { ask, fresh } from "./api";
import { find, findAll, setText } from "./dom";
import { say } from "./say";
import { fillSetup } from "./setup";
import { showTimes } from "./times";

const LIST = "#token-lists";

interface Made {
  token: string;
  expires_at: string | null;
}

function failed(element: HTMLElement | null, error: unknown, what: string): void {
  setText(
    find("span", HTMLElement, element ?? document),
    `${what} ${error instanceof Error ? error.message : ""}`,
  );
  if (element) {
    element.hidden = false;
  }
}

async function refresh(): Promise<void> {
  const next = await fresh(location.href, LIST).catch(() => null);
  if (next) {
    const lists = document.importNode(next, true);
    find(LIST, HTMLElement)?.replaceWith(lists);
    showTimes(lists);
  }
}

function show(made: Made): void {
  const area = find("#token-area", HTMLElement);
  const result = find("#token-result", HTMLInputElement);
  if (!area || !result) {
    return;
  }
  result.value = made.token;
  const until = find("#token-until", HTMLTimeElement);
  if (until && made.expires_at) {
    until.dateTime = made.expires_at;
    showTimes(area);
  }
  const ends = find("#token-ends", HTMLElement);
  if (ends) {
    ends.hidden = !made.expires_at;
  }
  area.hidden = false;
  fillSetup(area, made.token);
  find("#token-made", HTMLElement)?.focus();
}

async function make(form: HTMLFormElement, url: string): Promise<void> {
  const data = new FormData(form);
  const text = (name: string): string => {
    const value = data.get(name);
    return typeof value === "string" ? value.trim() : "";
  };
  const scopes = text("scopes")
    .split(/[\s,]+/)
    .filter(Boolean);
  const seconds = Number.parseInt(text("expires_in"), 10);
  const button = find("button[type=submit]", HTMLButtonElement, form);
  const refusal = find(".notice-bad", HTMLElement, form);
  if (button) {
    button.disabled = true;
  }
  if (refusal) {
    refusal.hidden = true;
  }
  try {
    const made = (await ask("POST", url, {
      note: text("note") || form.dataset.note,
      expires_in: Number.isNaN(seconds) ? null : seconds,
      ...(scopes.length > 0 ? { scopes } : {}),
    })) as Made;
    show(made);
    await refresh();
  } catch (error) {
    failed(refusal, error, say("No token was made."));
  } finally {
    if (button) {
      button.disabled = false;
    }
  }
}

async function revoke(dialog: HTMLDialogElement, url: string): Promise<void> {
  const confirm = find("#revoke-confirm", HTMLButtonElement, dialog);
  if (confirm) {
    confirm.disabled = true;
  }
  try {
    await ask("DELETE", url);
    await refresh();
    dialog.close();
    find("#token-lists-title", HTMLElement)?.focus();
  } catch (error) {
    failed(find("#revoke-error", HTMLElement), error, say("It was not revoked."));
  } finally {
    if (confirm) {
      confirm.disabled = false;
    }
  }
}

export function enhanceTokens(): void {
  const page = find("#tokens", HTMLElement);
  const dialog = find("#revoke-dialog", HTMLDialogElement);
  if (!page || !dialog) {
    return;
  }
  const url = page.dataset.tokens ?? "";
  for (const form of findAll("form[data-make-token]", HTMLFormElement)) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void make(form, url);
    });
  }
  let asked = "";
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-revoke]") : null;
    if (button instanceof HTMLButtonElement) {
      asked = button.dataset.revoke ?? "";
      setText(find("#revoke-what", HTMLElement), button.dataset.name ?? "");
      const refusal = find("#revoke-error", HTMLElement);
      if (refusal) {
        refusal.hidden = true;
      }
      dialog.showModal();
    }
  });
  find("#revoke-confirm", HTMLButtonElement)?.addEventListener("click", () => {
    void revoke(dialog, `${url}/${encodeURIComponent(asked)}`);
  });
}
