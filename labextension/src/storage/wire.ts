/** What the session's server answers, made into what the panel works with. */
import type { Entry, Hit, Kind, Page, Row, Taken, Task } from "./shapes";

const KINDS: Readonly<Record<string, Kind>> = {
  d: "folder",
  f: "file",
  k: "folder link",
  l: "file link",
  x: "broken link",
  o: "other",
};

export function kindOf(letter: string | undefined): Kind {
  return KINDS[letter ?? ""] ?? "gone";
}

/** The answer to a question for rows: one array for each column. */
export interface WirePage {
  writable: boolean;
  generation: string;
  changed: boolean;
  total: number;
  row: number | null;
  names: string[];
  types: string;
  sizes: number[];
  modified: number[];
  owners: string[];
  groups: string[];
  owner: number[];
  group: number[];
  links: Record<string, string>;
}

export function pageOf(wire: WirePage): Page {
  const rows: Row[] = wire.names.map((name, at) => ({
    name,
    kind: kindOf(wire.types[at]),
    size: wire.sizes[at] ?? 0,
    modified: wire.modified[at] ?? 0,
    owner: wire.owners[wire.owner[at] ?? -1] ?? "",
    group: wire.groups[wire.group[at] ?? -1] ?? "",
    leads: wire.links[at] ?? "",
  }));
  return {
    generation: wire.generation,
    changed: wire.changed,
    writable: wire.writable,
    total: wire.total,
    found: wire.row,
    rows,
  };
}

export interface WireEntry {
  area: string;
  path: string;
  type: string;
}

export function entryOf(wire: WireEntry): Entry {
  return { area: wire.area, path: wire.path, kind: kindOf(wire.type) };
}

export interface WireTask extends Omit<Task, "why" | "hits"> {
  error: { message: string } | null;
  hits: (Omit<Hit, "kind"> & { type: string })[];
}

export function taskOf({ error, hits, ...rest }: WireTask): Task {
  return {
    ...rest,
    why: error?.message ?? "",
    hits: hits.map(({ type, ...hit }) => ({ ...hit, kind: kindOf(type) })),
  };
}

/** Read which names a refusal says are taken; null: it does not say. */
export function takenOf({ names, more }: Readonly<Record<string, unknown>>): Taken | null {
  const known = Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  if (known.length === 0) {
    return null;
  }
  return { names: known, more: typeof more === "number" && more > 0 ? more : 0 };
}

/**
 * Write text for an address.
 *
 * Bytes of a name that are no UTF-8 come as lone surrogates, as Python reads them, and go back as
 * the bytes they are; the browser's own function knows no way to write them.
 */
export function encoded(text: string): string {
  let written = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0xd800 || code > 0xdfff) {
      written += encodeURIComponent(character);
    } else {
      written +=
        code >= 0xdc80 && code <= 0xdcff ? `%${(code - 0xdc00).toString(16)}` : "%EF%BF%BD";
    }
  }
  return written;
}

/** Write the query of an address. */
export function queryOf(values: Readonly<Record<string, string | number | undefined>>): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) {
      parts.push(`${name}=${encoded(String(value))}`);
    }
  }
  return parts.join("&");
}
