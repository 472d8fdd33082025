import { beforeEach, describe, expect, it, vi } from "vitest";
import { setTime, setTimed } from "../times";

vi.hoisted(() => {
  vi.stubEnv("TZ", "America/Vancouver");
  document.documentElement.lang = "en";
});

const AT = new Date("2026-07-24T00:40:00Z");

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-07-23T18:00:00Z") });
});

function timed(element: HTMLElement, at = AT): HTMLElement {
  setTimed(element, at, (time) => `It ends ${time} now.`);
  return element;
}

describe("a time that script writes", () => {
  it("is in the viewer's zone, and in UTC where one points at it", () => {
    const time = document.createElement("time");
    setTime(time, AT);
    expect(time.textContent).toBe("today 17:40");
    expect(time.title).toBe("2026-07-24 00:40 UTC");
    expect(new Date(time.dateTime)).toEqual(AT);
    time.dataset.style = "clock";
    setTime(time, AT);
    expect(time.textContent).toBe("17:40:00");
  });

  it("is an element of its own in a sentence", () => {
    const element = timed(document.createElement("p"));
    expect(element.textContent).toBe("It ends today 17:40 now.");
    const times = element.querySelectorAll("time");
    expect(Array.from(times, (time) => time.title)).toEqual(["2026-07-24 00:40 UTC"]);
  });

  it("is written anew only where it differs", () => {
    const element = timed(document.createElement("p"));
    const before = element.firstElementChild;
    expect(timed(element).firstElementChild).toBe(before);
    // As it was said without its time, it has no element.
    setTimed(element, AT, () => "It ends today 17:40 now.");
    expect(element.textContent).toBe("It ends today 17:40 now.");
    expect(timed(element, new Date("2026-07-24T00:41:00Z")).textContent).toContain("17:41");
    expect(element.querySelector("time")?.title).toBe("2026-07-24 00:41 UTC");
  });
});
