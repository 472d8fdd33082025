/** Logs and events of a session or batch job, in a dialog that follows them while it is open. */
import { sentenceOf, showRefusal } from "./dialogs";
import { find, setText } from "./dom";
import { say } from "./say";
import { setTime, setTimed } from "./times";
import { v1 } from "./v1";
import { pause, visible } from "./watch";

const LINES = 500;
const EVERY_MS = 3_000;
const NONE = "<none>";

type What = "logs" | "events";

function path(session: string, what: What): string {
  const tail = what === "logs" ? `&tail=${LINES}` : "";
  return `session/${encodeURIComponent(session)}?view=${what}${tail}`;
}

function showLog(place: HTMLElement, text: string): void {
  const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 8;
  setText(place, text === "" ? say("It has written nothing yet.") : text);
  if (atEnd) {
    place.scrollTop = place.scrollHeight;
  }
}

/** Events come as a table for the public client: two spaces and more stand between its cells. */
function showEvents(list: HTMLElement, table: string): void {
  const rows = table.split("\n").slice(1).filter(Boolean);
  const items = rows.map((line) => {
    const [kind = "", reason = "", message = "", , at = ""] = line.split(/ {2,}/);
    const item = document.createElement("li");
    item.classList.toggle("event-warning", kind === "Warning");
    const time = document.createElement("time");
    time.className = "muted tabular";
    if (at !== NONE) {
      setTime(time, new Date(at));
    }
    const text = document.createElement("span");
    text.textContent = message === NONE ? reason : `${reason}: ${message}`;
    item.append(time, text);
    return item;
  });
  list.replaceChildren(...items);
}

/** Show what a session wrote, or what happened to it. */
export function showText(what: What, session: string, name: string): void {
  const dialog = find("#text-dialog", HTMLDialogElement);
  const log = find("#text-shown", HTMLElement);
  const events = find("#events-shown", HTMLElement);
  const note = find("#text-note", HTMLElement);
  const refusal = find("#text-error", HTMLElement);
  if (!dialog || !log || !events) {
    return;
  }
  const title =
    what === "logs" ? say("Log of %(name)s", { name }) : say("Events of %(name)s", { name });
  setText(find("#text-title", HTMLElement), title);
  setText(log, "");
  setText(note, say("Loading…"));
  events.replaceChildren();
  log.hidden = what !== "logs";
  events.hidden = what !== "events";
  showRefusal(refusal, "");
  dialog.dataset.of = `${what} ${session}`;
  dialog.showModal();
  const wanted = (): boolean => dialog.open && dialog.dataset.of === `${what} ${session}`;
  void (async (): Promise<void> => {
    while (wanted()) {
      try {
        const text = await v1<string>("GET", path(session, what));
        if (!wanted()) {
          return;
        }
        if (what === "logs") {
          showLog(log, text);
        } else {
          showEvents(events, text);
        }
        setTimed(note, new Date(), (time) =>
          what === "logs"
            ? say("Its last %(count)s lines at most, as of %(time)s.", { count: LINES, time })
            : say("As of %(time)s.", { time }),
        );
        showRefusal(refusal, "");
      } catch (error) {
        showRefusal(refusal, sentenceOf(error));
      }
      await pause(EVERY_MS);
      await visible();
    }
  })();
}

export function enhanceTexts(): void {
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-text]") : null;
    if (button instanceof HTMLElement) {
      const session = button.dataset.id ?? "";
      const card = find(`[data-session="${CSS.escape(session)}"] [data-name-of]`, HTMLElement);
      showText(
        button.dataset.text === "events" ? "events" : "logs",
        session,
        card?.textContent ?? button.dataset.name ?? session,
      );
    }
  });
}
