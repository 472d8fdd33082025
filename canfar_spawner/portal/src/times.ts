/** Times in the zone of the viewer; the pages carry them in UTC. */
import { find, findAll, setText } from "./dom";
import { locale, say } from "./say";

const clock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const seconds = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
const day = new Intl.DateTimeFormat(locale, { weekday: "short", day: "numeric", month: "short" });

/** Where a time comes to stand in a sentence; a character that means nothing. */
const HERE = "\uE000";

function sameDay(one: Date, other: Date): boolean {
  return one.toDateString() === other.toDateString();
}

/** A time as pages show it: *today 14:02*. */
function shown(at: Date, now: Date): string {
  const word = sameDay(at, now) ? say("today") : day.format(at).replace(",", "");
  return `${word} ${clock.format(at)}`;
}

/** Show a time in its element: in the viewer's zone, and in UTC where one points at it. */
function show(element: HTMLTimeElement, at: Date, now: Date): void {
  setText(element, element.dataset.style === "clock" ? seconds.format(at) : shown(at, now));
  element.title = `${at.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** Give an element a time, and show it. */
export function setTime(element: HTMLTimeElement, at: Date): void {
  element.dateTime = at.toISOString();
  show(element, at, new Date());
}

/** Say something that has a time in it: `words` are given what stands for its element. */
export function setTimed(
  element: Element | null,
  at: Date,
  words: (time: string) => string,
  style: "full" | "clock" = "full",
): void {
  const [before = "", after] = words(HERE).split(HERE, 2);
  if (!element || after === undefined) {
    setText(element, before);
    return;
  }
  const time = document.createElement("time");
  time.dataset.style = style;
  setTime(time, at);
  // As setText does: a live region would read it again otherwise.
  const same = find("time", HTMLTimeElement, element)?.title === time.title;
  if (!same || element.textContent !== `${before}${time.textContent}${after}`) {
    element.replaceChildren(before, time, after);
  }
}

/** How long it is until a time, in its two largest units: *3 d 4 h*. */
export function timeLeft(until: Date): string {
  const minutes = Math.max(0, Math.floor((until.getTime() - Date.now()) / 60_000));
  const units: [number, string][] = [
    [Math.floor(minutes / 1440), say("d")],
    [Math.floor(minutes / 60) % 24, say("h")],
    [minutes % 60, say("min")],
  ];
  const first = units.findIndex(([value]) => value > 0);
  const two = first < 0 ? [] : units.slice(first, first + 2).filter(([value]) => value > 0);
  return two.map(([value, unit]) => `${value} ${unit}`).join(" ") || say("less than a minute");
}

export function showTimes(root: ParentNode): void {
  const now = new Date();
  for (const element of findAll("time[datetime]", HTMLTimeElement, root)) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) {
      continue;
    }
    show(element, at, now);
  }
}
