/** What cards show of running sessions, as it is now: use, time left, name, who may enter. */
import { find, findAll, setText } from "./dom";
import { sessionsLive } from "./known";
import { isJob, isOver, type Row } from "./rows";
import { say } from "./say";
import { onRedrawn, refresh } from "./sessions";
import { setTime, timeLeft } from "./times";
import { type Look, showUnknown } from "./v1";
import { showDrawn, showWarning, SOON_MS, warningOf } from "./warnings";

const GIB = 2 ** 30;
const HIGH = 0.9;
const AGAIN_MS = 30_000;

function shownNumber(value: number): string {
  if (value > 0 && value < 0.05) {
    return "<0.1";
  }
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

/** Show how much of something is in use; what is not known is said so, and not as zero. */
function showUse(card: HTMLElement, what: string, now: number | undefined): void {
  const use = find(`[data-use="${what}"]`, HTMLElement, card);
  const bar = find(".bar", HTMLElement, use ?? card);
  const fill = find(".bar-fill", HTMLElement, use ?? card);
  if (!use || !bar || !fill) {
    return;
  }
  const most = Number(use.dataset.most);
  const known = now !== undefined && Number.isFinite(now);
  const part = known && most > 0 ? Math.min(1, now / most) : 0;
  fill.style.inlineSize = `${(100 * part).toFixed(1)}%`;
  bar.classList.toggle("bar-high", what === "memory" && part >= HIGH);
  bar.ariaValueNow = known ? now.toFixed(2) : "0";
  bar.ariaValueText = known
    ? say("%(now)s of %(most)s", { now: shownNumber(now), most: use.dataset.most ?? "" })
    : say("not known");
  setText(find("[data-now]", HTMLElement, use), known ? shownNumber(now) : "–");
}

function guests(row: Row): string {
  const names = row.guests ?? [];
  if (row.shares === 0) {
    return say("with nobody");
  }
  if (names.length === 0) {
    return say("by a link that nobody has taken up yet");
  }
  return names.length > 3
    ? say("%(names)s and %(more)s more may enter", {
        names: names.slice(0, 2).join(", "),
        more: names.length - 2,
      })
    : say("%(names)s may enter", { names: names.join(", ") });
}

/** The line of a card that says how long it lasts. */
function lineOfEnd(card: HTMLElement): Element | null {
  return find("[data-left]", HTMLElement, card)?.closest("div") ?? null;
}

function endOf(card: HTMLElement): HTMLTimeElement | null {
  const line = lineOfEnd(card);
  return line && find("time", HTMLTimeElement, line);
}

function showEnd(card: HTMLElement, ends: Date): void {
  setText(find("[data-left]", HTMLElement, card), timeLeft(ends));
  lineOfEnd(card)?.classList.toggle("soon", ends.getTime() - Date.now() < SOON_MS);
  const time = endOf(card);
  if (time) {
    setTime(time, ends);
  }
}

function warningPlace(card: HTMLElement): HTMLElement | null {
  return find("[data-warning]", HTMLElement, card);
}

function showName(card: HTMLElement, name: string): void {
  const title = find("[data-name-of]", HTMLElement, card);
  if (title && title.textContent !== name) {
    setText(title, name);
    title.title = name;
    for (const each of findAll("[data-name]", HTMLElement, card)) {
      each.dataset.name = name;
    }
  }
}

function number(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

function show(card: HTMLElement, row: Row): void {
  const gigabytes = number(row.ramInUse);
  showUse(card, "cores", number(row.cpuCoresInUse));
  showUse(card, "memory", gigabytes === undefined ? undefined : (gigabytes * 1e9) / GIB);
  showEnd(card, new Date(row.expiryTime));
  const stopping = card.dataset.shown === "stopping";
  showWarning(warningPlace(card), stopping ? null : warningOf([row]));
  showName(card, row.name);
  const shared = find("[data-shared]", HTMLElement, card);
  setText(shared, guests(row));
  if (shared) {
    shared.title = (row.guests ?? []).join(", ");
  }
}

/** Show what is known of a session without the session manager, which may be away. */
function showAsDrawn(card: HTMLElement): void {
  const name = find("[data-name-of]", HTMLElement, card)?.textContent ?? "";
  const ends = endOf(card);
  if (ends) {
    showDrawn(warningPlace(card), name, new Date(ends.dateTime));
  }
}

/** In which of the states that cards are drawn for a session is. */
function drawnAs(row: Row): string {
  if (row.status === "Terminating") {
    return "stopping";
  }
  return row.status === "Pending" ? "starting" : "running";
}

let latest: Look<readonly Row[]> | null = null;
let drawnFor: string | null = null;
let drawnAt = 0;

function showAll(): void {
  const trouble = find("#live-trouble", HTMLElement);
  if (latest) {
    showUnknown(trouble, latest);
  }
  const byId = new Map((latest?.value ?? []).map((row) => [row.id, row]));
  for (const card of findAll("[data-session]", HTMLElement)) {
    const row = byId.get(card.dataset.session ?? "");
    if (!row) {
      showAsDrawn(card);
    } else if (!isOver(row)) {
      show(card, row);
    }
  }
}

/** Draw anew what is not on the page as it is. The hub may hear of an end half a minute later. */
function redraw(rows: readonly Row[]): void {
  const live = rows.filter((row) => !isJob(row) && !isOver(row));
  const wanted = live.map((row) => `${row.id} ${drawnAs(row)}`).sort();
  const cards = findAll("[data-session]", HTMLElement);
  const drawn = cards
    .map((card) => `${card.dataset.session ?? ""} ${card.dataset.shown ?? ""}`)
    .sort();
  if (wanted.join() === drawn.join() || find("dialog[open]", HTMLDialogElement)) {
    return;
  }
  const now = Date.now();
  if (drawnFor !== wanted.join() || now - drawnAt > AGAIN_MS) {
    drawnFor = wanted.join();
    drawnAt = now;
    void refresh();
  }
}

export function enhanceCards(): void {
  if (!find(".home", HTMLElement)) {
    return;
  }
  showAll();
  onRedrawn(showAll);
  sessionsLive.subscribe((look) => {
    latest = look;
    showAll();
    if (look.value && look.trouble === "") {
      redraw(look.value);
    }
  });
}
