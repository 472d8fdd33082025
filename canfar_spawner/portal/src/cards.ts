/** What cards show of running sessions, as it is now: use, time left, name, who may enter. */
import { find, findAll, setText } from "./dom";
import { sessionsLive } from "./known";
import { isJob, isOver, type Row } from "./rows";
import { say } from "./say";
import { onRedrawn, refresh } from "./sessions";
import { showTimes, timeLeft } from "./times";
import { type Look, notKnownSince } from "./v1";

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

function showEnd(card: HTMLElement, row: Row): void {
  const left = find("[data-left]", HTMLElement, card);
  const ends = new Date(row.expiryTime);
  setText(left, timeLeft(ends));
  const time = left?.parentElement ? find("time", HTMLTimeElement, left.parentElement) : null;
  if (time && time.dateTime !== row.expiryTime) {
    time.dateTime = row.expiryTime;
    showTimes(card);
  }
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
  showEnd(card, row);
  showName(card, row.name);
  const shared = find("[data-shared]", HTMLElement, card);
  setText(shared, guests(row));
  if (shared) {
    shared.title = (row.guests ?? []).join(", ");
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
  setText(trouble, latest ? notKnownSince(latest) : "");
  const rows = latest?.value;
  if (!rows) {
    return;
  }
  const byId = new Map(rows.map((row) => [row.id, row]));
  for (const card of findAll("[data-session]", HTMLElement)) {
    const row = byId.get(card.dataset.session ?? "");
    if (row && !isOver(row)) {
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
  onRedrawn(showAll);
  sessionsLive.subscribe((look) => {
    latest = look;
    showAll();
    if (look.value && look.trouble === "") {
      redraw(look.value);
    }
  });
}
