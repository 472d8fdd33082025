import { nullTranslator } from "@jupyterlab/translation";

import { Calendar, countOf, durationOf, localeOf, readerOf, sizeOf, snippetOf } from "../words";

const trans = nullTranslator.load("canfar_lab");

describe("sizeOf", () => {
  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1 KB"],
    [4_404_019, "4.2 MB"],
    [10 * 1024 ** 3, "10 GB"],
    [6.1 * 1024 ** 3, "6.1 GB"],
    [1024 ** 3 - 1, "1 GB"],
    [9.96 * 1024 ** 2, "10 MB"],
    [2000 * 1024 ** 4, "2000 TB"],
  ])("writes %d as %s", (bytes, text) => expect(sizeOf(bytes, trans)).toBe(text));
});

describe("times", () => {
  const calendar = new Calendar("en-GB");
  const now = new Date(2026, 10, 27, 15, 0);
  const at = (...parts: [number, number, number, number, number]): number =>
    new Date(...parts).getTime() / 1000;

  it("shows what tells most: the time, the day, or the month", () => {
    expect(calendar.short(at(2026, 10, 27, 9, 5), now)).toBe("09:05");
    expect(calendar.short(at(2026, 1, 12, 9, 5), now)).toBe("12 Feb");
    expect(calendar.short(at(2019, 1, 12, 9, 5), now)).toBe("Feb 2019");
    expect(calendar.short(Number.NaN, now)).toBe("");
  });

  it("writes lengths in the units that matter", () => {
    expect(durationOf(0.2, trans)).toBe("1 s");
    expect(durationOf(59.6, trans)).toBe("1 min");
    expect(durationOf(3_599, trans)).toBe("1 h 0 min");
    expect(durationOf(9_000, trans)).toBe("2 h 30 min");
  });

  it("takes a locale that the browser knows", () => {
    expect(localeOf("fr_CA")).toBe("fr-CA");
    expect(localeOf("en")).toBe("en-GB");
    expect(localeOf("default")).toBe("en-GB");
    expect(localeOf("en-US-posix")).toBe("en-US");
    expect(localeOf("C.UTF-8")).toBe("en-GB");
    expect(countOf(100_000, "en-GB")).toBe("100,000");
  });
});

describe("files", () => {
  it.each([
    ["m31.fits", "fits"],
    ["M31.FIT.GZ", "fits"],
    ["m31.fits.fz", "fits"],
    ["stars.csv", "table"],
    ["fits", "other"],
    ["notes.txt", "other"],
  ])("reads %s as %s", (name, reader) => expect(readerOf(name)).toBe(reader));

  it("writes lines of Python in which a path is a path, whatever is in it", () => {
    expect(snippetOf("/arc/home/ada/m31.fits", false)).toContain(
      'with fits.open("/arc/home/ada/m31.fits") as hdus:',
    );
    expect(snippetOf('/a/"); import os\n.csv', false)).toContain(
      'Table.read("/a/\\"); import os\\n.csv")',
    );
    expect(snippetOf("/scratch", true)).toContain("iterdir");
  });
});
