/** Session cards: they follow their session, and stop it. */
import { ask, fresh } from "./api";
import { find, findAll, setText } from "./dom";
import { showTimes } from "./times";
import { waitFor } from "./watch";

const LIVE = '[data-live="sessions"]';
const watched = new WeakSet<Element>();

function homeUrl(): string {
  return `${document.body.dataset.base ?? "/hub/"}home`;
}

/** Draw the list of sessions anew, keeping the keyboard's place near where it was. */
async function refresh(): Promise<void> {
  const old = find(LIVE, HTMLElement);
  const next = await fresh(homeUrl(), LIVE).catch(() => null);
  if (!old || !next) {
    location.assign(homeUrl());
    return;
  }
  const focused = document.activeElement;
  const inside = focused !== null && old.contains(focused);
  const card = inside ? focused.closest(".card-session")?.id : undefined;
  const live = document.importNode(next, true);
  old.replaceWith(live);
  showTimes(live);
  watchAll(live);
  if (inside) {
    const place = card ? find(`#${CSS.escape(card)} .actions a`, HTMLElement, live) : null;
    (place ?? find("#sessions-title", HTMLElement, live))?.focus();
  }
}

async function watch(element: HTMLElement): Promise<void> {
  const url = element.dataset.watch;
  if (!url || watched.has(element)) {
    return;
  }
  watched.add(element);
  const until = element.dataset.until === "ready" ? "ready" : "gone";
  const outcome = await waitFor(element, url, until);
  if (outcome === "lost") {
    return;
  }
  const then = element.dataset.then;
  if (then) {
    location.assign(then);
  } else {
    await refresh();
  }
}

function watchAll(root: ParentNode): void {
  for (const element of findAll("[data-watch]", HTMLElement, root)) {
    void watch(element);
  }
}

function showStopping(card: HTMLElement, url: string): void {
  const stopping = find("#stopping", HTMLTemplateElement);
  if (stopping) {
    find(".state", HTMLElement, card)?.replaceWith(document.importNode(stopping.content, true));
  }
  card.classList.add("card-stopping");
  watched.delete(card);
  card.dataset.watch = url;
  card.dataset.until = "gone";
  void watch(card);
}

async function stop(dialog: HTMLDialogElement, button: HTMLButtonElement): Promise<void> {
  const url = button.dataset.stop ?? "";
  const confirm = find("#stop-confirm", HTMLButtonElement, dialog);
  const refusal = find("#stop-error", HTMLElement, dialog);
  if (!confirm || !refusal) {
    return;
  }
  confirm.disabled = true;
  setText(confirm, "Stopping…");
  refusal.hidden = true;
  try {
    await ask("DELETE", url, { remove: true });
  } catch (error) {
    const cause = error instanceof Error ? error.message : "";
    setText(find("span", HTMLElement, refusal), `It was not stopped. ${cause}`);
    refusal.hidden = false;
    return;
  } finally {
    confirm.disabled = false;
    setText(confirm, "Stop");
  }
  dialog.close();
  const card = button.closest(".card-session");
  if (card instanceof HTMLElement) {
    find("#sessions-title", HTMLElement)?.focus();
    showStopping(card, url);
  } else {
    location.assign(homeUrl());
  }
}

export function enhanceSessions(): void {
  watchAll(document);
  const dialog = find("#stop-dialog", HTMLDialogElement);
  if (!dialog) {
    return;
  }
  let asked: HTMLButtonElement | null = null;
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-stop]") : null;
    if (button instanceof HTMLButtonElement) {
      asked = button;
      setText(find("#stop-title", HTMLElement, dialog), `Stop ${button.dataset.name ?? ""}?`);
      const refusal = find("#stop-error", HTMLElement, dialog);
      if (refusal) {
        refusal.hidden = true;
      }
      dialog.showModal();
    }
  });
  find("#stop-confirm", HTMLButtonElement, dialog)?.addEventListener("click", () => {
    if (asked) {
      void stop(dialog, asked);
    }
  });
}
