/** What can be done with a session from its card: extend, rename, look into it, restart it larger. */
import { busy, sentenceOf, showRefusal } from "./dialogs";
import { find, setText } from "./dom";
import { sessionsLive } from "./known";
import type { Row } from "./rows";
import { say } from "./say";
import { sayScratch, stopSession } from "./sessions";
import { setTimed } from "./times";
import { v1 } from "./v1";
import { waitFor } from "./watch";

const MINUTE_MS = 60_000;

function path(session: string, rest = ""): string {
  return `session/${encodeURIComponent(session)}${rest}`;
}

function cardOf(session: string): HTMLElement | null {
  return find(`[data-session="${CSS.escape(session)}"]`, HTMLElement);
}

function nameOf(session: string): string {
  const card = cardOf(session);
  return (card && find("[data-name-of]", HTMLElement, card)?.textContent) ?? "";
}

/** Where something is said on a card; it stays until something else is said. */
function saidOn(session: string): HTMLElement | null {
  const place = find(`[data-said="${CSS.escape(session)}"]`, HTMLElement);
  if (place) {
    place.hidden = false;
  }
  return place;
}

async function extend(session: string, button: HTMLButtonElement): Promise<void> {
  button.disabled = true;
  try {
    const before = await v1<Row>("GET", path(session));
    await v1("POST", path(session, "?action=renew"));
    const after = await v1<Row>("GET", path(session));
    const ends = new Date(after.expiryTime);
    const moved = ends.getTime() - new Date(before.expiryTime).getTime();
    setTimed(saidOn(session), ends, (time) =>
      moved < MINUTE_MS
        ? say("It ends %(time)s, as late as it can now.", { time })
        : say("It ends %(time)s now.", { time }),
    );
    await sessionsLive.now();
  } catch (error) {
    setText(saidOn(session), say("It was not extended. %(cause)s", { cause: sentenceOf(error) }));
  } finally {
    button.disabled = false;
  }
}

function enhanceRename(): (session: string) => void {
  const dialog = find("#rename-dialog", HTMLDialogElement);
  const form = find("#rename-form", HTMLFormElement);
  const input = find("#rename-name", HTMLInputElement);
  const refusal = find("#rename-error", HTMLElement);
  let asked = "";
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = find("button[type=submit]", HTMLButtonElement, form);
    const name = input?.value.trim() ?? "";
    void busy(button, say("Renaming…"), refusal, async () => {
      await v1("PATCH", path(asked), { name });
      await sessionsLive.now();
    }).then((done) => {
      if (done) {
        dialog?.close();
      }
    });
  });
  return (session) => {
    asked = session;
    showRefusal(refusal, "");
    if (dialog && input) {
      input.value = nameOf(session);
      dialog.showModal();
      input.select();
    }
  };
}

type Sizes = Readonly<Record<string, string>>;

/** A form that launches another in place of a session, from the words of that one. */
function launchForm(words: URLSearchParams): HTMLFormElement {
  const form = document.createElement("form");
  form.method = "post";
  form.action = find(".home", HTMLElement)?.dataset.launch ?? "";
  words.set("_xsrf", document.body.dataset.xsrf ?? "");
  for (const [name, value] of words) {
    const input = document.createElement("input");
    input.type = "hidden";
    input.name = name;
    input.value = value;
    form.append(input);
  }
  return form;
}

/** The launch form with the same filled in, which asks for the values of variables. */
function formUrl(words: URLSearchParams, variables: string): string {
  const query = new URLSearchParams([...words].map(([name, value]) => [`opt-${name}`, value]));
  const lines = variables.split(" ").map((name) => `${name}=`);
  query.set("opt-env", lines.join("\n"));
  return `${document.body.dataset.base ?? "/hub/"}spawn?${query.toString()}`;
}

function chosen(words: string, sizes: Sizes): URLSearchParams {
  const found = new URLSearchParams(words);
  for (const [name, value] of Object.entries(sizes)) {
    found.set(name, value);
  }
  return found;
}

function options(
  select: HTMLSelectElement | null,
  values: string,
  unit: string,
  chosen: string,
): void {
  const made = values.split(" ").map((value) => {
    const option = new Option(unit === "" ? value : `${value} ${unit}`, value);
    option.selected = value === chosen;
    return option;
  });
  select?.replaceChildren(...made);
}

function enhanceRestart(): (session: string) => void {
  const dialog = find("#restart-dialog", HTMLDialogElement);
  const form = find("#restart-form", HTMLFormElement);
  const memory = find("#restart-memory", HTMLSelectElement);
  const cores = find("#restart-cores", HTMLSelectElement);
  const now = find("#restart-now", HTMLElement);
  const refusal = find("#restart-error", HTMLElement);
  let words = "";
  let variables = "";
  let url = "";
  const restart = async (): Promise<void> => {
    const next = chosen(words, { memory: memory?.value ?? "", cores: cores?.value ?? "" });
    await stopSession(url);
    setText(now, say("It stops. The new one starts as soon as it has ended."));
    // The cards may be drawn anew meanwhile; the dialog stays.
    const outcome = await waitFor(dialog ?? document.body, url, "gone");
    if (outcome !== "gone") {
      throw new Error(say("You were signed out. Reload the page to sign in."));
    }
    if (variables === "") {
      const launch = launchForm(next);
      document.body.append(launch);
      launch.submit();
    } else {
      location.assign(formUrl(next, variables));
    }
    // Until the next page is there.
    await new Promise((resolve) => setTimeout(resolve, 30_000));
  };
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = find("button[type=submit]", HTMLButtonElement, form);
    void busy(button, say("Restarting…"), refusal, restart).then(() => setText(now, ""));
  });
  return (session) => {
    const card = cardOf(session);
    const { larger = "", memory: sizes = "", cores: counts = "" } = card?.dataset ?? {};
    words = larger;
    variables = card?.dataset.variables ?? "";
    const asks = find("#restart-variables", HTMLElement, dialog ?? document);
    if (asks) {
      asks.hidden = variables === "";
    }
    url = (card && find("[data-stop]", HTMLElement, card)?.dataset.stop) ?? "";
    const name = nameOf(session);
    setText(
      find("#restart-title", HTMLElement),
      say("Restart %(name)s with more memory?", { name }),
    );
    options(memory, sizes, "GB", sizes.split(" ")[0] ?? "");
    options(cores, counts, "", card?.dataset.coresFirst ?? "");
    showRefusal(refusal, "");
    setText(now, "");
    void sayScratch(find("#restart-scratch", HTMLElement), session);
    dialog?.showModal();
  };
}

export function enhanceDeeds(): void {
  if (!find(".home", HTMLElement)) {
    return;
  }
  const rename = enhanceRename();
  const restart = enhanceRestart();
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target.closest("button") : null;
    if (!target) {
      return;
    }
    const { extend: extended, rename: renamed } = target.dataset;
    if (extended !== undefined) {
      void extend(extended, target);
    } else if (renamed !== undefined) {
      rename(renamed);
    } else if (target.dataset.restart !== undefined) {
      restart(target.dataset.restart);
    }
  });
}
