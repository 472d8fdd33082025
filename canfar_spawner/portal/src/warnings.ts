/** That an end is near: on its card or job for as long as it holds, and told once as it comes nearer. */
import { find, setText } from "./dom";
import { sessionsLive } from "./known";
import { grouped } from "./replicas";
import { isJob, isOver, type Row } from "./rows";
import { say, sayMany } from "./say";
import { setTimed } from "./times";

const HOUR_MS = 3_600_000;
/** An end that is nearer than this is said with emphasis. */
export const SOON_MS = 24 * HOUR_MS;
/** How long before the end the session manager warns, each time anew. */
const BEFORE_MS = [SOON_MS, HOUR_MS, HOUR_MS / 12];
/** How its sentence begins: with the time in UTC. A name has no colon. */
const BEGINS = /^.+? ends at \d\d:\d\d UTC on \d{1,2} \p{L}+\. ?/u;

export interface Warning {
  readonly ends: Date;
  /** The sentence, given what stands for the time. */
  readonly words: (time: string) => string;
}

function isNear(row: Row): boolean {
  return row.warning !== undefined && !isOver(row) && row.status !== "Terminating";
}

/** The session manager's sentence with its time as others are; another sentence stands as it is. */
function wordsOf(name: string, sentence: string): (time: string) => string {
  const rest = sentence.replace(BEGINS, "");
  if (rest === sentence) {
    return () => sentence;
  }
  return (time) => {
    const ends = say("%(name)s ends %(time)s.", { name, time });
    return `${ends} ${rest}`.trim();
  };
}

/** What is said of the nearest end of a session, or of jobs that were asked for together. */
export function warningOf(rows: readonly Row[]): Warning | null {
  const near = rows
    .filter(isNear)
    .sort((one, other) => one.expiryTime.localeCompare(other.expiryTime));
  const [first] = near;
  if (!first) {
    return null;
  }
  const ends = new Date(first.expiryTime);
  if (near.length === 1) {
    return { ends, words: wordsOf(first.name, first.warning ?? "") };
  }
  const name = first.replicaOf ?? first.name;
  return {
    ends,
    words: (time) =>
      sayMany(
        "One job of %(name)s ends %(time)s. What is in /scratch is wiped then.",
        "%(num)s jobs of %(name)s end, the first %(time)s. What is in their /scratch is wiped then.",
        near.length,
        { name, time },
      ),
  };
}

/** Show a warning in its place, or take it away. */
export function showWarning(place: HTMLElement | null, warning: Warning | null): void {
  const text = find("span", HTMLElement, place ?? document.createElement("p"));
  if (!place || !text) {
    return;
  }
  if (warning) {
    setTimed(text, warning.ends, warning.words);
  } else {
    setText(text, "");
  }
  place.hidden = warning === null;
}

/** What the hub has drawn stands until the session manager is heard, with its time as others are. */
export function showDrawn(place: HTMLElement | null, name: string, ends: Date): void {
  const sentence = place?.textContent.trim() ?? "";
  if (BEGINS.test(sentence)) {
    showWarning(place, { ends, words: wordsOf(name, sentence) });
  }
}

/** How many of its warnings an end is due; one at least, whatever this machine's clock says. */
function due(warning: Warning): number {
  const left = warning.ends.getTime() - Date.now();
  return Math.max(1, BEFORE_MS.filter((before) => left <= before).length);
}

/** Which warnings are new since the last look. */
export class Told {
  private before: ReadonlyMap<string, number> | null = null;

  /** Nothing is at the first look: that is on the page to be read as all the rest of it. */
  news(rows: readonly Row[]): Warning[] {
    const together = [
      ...rows.filter((row) => !isJob(row)).map((row) => ({ key: row.id, jobs: [row] })),
      ...grouped(rows.filter(isJob)),
    ];
    const now = new Map<string, number>();
    const found: Warning[] = [];
    for (const { key, jobs } of together) {
      const warning = warningOf(jobs);
      if (warning) {
        now.set(key, due(warning));
        if (this.before && due(warning) > (this.before.get(key) ?? 0)) {
          found.push(warning);
        }
      }
    }
    this.before = now;
    return found;
  }
}

/** Tell what is new to who does not see it. What a session has in scratch changes all the time. */
export function enhanceWarnings(): void {
  const place = find("#warned", HTMLElement);
  const told = new Told();
  sessionsLive.subscribe((look) => {
    if (!place || !look.value || look.trouble !== "") {
      return;
    }
    const lines = told.news(look.value).map((warning) => {
      const line = document.createElement("p");
      setTimed(line, warning.ends, warning.words);
      return line;
    });
    if (lines.length > 0 || place.childElementCount > 0) {
      place.replaceChildren(...lines);
    }
  });
}
