/** Batch jobs on home: replicas as one, how far they are, their logs, their end. */
import { confirmThen } from "./confirm";
import { sentenceOf } from "./dialogs";
import { find, setText } from "./dom";
import { sessionsLive } from "./known";
import { isJob, isOver, type Row } from "./rows";
import { type Group, grouped, type Tally, tally } from "./replicas";
import { say, sayMany } from "./say";
import { keyed, slot } from "./slots";
import { showText } from "./texts";
import { setTimed } from "./times";
import { v1 } from "./v1";
import { showWarning, warningOf } from "./warnings";

const MOST_SHOWN = 20;
const AT_ONCE = 8;

const STATES: Readonly<Record<string, () => string>> = {
  Pending: () => say("Waiting"),
  Running: () => say("Running"),
  Terminating: () => say("Stopping"),
  Completed: () => say("Ended"),
  Failed: () => say("Failed"),
  Unknown: () => say("Unknown"),
};

function stateWord(row: Row): string {
  return STATES[row.state]?.() ?? row.state;
}

function words(group: Group, found: Tally): string {
  const [only] = group.jobs;
  if (found.total === 1 && only) {
    return stateWord(only);
  }
  const parts = [say("%(done)s of %(total)s done", { done: found.done, total: found.total })];
  const others: [number, (count: number) => string][] = [
    [found.running, (count) => say("%(count)s running", { count })],
    [found.waiting, (count) => say("%(count)s waiting", { count })],
    [found.failed, (count) => say("%(count)s failed", { count })],
  ];
  return [
    ...parts,
    ...others.filter(([count]) => count > 0).map(([count, text]) => text(count)),
  ].join(", ");
}

/** The logs that say most: of what failed, else of what runs, else of the last. */
function telling(group: Group): Row | undefined {
  const of = (state: string): Row | undefined => group.jobs.find((row) => row.state === state);
  return of("Failed") ?? of("Running") ?? group.jobs.at(-1);
}

function reason(group: Group): string {
  const row =
    group.jobs.find((each) => each.state === "Failed") ??
    group.jobs.find((each) => each.state === "Pending");
  const detail = row?.detail ? `(${row.detail})` : "";
  return row ? [row.sentence, detail].filter(Boolean).join(" ") : "";
}

async function each(rows: readonly Row[]): Promise<void> {
  const waiting = [...rows];
  const one = async (): Promise<void> => {
    for (let row = waiting.shift(); row; row = waiting.shift()) {
      await v1("DELETE", `session/${encodeURIComponent(row.id)}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

function end(group: Group, element: HTMLElement): void {
  const live = group.jobs.filter((row) => !isOver(row));
  if (live.length === 0) {
    each(group.jobs)
      .then(() => sessionsLive.now())
      .catch((error: unknown) => {
        const said = slot(element, "said");
        if (said) {
          said.hidden = false;
          setText(said, sentenceOf(error));
        }
      });
    return;
  }
  const { name } = group;
  confirmThen(
    {
      title: say("Cancel %(name)s?", { name }),
      text: sayMany(
        "One job is ended. What it has written to its log until now is kept, and so are home and projects.",
        "%(num)s jobs are ended. What they have written to their logs until now is kept, and so are home and projects.",
        live.length,
      ),
      yes: live.length === 1 ? say("Cancel the job") : say("Cancel the jobs"),
      no: say("Let it run"),
      doing: say("Cancelling…"),
    },
    async () => {
      await each(live);
      await sessionsLive.now();
      find("#jobs-title", HTMLElement)?.focus();
    },
  );
}

function onPress(button: HTMLElement | null, press: () => void): void {
  if (button) {
    button.onclick = press;
  }
}

function fillReplica(item: HTMLElement, row: Row): void {
  setText(slot(item, "replica"), row.name);
  setText(slot(item, "replica-state"), stateWord(row));
  setText(slot(item, "replica-logs-of"), ` ${row.name}`);
  onPress(slot(item, "replica-logs"), () => showText("logs", row.id, row.name));
}

function fill(element: HTMLElement, group: Group): void {
  const found = tally(group.jobs);
  const [first] = group.jobs;
  if (!first) {
    return;
  }
  setText(slot(element, "name"), group.name);
  setText(slot(element, "container"), [first.title, first.version].filter(Boolean).join(" "));
  const since = new Date(first.startTime ?? first.asked);
  setTimed(slot(element, "started"), since, (time) =>
    first.startTime ? say("started %(time)s", { time }) : say("asked for %(time)s", { time }),
  );
  const told = words(group, found);
  setText(slot(element, "words"), told);
  const bar = slot(element, "bar");
  if (bar) {
    bar.ariaLabel = told;
    for (const [name, count] of [
      ["done", found.done],
      ["failed", found.failed],
      ["running", found.running],
    ] as const) {
      const part = find(`.job-${name}`, HTMLElement, bar);
      if (part) {
        part.style.inlineSize = `${(100 * count) / found.total}%`;
      }
    }
  }
  const why = reason(group);
  const place = slot(element, "reason");
  setText(place, why);
  if (place) {
    place.hidden = why === "";
  }
  showWarning(slot(element, "warning"), warningOf(group.jobs));
  const replicas = slot(element, "replicas");
  const list = slot(element, "list");
  if (replicas && list) {
    replicas.hidden = found.total === 1;
    if (found.total > 1) {
      keyed(list, "replica-template", group.jobs, (row) => row.id, fillReplica);
    }
  }
  const shown = telling(group);
  setText(slot(element, "logs-of"), ` ${group.name}`);
  onPress(slot(element, "logs"), () => {
    if (shown) {
      showText("logs", shown.id, shown.name);
    }
  });
  const live = group.jobs.some((row) => !isOver(row));
  const cancel = slot(element, "cancel");
  const word = cancel?.firstChild;
  if (word) {
    word.textContent = live ? say("Cancel") : say("Clear");
  }
  setText(slot(element, "cancel-of"), ` ${group.name}`);
  onPress(cancel, () => end(group, element));
}

function show(rows: readonly Row[]): void {
  const section = find("#jobs", HTMLElement);
  const list = find("#jobs-list", HTMLElement);
  if (!section || !list) {
    return;
  }
  const groups = grouped(rows.filter(isJob));
  section.hidden = groups.length === 0;
  const live = rows.filter((row) => isJob(row) && !isOver(row)).length;
  setText(
    find("#jobs-count", HTMLElement),
    live > 0 ? sayMany("One job waits or runs", "%(num)s jobs wait or run", live) : "",
  );
  // The oldest are the last, and the first to end.
  const shown = groups.filter((group, at) => at < MOST_SHOWN || warningOf(group.jobs) !== null);
  keyed(list, "job-template", shown, (group) => group.key, fill);
}

export function enhanceJobs(): void {
  if (find("#jobs", HTMLElement)) {
    sessionsLive.subscribe((look) => {
      if (look.value) {
        show(look.value);
      }
    });
  }
}
