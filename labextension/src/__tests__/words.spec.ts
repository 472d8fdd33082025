import { nullTranslator } from "@jupyterlab/translation";

import type { Session } from "../shapes";
import * as words from "../words";

const trans = nullTranslator.load("canfar_hub");
const HOUR = 3_600_000;

function session(more: Partial<Session>): Session {
  return {
    id: "abcd1234",
    owner: "ada",
    name: "M31",
    title: "AstroML",
    kind: "notebook",
    state: "Running",
    ends: "2026-11-30T12:00:00Z",
    ...more,
  };
}

describe("duration", () => {
  it.each([
    [76 * HOUR, "3 d 4 h"],
    [72 * HOUR, "3 d"],
    [HOUR + 60_000, "1 h 1 min"],
    [59_000, "less than a minute"],
    [-HOUR, "less than a minute"],
  ])("writes %d ms as %s", (ms, expected) => {
    expect(words.duration(trans, ms)).toBe(expected);
  });
});

describe("size", () => {
  const fixed = session({ mode: "fixed", cores_limit: "2", memory_limit_gb: 4, qos: "Guaranteed" });

  it("calls guaranteed only what is", () => {
    expect(words.size(trans, fixed)).toBe("Fixed · 2 cores, 4 GB guaranteed");
    expect(words.size(trans, { ...fixed, enforced: false })).toBe("Fixed · 2 cores, 4 GB");
    expect(words.size(trans, { ...fixed, qos: "Burstable" })).toBe("Fixed · 2 cores, 4 GB");
  });

  it("counts one core as one, and half of one as some", () => {
    expect(words.cores(trans, "1")).toBe("1 core");
    expect(words.cores(trans, "0.5")).toBe("0.5 cores");
  });

  it("says nothing of what a visitor is not told", () => {
    expect(words.size(trans, session({}))).toBe("");
  });
});

describe("memoryLevel", () => {
  const measured = session({ ramInUse: "1.07", memory_limit_gb: 4 });

  it("believes the kernel before what was measured from outside", () => {
    const usage = { memory: 5, memoryLimit: 10, cores: null };
    expect(words.memoryLevel(measured, usage)).toEqual({ value: 5, most: 10 });
  });

  it("reads the session manager's GB of 10⁹ bytes", () => {
    expect(words.memoryLevel(measured, null)?.value).toBeCloseTo(1.07e9, 0);
    expect(words.memoryLevel(measured, null)?.most).toBe(2 ** 32);
  });

  it("is not known where nobody has measured", () => {
    expect(words.memoryLevel(session({ memory_limit_gb: 4 }), null)).toBeNull();
    expect(words.coresLevel(session({ cores_limit: "2" }), null)).toBeNull();
  });

  it("is never more than all of it", () => {
    expect(words.part({ value: 11, most: 10 })).toBe(1);
    expect(words.part({ value: 1, most: 0 })).toBe(0);
  });
});

describe("moment", () => {
  const now = new Date(2026, 10, 30, 12, 0);

  it("says today for today, and the day for any other", () => {
    expect(words.moment(trans, new Date(2026, 10, 30, 14, 2), now, "en-GB")).toBe("today 14:02");
    expect(words.moment(trans, new Date(2026, 11, 1, 14, 2), now, "en-GB")).toMatch(
      /^Tue 1 Dec.* 14:02$/,
    );
  });
});
