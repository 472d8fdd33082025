/** Times in the zone of the viewer; the pages carry them in UTC. */
import { findAll } from "./dom";
import { locale, say } from "./say";

const clock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const seconds = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
const day = new Intl.DateTimeFormat(locale, { weekday: "short", day: "numeric", month: "short" });

function sameDay(one: Date, other: Date): boolean {
  return one.toDateString() === other.toDateString();
}

export function shownClock(at: Date): string {
  return seconds.format(at);
}

function shown(at: Date, now: Date): string {
  const word = sameDay(at, now) ? say("today") : day.format(at).replace(",", "");
  return `${word} ${clock.format(at)}`;
}

/** A time as pages show it: *today 14:02*. */
export function showTime(at: Date): string {
  return shown(at, new Date());
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
    element.textContent = element.dataset.style === "clock" ? shownClock(at) : shown(at, now);
    element.title = `${at.toISOString().slice(0, 16).replace("T", " ")} UTC`;
  }
}
