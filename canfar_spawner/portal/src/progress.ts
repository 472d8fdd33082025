/** A session's start, phase by phase, until it opens by itself or says why it cannot. */
import { find, findAll, setText } from "./dom";
import { say } from "./say";
import { setTime, setTimed } from "./times";
import { v1, v1Known } from "./v1";

interface ProgressEvent {
  phase?: string;
  at?: string;
  reason?: string;
  message?: string;
  advice?: string;
  ready?: boolean;
  failed?: boolean;
  url?: string;
}

type State = "done" | "now" | "todo" | "failed";

const LOOK_AGAIN_MS = 3_000;
const EVENTS_MS = 5_000;
/** The bar never says that it is over before it is. */
const MOST_OF_USUAL = 95;

function word(state: State): string {
  return { done: say("done"), now: say("now"), todo: say("to come"), failed: say("failed") }[state];
}

function parse(data: unknown): ProgressEvent {
  try {
    const value: unknown = JSON.parse(String(data));
    const fields = Object.entries(value !== null && typeof value === "object" ? value : {});
    return Object.fromEntries(
      fields.filter(([, field]) => typeof field === "string" || typeof field === "boolean"),
    );
  } catch {
    return {};
  }
}

function mark(row: HTMLElement, state: State): void {
  row.dataset.state = state;
  row.className = `phase phase-${state}`;
  row.ariaCurrent = state === "now" ? "step" : null;
  setText(find("[data-word]", HTMLElement, row), word(state));
}

function stamp(row: HTMLElement, at?: string): void {
  const place = find(".phase-at", HTMLElement, row);
  if (place?.textContent.trim() === "") {
    const known = new Date(at ?? "");
    const when = Number.isNaN(known.getTime()) ? new Date() : known;
    setTimed(place, when, (time) => time, "clock");
  }
}

class Progress {
  private readonly rows = findAll("#phases > [data-phase]", HTMLElement);
  private readonly reason = find("#reason", HTMLElement);
  private last = "";
  private timer = 0;

  constructor(private readonly page: HTMLElement) {}

  follow(): void {
    const source = new EventSource(this.page.dataset.progress ?? "");
    this.timer = window.setInterval(() => this.tick(), 1_000);
    this.tick();
    source.onmessage = (message): void => {
      const event = parse(message.data);
      this.report(event);
      if (event.ready === true || event.failed === true) {
        source.close();
        clearInterval(this.timer);
      }
      if (event.failed === true) {
        this.fail(event);
      } else if (event.ready === true) {
        this.open(event.url);
      } else {
        this.move(event);
      }
    };
    source.onerror = (): void => {
      // A dropped connection comes back by itself; a refusal means the start is over.
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => location.reload(), LOOK_AGAIN_MS);
      }
    };
  }

  private tick(): void {
    const start = new Date(this.page.dataset.started ?? "").getTime();
    if (Number.isNaN(start)) {
      return;
    }
    const waited = Math.max(0, Math.round((Date.now() - start) / 1_000));
    const time = waited < 90 ? `${waited} s` : `${Math.floor(waited / 60)} min ${waited % 60} s`;
    setText(find("#elapsed", HTMLElement), say("Waiting %(time)s.", { time }));
    const bar = find("#usual", HTMLProgressElement);
    const usual = Number(this.page.dataset.usual);
    if (bar && usual > 0) {
      bar.value = Math.min(MOST_OF_USUAL, (100 * waited) / usual);
    }
  }

  private move(event: ProgressEvent): void {
    const at = this.rows.findIndex((row) => row.dataset.phase === event.phase);
    const next = this.rows[at];
    if (next) {
      stamp(next, event.at);
    }
    // The stream begins anew with each connection; what is done stays done.
    if (next?.dataset.state === "todo") {
      for (const row of this.rows.slice(0, at)) {
        mark(row, "done");
      }
      mark(next, "now");
    }
    const current = this.current();
    const text = event.reason ?? event.message;
    if (text && current && (next === undefined || next === current)) {
      setText(find(".phase-text", HTMLElement, current), text);
      setText(this.reason, text);
    }
  }

  private current(): HTMLElement | undefined {
    return this.rows.find((row) => row.dataset.state === "now");
  }

  private open(url: string | undefined): void {
    for (const row of this.rows) {
      mark(row, "done");
      stamp(row);
    }
    setText(this.reason, say("Ready. Opening the session."));
    const target = new URL(url ?? this.page.dataset.url ?? "", location.href);
    if (target.protocol === "https:" || target.protocol === "http:") {
      location.replace(target);
    }
  }

  private fail(event: ProgressEvent): void {
    const current = this.current();
    if (current) {
      mark(current, "failed");
    }
    const message = (event.message ?? "").replace(/^Spawn failed: /, "");
    const cause = event.reason ?? (message || say("The session ended before it was ready."));
    setText(find("#failure-cause", HTMLElement), cause);
    if (event.advice !== undefined) {
      setText(find("#failure-advice", HTMLElement), event.advice);
    }
    setText(this.reason, "");
    this.show("#failure", true);
    this.show("#again", true);
    this.show("#stop-here", false);
    this.show("#opens", false);
    this.show(".progress-now", false);
  }

  private show(selector: string, visible: boolean): void {
    const element = find(selector, HTMLElement);
    if (element) {
      element.hidden = !visible;
    }
  }

  private report(event: ProgressEvent): void {
    const text = event.message ?? event.reason ?? "";
    const list = find("#events", HTMLElement);
    if (!list || text === "" || text === this.last) {
      return;
    }
    if (this.last === "") {
      list.replaceChildren();
    }
    this.last = text;
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.className = "muted tabular";
    time.dataset.style = "clock";
    setTime(time, new Date());
    item.append(time, document.createTextNode(` ${text}`));
    list.append(item);
  }
}

/** What the platform itself reports of a start, while somebody has it unfolded. */
function showEvents(box: HTMLDetailsElement, session: string): void {
  const place = find("#platform-events", HTMLElement, box);
  let timer = 0;
  const look = async (): Promise<void> => {
    const text = await v1<string>(
      "GET",
      `session/${encodeURIComponent(session)}?view=events`,
    ).catch(() => "");
    if (place && typeof text === "string" && text.trim() !== "") {
      setText(place, text.trimEnd());
      place.hidden = false;
    }
    if (box.open) {
      timer = window.setTimeout(() => void look(), EVENTS_MS);
    }
  };
  box.addEventListener("toggle", () => {
    clearTimeout(timer);
    if (box.open) {
      void look();
    }
  });
}

export function enhanceProgress(): void {
  const page = find("#progress", HTMLElement);
  if (!page) {
    return;
  }
  if (page.dataset.failed === undefined && page.dataset.progress) {
    new Progress(page).follow();
  }
  const box = find("#events-box", HTMLDetailsElement, page);
  if (box && page.dataset.session && v1Known()) {
    showEvents(box, page.dataset.session);
  }
}
