import { nullTranslator } from "@jupyterlab/translation";

import { matching, worthSeeing } from "../cards";
import { amountOf, badgeOf, fullnessOf, stateOf } from "../sentences";
import type { Header, Hdu, Job, Task, Usage } from "../shapes";

const trans = nullTranslator.load("canfar_hub");
const GB = 1024 ** 3;

describe("how full it is", () => {
  const usage = (part: Partial<Usage>): Usage => ({
    used: 6.1 * GB,
    limit: null,
    free: null,
    of: "folder",
    complete: true,
    ...part,
  });

  it.each([
    [{ of: "quota", limit: 10 * GB }, "6.1 GB of 10 GB"],
    [{}, "6.1 GB in use"],
    [{ complete: false }, "at least 6.1 GB in use"],
    [{ of: "disk", limit: 200 * GB, free: 2.3 * GB }, "2.3 GB left on its disk"],
    [{ of: "unknown", used: null }, "How full it is is not known"],
    [{ used: null }, "How full it is is not known"],
  ] as [Partial<Usage>, string][])("%j reads %s", (part, words) => {
    expect(fullnessOf(usage(part), trans)).toBe(words);
  });

  it("says of each area what becomes of it", () => {
    expect(badgeOf("backed up", trans)).toBe("kept and backed up");
    expect(badgeOf("kept", trans)).toBe("kept, no backup");
    expect(badgeOf("wiped", trans)).toBe("wiped when the session ends");
    expect(badgeOf("unknown", trans)).toContain("not known");
  });
});

describe("what would be deleted", () => {
  const task = (part: Partial<Task>): Task => ({
    id: "t",
    state: "done",
    why: "",
    files: 1204,
    folders: 12,
    bytes: 2.3 * GB,
    complete: true,
    hits: [],
    next: 0,
    more: false,
    ...part,
  });

  it.each([
    [task({}), "1,204 files in 12 folders, 2.3 GB"],
    [task({ files: 1, folders: 0, bytes: 5 }), "1 file, 5 B"],
    [task({ state: "running" }), "Counting: 1,204 files in 12 folders, 2.3 GB"],
    [task({ complete: false }), "At least 1,204 files in 12 folders, 2.3 GB"],
    [null, "Counting what is in it"],
  ])("%#", (counted, words) => {
    expect(amountOf(counted, trans, "en-GB")).toBe(words);
  });
});

describe("a transfer", () => {
  const job = (part: Partial<Job>): Job => ({
    id: "j",
    kind: "copy",
    state: "running",
    name: "cal",
    to: null,
    bytes: { done: GB, total: 4 * GB },
    speed: 100 * 1024 ** 2,
    seconds_left: 31,
    error: null,
    notes: [],
    checksum: null,
    chunk: null,
    ...part,
  });

  it.each([
    [job({}), "1 GB of 4 GB · 100 MB each second · 31 s left"],
    [job({ speed: null }), "1 GB of 4 GB"],
    [job({ seconds_left: null }), "1 GB of 4 GB · 100 MB each second"],
    [job({ state: "paused" }), "Paused, 1 GB of 4 GB"],
    [job({ state: "done", bytes: { done: 4 * GB, total: 4 * GB } }), "Done, 4 GB"],
    [job({ state: "failed", error: { code: "quota", message: "Home is full." } }), "Home is full."],
  ])("%#", (shown, words) => expect(stateOf(shown, false, trans)).toBe(words));

  it("says what it waits for", () => {
    expect(stateOf(job({ state: "waiting" }), true, trans)).toBe(
      "1 GB of 4 GB sent. Choose the file again to go on.",
    );
  });
});

describe("a header", () => {
  const hdu = (index: number, part: Partial<Hdu>): Hdu => ({
    index,
    type: "IMAGE",
    name: "",
    version: null,
    shape: [],
    rows: null,
    columns: null,
    bytes: 0,
    ...part,
  });
  const header: Header = {
    hdus: [hdu(0, {}), hdu(1, { rows: 120, shape: [15, 120] }), hdu(2, { shape: [64, 48] })],
    total: 3,
    complete: true,
    problem: null,
    cards: [
      ["SIMPLE", "T", "", "l"],
      ["OBJECT", "M31", "what was looked at", "s"],
      ["EXPTIME", "30.5", "s", "f"],
    ],
  };

  it("is searched by keyword, value and comment", () => {
    expect(matching(header.cards, "LOOKED")).toHaveLength(1);
    expect(matching(header.cards, "m31")[0]?.[0]).toBe("OBJECT");
    expect(matching(header.cards, "30.5")[0]?.[0]).toBe("EXPTIME");
    expect(matching(header.cards, " ")).toHaveLength(3);
    expect(matching(header.cards, "nothing")).toHaveLength(0);
  });

  it("tells which HDU has a picture, and which has rows", () => {
    expect(worthSeeing(header, "header")).toBe(0);
    expect(worthSeeing(header, "picture")).toBe(2);
    expect(worthSeeing(header, "rows")).toBe(1);
    expect(worthSeeing(null, "rows")).toBe(0);
  });
});
