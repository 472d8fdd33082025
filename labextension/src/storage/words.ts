/** How sizes, times and lengths of time are written, and what is copied for use in Python. */
import type { TranslationBundle } from "@jupyterlab/translation";

const STEP = 1024;

/** Write a number as people read it: three digits that count, and no more. */
function short(value: number): string {
  return value < 9.95 ? value.toFixed(1).replace(/\.0$/, "") : String(Math.round(value));
}

/** Write a number of bytes; a GB has 2³⁰ of them, as everywhere on the platform. */
export function sizeOf(bytes: number, trans: TranslationBundle): string {
  const steps: ((value: string) => string)[] = [
    (value) => trans.__("%1 B", value),
    (value) => trans.__("%1 KB", value),
    (value) => trans.__("%1 MB", value),
    (value) => trans.__("%1 GB", value),
    (value) => trans.__("%1 TB", value),
  ];
  let value = Math.max(0, bytes);
  let step = 0;
  // What rounds to 1024 of a unit is one of the next.
  while (step < steps.length - 1 && (step === 0 ? value >= STEP : Math.round(value) >= STEP)) {
    value /= STEP;
    step += 1;
  }
  return steps[step]?.(step === 0 ? String(value) : short(value)) ?? "";
}

/**
 * Write a count with marks between its thousands; in a plural it is %2, as %1 is the bare number.
 */
export function countOf(value: number, locale: string): string {
  return new Intl.NumberFormat(locale).format(value);
}

/** Write how long something takes, in the two largest units that matter. */
export function durationOf(seconds: number, trans: TranslationBundle): string {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) {
    return trans.__("%1 s", whole);
  }
  const minutes = Math.round(whole / 60);
  if (minutes < 60) {
    return trans.__("%1 min", minutes);
  }
  return trans.__("%1 h %2 min", Math.floor(minutes / 60), minutes % 60);
}

/** Give a locale that the browser knows; translations call theirs `fr_CA`, `default` or `C`. */
export function localeOf(wanted: string): string {
  // No more than language and country: of some variants numbers are written without marks.
  const [, language, country] = /^([a-z]{2,3})(?![a-z])(?:[-_]([A-Z]{2}))?/.exec(wanted) ?? [];
  if (language === undefined || (language === "en" && country === undefined)) {
    return "en-GB";
  }
  const locale = country === undefined ? language : `${language}-${country}`;
  return Intl.DateTimeFormat.supportedLocalesOf(locale)[0] ?? "en-GB";
}

/** Writes when files were changed: the time today, the day this year, else month and year. */
export class Calendar {
  readonly #clock: Intl.DateTimeFormat;
  readonly #day: Intl.DateTimeFormat;
  readonly #month: Intl.DateTimeFormat;
  readonly #full: Intl.DateTimeFormat;

  constructor(locale: string) {
    this.#clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
    this.#day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
    this.#month = new Intl.DateTimeFormat(locale, { month: "short", year: "numeric" });
    this.#full = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
  }

  short(seconds: number, now: Date): string {
    const at = new Date(seconds * 1000);
    if (Number.isNaN(at.getTime())) {
      return "";
    }
    if (at.toDateString() === now.toDateString()) {
      return this.#clock.format(at);
    }
    return (at.getFullYear() === now.getFullYear() ? this.#day : this.#month).format(at);
  }

  full(seconds: number): string {
    const at = new Date(seconds * 1000);
    return Number.isNaN(at.getTime()) ? "" : this.#full.format(at);
  }
}

/** What a file is read with, by its name. */
export type Reader = "fits" | "table" | "other";

const FITS = /\.(fits|fit|fts)(\.gz|\.fz)?$/i;
const TABLE = /\.(csv|tsv|ecsv)$/i;

export function readerOf(name: string): Reader {
  if (FITS.test(name)) {
    return "fits";
  }
  return TABLE.test(name) ? "table" : "other";
}

/** Write a string as Python does; JSON's escapes are Python's too. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

/** Give the lines of Python that open a path. */
export function snippetOf(path: string, folder: boolean): string {
  if (folder) {
    return `from pathlib import Path\n\nfiles = sorted(Path(${quoted(path)}).iterdir())\n`;
  }
  switch (readerOf(path)) {
    case "fits":
      return (
        "from astropy.io import fits\n\n" +
        `with fits.open(${quoted(path)}) as hdus:\n    hdus.info()\n    header = hdus[0].header\n`
      );
    case "table":
      return `from astropy.table import Table\n\ntable = Table.read(${quoted(path)})\n`;
    case "other":
      return `from pathlib import Path\n\npath = Path(${quoted(path)})\n`;
  }
}
