import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Row } from "../rows";
import { showDrawn, showWarning, Told, warningOf } from "../warnings";

vi.hoisted(() => {
  vi.stubEnv("TZ", "America/Vancouver");
  document.documentElement.lang = "en";
});

const NOW = Date.parse("2026-07-23T18:00:00Z");
const HOUR = 3_600_000;
const REST = "14 files (2.3 GB) in /scratch will be wiped. Extend it, or save what you need.";
const SAID = `M31 v. 2 ends at 00:40 UTC on 24 July. ${REST}`;

/** One whose end is not near. */
function calm(id: string, more: Partial<Row> = {}): Row {
  return {
    id,
    name: "M31 v. 2",
    type: "notebook",
    status: "Running",
    state: "Running",
    title: "AstroML",
    version: "26.10",
    asked: "2026-07-20T18:00:00Z",
    expiryTime: "2026-07-24T00:40:00Z",
    connectURL: "",
    shares: 0,
    ...more,
  };
}

function row(id: string, more: Partial<Row> = {}): Row {
  return calm(id, { warning: SAID, ...more });
}

function replica(number: number, more: Partial<Row> = {}): Row {
  const name = `sim-${number}`;
  const warning = `${name} ends at 00:40 UTC on 24 July. ${REST}`;
  const of = { name, type: "headless", replicaOf: "sim", replica: number, warning };
  return row(`j000000${number}`, { ...of, ...more });
}

function place(): HTMLElement {
  const element = document.createElement("p");
  element.append(document.createElement("span"));
  element.hidden = true;
  return element;
}

function shown(rows: readonly Row[]): string {
  const element = place();
  showWarning(element, warningOf(rows));
  return element.hidden ? "" : element.textContent;
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
});

describe("a warning", () => {
  it("says its time as the viewer's clock has it, and the rest as the session manager does", () => {
    expect(shown([row("a")])).toBe(`M31 v. 2 ends today 17:40. ${REST}`);
  });

  it("says the name and the end of now, which may be others than the sentence's", () => {
    const renamed = row("a", { name: "M32", expiryTime: "2026-07-24T01:10:00Z" });
    expect(shown([renamed])).toBe(`M32 ends today 18:10. ${REST}`);
  });

  it("stands as it is where it begins otherwise", () => {
    expect(shown([row("a", { warning: "It ends soon." })])).toBe("It ends soon.");
  });

  it("is gone with its cause: extended, being ended, over", () => {
    const element = place();
    showWarning(element, warningOf([row("a")]));
    expect(element.hidden).toBe(false);
    showWarning(element, warningOf([calm("a")]));
    expect([element.hidden, element.textContent]).toEqual([true, ""]);
    expect(shown([row("a", { status: "Terminating" })])).toBe("");
    expect(shown([row("a", { state: "Completed" })])).toBe("");
  });

  it("names the one job of several whose end is near, or counts them", () => {
    const later = calm("j0000001", { name: "sim-1", type: "headless", replicaOf: "sim" });
    expect(shown([later, replica(2)])).toBe(`sim-2 ends today 17:40. ${REST}`);
    const first = replica(3, { expiryTime: "2026-07-24T00:30:00Z" });
    expect(shown([later, replica(2), first])).toBe(
      "2 jobs of sim end, the first today 17:30. What is in their /scratch is wiped then.",
    );
  });

  it("of the hub's own page has its time as others are, once", () => {
    const element = place();
    element.hidden = false;
    const span = element.querySelector("span");
    span?.append(SAID);
    const ends = new Date("2026-07-24T00:40:00Z");
    showDrawn(element, "M31 v. 2", ends);
    expect(element.textContent).toBe(`M31 v. 2 ends today 17:40. ${REST}`);
    const time = element.querySelector("time");
    expect(time?.title).toBe("2026-07-24 00:40 UTC");
    showDrawn(element, "M31 v. 2", ends);
    expect(element.querySelector("time")).toBe(time);
  });
});

describe("what is told to who does not see it", () => {
  const names = (told: Told, rows: readonly Row[]): string[] =>
    told.news(rows).map((warning) => warning.words("soon").split(" ends ")[0] ?? "");

  it("is nothing at the first look, and then each warning once", () => {
    const told = new Told();
    expect(names(told, [row("a"), calm("b")])).toEqual([]);
    const both = [row("a"), row("b", { name: "M33" })];
    expect(names(told, both)).toEqual(["M33"]);
    // More files in scratch are no other warning.
    expect(
      names(told, [row("a", { warning: SAID.replace("14", "15") }), ...both.slice(1)]),
    ).toEqual([]);
  });

  it("is told again an hour and five minutes before the end", () => {
    const told = new Told();
    const rows = [row("a", { expiryTime: new Date(NOW + 25 * HOUR).toISOString() })];
    told.news([calm("a")]);
    const counts = [23, 2, 1, 0.9, 0.08, 0.05].map((hours) => {
      vi.setSystemTime(NOW + (25 - hours) * HOUR);
      return told.news(rows).length;
    });
    expect(counts).toEqual([1, 0, 1, 0, 1, 0]);
  });

  it("is told once where this machine's clock is late", () => {
    const told = new Told();
    const rows = [row("a", { expiryTime: new Date(NOW + 24.01 * HOUR).toISOString() })];
    told.news([calm("a")]);
    expect(told.news(rows)).toHaveLength(1);
    vi.setSystemTime(NOW + HOUR);
    expect(told.news(rows)).toHaveLength(0);
  });

  it("is told anew after the session was extended, and of jobs as of one", () => {
    const told = new Told();
    told.news([]);
    expect(names(told, [row("a"), replica(1), replica(2)])).toEqual([
      "M31 v. 2",
      "2 jobs of sim end, the first soon. What is in their /scratch is wiped then.",
    ]);
    expect(names(told, [calm("a"), replica(1), replica(2)])).toEqual([]);
    expect(names(told, [row("a"), replica(1), replica(2)])).toEqual(["M31 v. 2"]);
  });
});
