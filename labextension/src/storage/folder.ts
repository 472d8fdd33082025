/** One folder as it is looked at: pages of rows, fetched as they come into view. */
import type { IDisposable } from "@lumino/disposable";
import { Signal, type ISignal } from "@lumino/signaling";

import type { Look, Page, Place, Row } from "./shapes";

/** Rows fetched at once; a few screens of them. */
export const PAGE_ROWS = 250;

/** Pages kept; the others are fetched again when they are looked at. */
const PAGES_KEPT = 40;

/** Which rows are wanted: by number, or those around a name. */
export interface From {
  offset: number;
  limit: number;
  /** The state of the folder they are to be of; empty: as it is now. */
  generation: string;
  around?: string;
  /** Nobody did anything: it is looked at again by itself. */
  unasked?: boolean;
}

/** Fetches pages; the rest of the panel knows nothing of how. */
export interface Pages {
  page(place: Place, look: Look, from: From, signal?: AbortSignal): Promise<Page>;
}

/** A folder, open in the panel. */
export class Folder implements IDisposable {
  readonly place: Place;
  readonly look: Look;
  readonly #source: Pages;
  readonly #pages = new Map<number, Row[]>();
  readonly #asked = new Map<number, AbortController>();
  /** Asked for in vain; asked for again when somebody looks again, and not with every drawing. */
  readonly #failed = new Set<number>();
  readonly #changed = new Signal<this, void>(this);
  #generation = "";
  #total: number | null = null;
  #writable = false;
  #error: Error | null = null;
  #revision = 0;
  #disposed = false;

  constructor(source: Pages, place: Place, look: Look) {
    this.#source = source;
    this.place = place;
    this.look = look;
  }

  get changed(): ISignal<this, void> {
    return this.#changed;
  }

  /** Grows with every change. */
  get revision(): number {
    return this.#revision;
  }

  /** The state that the rows are of. */
  get generation(): string {
    return this.#generation;
  }

  /** How many rows there are; null: not known yet. */
  get total(): number | null {
    return this.#total;
  }

  /** Why the last attempt failed; what was fetched before is still shown. */
  get error(): Error | null {
    return this.#error;
  }

  get writable(): boolean {
    return this.#writable;
  }

  get busy(): boolean {
    return this.#asked.size > 0;
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }

  dispose(): void {
    if (this.#disposed) {
      return;
    }
    this.#disposed = true;
    for (const asked of this.#asked.values()) {
      asked.abort();
    }
    this.#asked.clear();
    Signal.clearData(this);
  }

  row(index: number): Row | undefined {
    return this.#pages.get(Math.floor(index / PAGE_ROWS))?.[index % PAGE_ROWS];
  }

  /** Find a row that is loaded by its name; -1: it is not. */
  find(name: string): number {
    for (const [page, rows] of this.#pages) {
      const at = rows.findIndex((row) => row.name === name);
      if (at >= 0) {
        return page * PAGE_ROWS + at;
      }
    }
    return -1;
  }

  /** See to it that rows are there, and stop waiting for pages that nobody looks at any more. */
  ensure(first: number, end: number): void {
    const from = Math.floor(first / PAGE_ROWS);
    const to = Math.floor(Math.max(first, end - 1) / PAGE_ROWS);
    for (const [page, asked] of [...this.#asked]) {
      if (page < from - 1 || page > to + 1) {
        asked.abort();
        this.#asked.delete(page);
      }
    }
    for (let page = from; page <= to; page += 1) {
      const rows = this.#pages.get(page);
      if (rows) {
        // What was looked at last is forgotten last.
        this.#pages.delete(page);
        this.#pages.set(page, rows);
      } else if (!this.#asked.has(page) && !this.#failed.has(page)) {
        // Of the same state of the folder, even if files come and go while somebody scrolls.
        void this.#fetch(page, this.#generation);
      }
    }
  }

  /** Find where a name is in the whole order; -1: nowhere. */
  async locate(name: string): Promise<number> {
    const from = { offset: 0, limit: 1, generation: "", around: name };
    return (await this.#source.page(this.place, this.look, from)).found ?? -1;
  }

  /** Look again at what is seen; rows stay until their successors are there. */
  async refresh(first = 0, end = 1, unasked = false): Promise<void> {
    const from = Math.floor(first / PAGE_ROWS);
    const to = Math.floor(Math.max(first, end - 1) / PAGE_ROWS);
    const pages: Promise<void>[] = [];
    this.#failed.clear();
    for (let page = from; page <= to; page += 1) {
      this.#asked.get(page)?.abort();
      pages.push(this.#fetch(page, "", unasked));
    }
    await Promise.all(pages);
  }

  async #fetch(page: number, generation: string, unasked = false): Promise<void> {
    const asked = new AbortController();
    this.#asked.set(page, asked);
    try {
      const from = { offset: page * PAGE_ROWS, limit: PAGE_ROWS, generation, unasked };
      const got = await this.#source.page(this.place, this.look, from, asked.signal);
      if (asked.signal.aborted) {
        return;
      }
      this.#take(page, got);
    } catch (error) {
      if (asked.signal.aborted) {
        return;
      }
      this.#failed.add(page);
      this.#error = error instanceof Error ? error : new Error(String(error));
    }
    this.#asked.delete(page);
    this.#tell();
  }

  #take(page: number, got: Page): void {
    if (got.generation !== this.#generation) {
      // Rows of another state of the folder do not belong beside these.
      this.#pages.clear();
      this.#generation = got.generation;
    }
    this.#error = null;
    this.#total = got.total;
    this.#writable = got.writable;
    this.#pages.delete(page);
    this.#pages.set(page, got.rows);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= PAGES_KEPT) {
        break;
      }
      this.#pages.delete(oldest);
    }
  }

  #tell(): void {
    this.#revision += 1;
    this.#changed.emit();
  }
}
