/** Times in the zone of the viewer; the pages carry them in UTC. */
import { findAll } from "./dom";

const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const seconds = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });

function sameDay(one: Date, other: Date): boolean {
  return one.toDateString() === other.toDateString();
}

export function shownClock(at: Date): string {
  return seconds.format(at);
}

function shown(at: Date, now: Date): string {
  const word = sameDay(at, now) ? "today" : day.format(at).replace(",", "");
  return `${word} ${clock.format(at)}`;
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
