/** Session cards: they follow their session, and stop it. */
import { ask, freshPage } from "./api";
import { busy } from "./dialogs";
import { find, findAll, setText } from "./dom";
import { say } from "./say";
import { showTimes } from "./times";
import { v1 } from "./v1";
import { waitFor } from "./watch";

const LIVE = "[data-live]";
const watched = new WeakSet<Element>();
const redrawn: (() => void)[] = [];

function homeUrl(): string {
  return `${document.body.dataset.base ?? "/hub/"}home`;
}

/** Have something called when cards were drawn anew. */
export function onRedrawn(called: () => void): void {
  redrawn.push(called);
}

/** Draw the lists of the page anew, keeping the keyboard's place near where it was. */
export async function refresh(): Promise<void> {
  const next = await freshPage(homeUrl()).catch(() => null);
  const places = findAll(LIVE, HTMLElement);
  if (!next || places.length === 0) {
    location.assign(homeUrl());
    return;
  }
  const focused = document.activeElement;
  const inside = focused !== null && places.some((place) => place.contains(focused));
  const card = inside ? focused.closest(".card-session")?.id : undefined;
  const menu = find(".card-menu[open]", HTMLElement)?.closest(".card-session")?.id;
  for (const place of places) {
    const found = find(`[data-live="${place.dataset.live ?? ""}"]`, HTMLElement, next);
    if (found) {
      const live = document.importNode(found, true);
      place.replaceWith(live);
      showTimes(live);
      watchAll(live);
    }
  }
  if (menu !== undefined) {
    const again = find(`#${CSS.escape(menu)} .card-menu`, HTMLDetailsElement);
    if (again) {
      again.open = true;
    }
  }
  if (inside) {
    const place = card ? find(`#${CSS.escape(card)} .actions a`, HTMLElement) : null;
    (place ?? find("#sessions-title", HTMLElement))?.focus();
  }
  for (const called of redrawn) {
    called();
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
  card.dataset.shown = "stopping";
  watched.delete(card);
  card.dataset.watch = url;
  card.dataset.until = "gone";
  void watch(card);
}

/** End a session by the hub, which also works while the session manager is away. */
export async function stopSession(url: string): Promise<void> {
  try {
    await ask("DELETE", url, { remove: true });
  } catch (error) {
    const cause = error instanceof Error ? error.message : "";
    throw new Error(say("It was not stopped. %(cause)s", { cause }));
  }
}

async function stop(dialog: HTMLDialogElement, button: HTMLButtonElement): Promise<void> {
  const url = button.dataset.stop ?? "";
  const confirm = find("#stop-confirm", HTMLButtonElement, dialog);
  const refusal = find("#stop-error", HTMLElement, dialog);
  if (!(await busy(confirm, say("Stopping…"), refusal, () => stopSession(url)))) {
    return;
  }
  dialog.close();
  // The cards may have been drawn anew since the button was pressed.
  const card = find(`#session-${CSS.escape(button.dataset.id ?? "")}`, HTMLElement);
  if (card) {
    find("#sessions-title", HTMLElement)?.focus();
    showStopping(card, url);
  } else {
    location.assign(homeUrl());
  }
}

/** Say what the end of a session wipes, as soon as that is known. */
export async function sayScratch(place: HTMLElement | null, session: string): Promise<void> {
  const unknown = find("#stop-dialog", HTMLElement)?.dataset.unknown ?? "";
  setText(place, unknown);
  try {
    const path = `session/${encodeURIComponent(session)}/scratch`;
    const { sentence } = await v1<{ sentence: string }>("GET", path);
    setText(place, sentence === "" ? say("There is nothing in /scratch.") : sentence);
  } catch {
    // Then what is there is not known, which the dialog says already.
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
      const name = button.dataset.name ?? "";
      setText(find("#stop-title", HTMLElement, dialog), say("Stop %(name)s?", { name }));
      const refusal = find("#stop-error", HTMLElement, dialog);
      if (refusal) {
        refusal.hidden = true;
      }
      void sayScratch(find("#stop-scratch", HTMLElement, dialog), button.dataset.id ?? "");
      dialog.showModal();
    }
  });
  find("#stop-confirm", HTMLButtonElement, dialog)?.addEventListener("click", () => {
    if (asked) {
      void stop(dialog, asked);
    }
  });
}
