/** The state of the panel's storage section: where one is, what is marked, what is looked for. */
import { Poll } from "@lumino/polling";
import { Signal, type ISignal } from "@lumino/signaling";
import type { IDisposable } from "@lumino/disposable";

import type { StorageApi } from "./api";
import { Folder } from "./folder";
import { Search } from "./search";
import {
  below,
  inside,
  isFolder,
  nameOf,
  parentOf,
  type Area,
  type Column,
  type Look,
  type Place,
  type Usage,
} from "./shapes";

/** How often a folder that is looked at is looked at again. */
const FOLDER_EVERY = 5_000;

/** How often quotas are asked for; file systems say them with a delay anyway. */
const AREAS_EVERY = 60_000;

/** Rows that can be marked at once by keys and clicks. */
export const MOST_MARKED = 5_000;

/** The area whose folders have limits of their own. */
const PROJECTS = "projects";

/** What is kept of the panel when a page is loaded again. */
export interface Remembered {
  area: string;
  path: string;
  sort: Column;
  descending: boolean;
}

const PLAIN: Look = { sort: "name", descending: false, filter: "", hidden: false };

export class StorageModel implements IDisposable {
  readonly api: StorageApi;
  readonly #changed = new Signal<this, void>(this);
  readonly #polls: Poll[];
  readonly #remember: (state: Remembered) => void;
  #areas: readonly Area[] | null = null;
  #areasError: Error | null = null;
  /** How full each area and each project is, as far as it was looked at. */
  readonly #usages = new Map<string, Usage>();
  /** What of that is being found out, which takes a second where it has to be counted. */
  readonly #counting = new Set<string>();
  #folder: Folder | null = null;
  #search: Search | null = null;
  #look: Look = PLAIN;
  #cursor = 0;
  #anchor = 0;
  #marked = new Set<string>();
  #seen: readonly [number, number] = [0, 1];
  /** The name that the cursor goes to, once its row is there. */
  #wanted = "";
  #typing = false;
  #revision = 0;
  /** Where one was; undefined: it has not begun. */
  #last: Remembered | null | undefined = undefined;
  #shown = false;
  #disposed = false;

  constructor(api: StorageApi, remember: (state: Remembered) => void) {
    this.api = api;
    this.#remember = remember;
    const standby = (): boolean => !this.#shown || document.hidden;
    const poll = (name: string, interval: number, factory: () => Promise<void>): Poll =>
      new Poll({
        name: `canfar:storage-${name}`,
        auto: false,
        factory,
        frequency: { interval, backoff: 2, max: 10 * interval },
        standby,
      });
    this.#polls = [
      poll("areas", AREAS_EVERY, () => this.#loadAreas()),
      poll("folder", FOLDER_EVERY, () => this.refresh()),
    ];
  }

  get changed(): ISignal<this, void> {
    return this.#changed;
  }

  get revision(): number {
    return this.#revision;
  }

  get areas(): readonly Area[] | null {
    return this.#areas;
  }

  get areasError(): Error | null {
    return this.#areasError;
  }

  /** How full it is where one is; null: not asked yet. */
  get usage(): Usage | null {
    return this.#usages.get(this.#whole()?.key ?? "") ?? null;
  }

  get folder(): Folder | null {
    return this.#folder;
  }

  get search(): Search | null {
    return this.#search;
  }

  get look(): Look {
    return this.#look;
  }

  get cursor(): number {
    return this.#cursor;
  }

  get marked(): ReadonlySet<string> {
    return this.#marked;
  }

  get place(): Place | null {
    return this.#folder?.place ?? null;
  }

  /** The area that one is in. */
  get area(): Area | null {
    return this.#areas?.find((one) => one.id === this.place?.area) ?? null;
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }

  dispose(): void {
    if (this.#disposed) {
      return;
    }
    this.#disposed = true;
    for (const poll of this.#polls) {
      poll.dispose();
    }
    this.#folder?.dispose();
    this.#search?.dispose();
    Signal.clearData(this);
  }

  /** Begin, where one was the last time. */
  begin(last: Remembered | null): void {
    this.#last = last;
    if (last) {
      this.#look = { ...PLAIN, sort: last.sort, descending: last.descending };
    }
    for (const poll of this.#polls) {
      void poll.start();
    }
  }

  /** Say whether anybody can see the panel; nothing is asked for while nobody can. */
  show(shown: boolean): void {
    if (shown === this.#shown) {
      return;
    }
    this.#shown = shown;
    if (shown && this.#last !== undefined) {
      for (const poll of this.#polls) {
        void poll.refresh();
      }
    }
  }

  /** Open a folder; the cursor goes to a name there, if one is given. */
  go({ area, path }: Place, name = ""): void {
    const place = { area, path };
    const before = this.#folder;
    const same = before?.place.area === place.area && before.place.path === place.path;
    if (!same) {
      this.#look = { ...this.#look, filter: "" };
    }
    this.#wanted = name;
    this.#open(place);
    if (this.usage === null) {
      void this.#loadUsage();
    }
    this.#remember({ ...place, sort: this.#look.sort, descending: this.#look.descending });
  }

  /**
   * Open what a path that was typed leads to: an absolute one, or one from where one is.
   *
   * @throws StorageError when there is nothing, or nothing that may be seen
   */
  async goTo(text: string): Promise<void> {
    const area = this.area;
    const place = this.place;
    const from = area && place ? inside(area.path, place.path) : "";
    const entry = await this.api.entryAt(text.startsWith("/") ? text : inside(from, text));
    if (isFolder(entry.kind)) {
      this.go({ area: entry.area, path: entry.path });
    } else {
      this.go({ area: entry.area, path: parentOf(entry.path) }, nameOf(entry.path));
    }
  }

  /** Whether a path is being typed. */
  get typing(): boolean {
    return this.#typing;
  }

  typePath(typing = true): void {
    this.#typing = typing;
    this.#tell();
  }

  /** Open the folder that this one is in. */
  up(): void {
    const place = this.place;
    if (place && place.path !== "") {
      this.go({ area: place.area, path: parentOf(place.path) }, nameOf(place.path));
    }
  }

  /** Sort by a column; by the same one again: the other way round. */
  sortBy(sort: Column): void {
    const descending = this.#look.sort === sort ? !this.#look.descending : sort !== "name";
    this.#relook({ ...this.#look, sort, descending });
    const place = this.place;
    if (place) {
      this.#remember({ ...place, sort, descending });
    }
  }

  /** Show names that begin with a dot, or hide them. */
  toggleHidden(): void {
    this.#relook({ ...this.#look, hidden: !this.#look.hidden });
  }

  /** Show the names that have a part. */
  filter(filter: string): void {
    if (filter !== this.#look.filter) {
      this.#relook({ ...this.#look, filter });
    }
  }

  /** Look for a part of a name in everything below this folder. */
  find(text: string): void {
    const place = this.place;
    this.#search?.dispose();
    this.#search =
      place && text !== "" ? new Search(this.api, place, text, this.#look.hidden) : null;
    this.#search?.changed.connect(this.#tell, this);
    this.#search?.begin();
    this.#tell();
  }

  /** Say which rows are in the document. */
  see(first: number, end: number): void {
    this.#seen = [first, end];
    this.#folder?.ensure(first, end);
  }

  async refresh(): Promise<void> {
    const folder = this.#folder;
    if (folder && !folder.busy) {
      await folder.refresh(...this.#seen, true);
      // Growing intervals are for what is out of reach, not for what it says.
      if (folder.error && !folder.isDisposed) {
        throw folder.error;
      }
    }
  }

  /** Look again, as something was changed here; the cursor goes to a name, if one is given. */
  async changedHere(name = ""): Promise<void> {
    this.#marked.clear();
    this.#wanted = name;
    if (name !== "" && this.#folder) {
      await this.#locate(this.#folder, name);
    }
    await this.#folder?.refresh(...this.#seen);
    void this.#polls[0]?.refresh();
  }

  /** Move the cursor to a row, marking all from where it began with `extend`. */
  move(to: number, extend = false): void {
    const total = this.#folder?.total ?? 0;
    const cursor = Math.max(0, Math.min(to, total - 1));
    this.#cursor = cursor;
    if (extend) {
      this.#markFrom(this.#anchor, cursor);
    } else {
      this.#anchor = cursor;
      this.#marked.clear();
    }
    this.#tell();
  }

  /** Mark a row, or take its mark away. */
  toggle(index: number): void {
    const name = this.#folder?.row(index)?.name;
    if (name === undefined) {
      return;
    }
    this.#cursor = index;
    this.#anchor = index;
    if (!this.#marked.delete(name) && this.#marked.size < MOST_MARKED) {
      this.#marked.add(name);
    }
    this.#tell();
  }

  /** Mark everything that the folder shows, as far as that many can be marked. */
  async markAll(): Promise<void> {
    const folder = this.#folder;
    if (folder) {
      const from = { offset: 0, limit: MOST_MARKED, generation: folder.generation };
      const { rows } = await this.api.page(folder.place, folder.look, from);
      if (folder === this.#folder) {
        this.#marked = new Set(rows.map((row) => row.name));
        this.#tell();
      }
    }
  }

  /** Give the names that an action is for: what is marked, else what the cursor is at. */
  chosen(): string[] {
    if (this.#marked.size > 0) {
      return [...this.#marked];
    }
    const row = this.#folder?.row(this.#cursor);
    return row ? [row.name] : [];
  }

  /** Give the path of a name in the folder that is open. */
  at(name: string): Place | null {
    const place = this.place;
    return place && { area: place.area, path: below(place.path, name) };
  }

  #markFrom(one: number, other: number): void {
    const first = Math.min(one, other);
    const end = Math.min(Math.max(one, other), first + MOST_MARKED - 1);
    this.#marked.clear();
    for (let index = first; index <= end; index += 1) {
      const name = this.#folder?.row(index)?.name;
      if (name !== undefined) {
        this.#marked.add(name);
      }
    }
  }

  #relook(look: Look): void {
    this.#look = look;
    const place = this.place;
    if (place) {
      this.#open(place);
    }
  }

  #open(place: Place): void {
    this.#search?.dispose();
    this.#search = null;
    this.#folder?.dispose();
    const folder = new Folder(this.api, place, this.#look);
    this.#folder = folder;
    this.#cursor = 0;
    this.#anchor = 0;
    this.#marked.clear();
    folder.changed.connect(this.#arrived, this);
    folder.ensure(0, 1);
    if (this.#wanted !== "") {
      void this.#locate(folder, this.#wanted);
    }
    this.#tell();
  }

  #arrived(folder: Folder): void {
    const total = folder.total ?? 0;
    if (this.#wanted !== "") {
      const at = folder.find(this.#wanted);
      if (at >= 0) {
        this.#cursor = at;
        this.#anchor = at;
        this.#wanted = "";
      }
    }
    this.#cursor = Math.max(0, Math.min(this.#cursor, total - 1));
    this.#tell();
  }

  /** Move the cursor to a name that may be far from what is loaded. */
  async #locate(folder: Folder, name: string): Promise<void> {
    const at = await folder.locate(name).catch(() => -1);
    if (at >= 0 && folder === this.#folder && this.#wanted === name) {
      this.#wanted = "";
      this.#cursor = at;
      this.#anchor = at;
      this.#tell();
    }
  }

  async #loadAreas(): Promise<void> {
    try {
      this.#areas = await this.api.areas();
      this.#areasError = null;
      await (this.#folder ? this.#loadUsage() : this.#openFirst(this.#areas));
    } catch (error) {
      this.#areasError = error instanceof Error ? error : new Error(String(error));
      throw this.#areasError;
    } finally {
      this.#tell();
    }
  }

  /** Open what was open last, if it is there still; else the first of the areas. */
  async #openFirst(areas: readonly Area[]): Promise<void> {
    const last = this.#last;
    const [first] = areas;
    if (last && areas.some((one) => one.id === last.area)) {
      const { area, path } = last;
      const there = path === "" || (await this.#isFolder({ area, path }));
      this.go({ area, path: there ? path : "" });
    } else if (first) {
      this.go({ area: first.id, path: "" });
    }
  }

  async #isFolder(place: Place): Promise<boolean> {
    try {
      return isFolder((await this.api.entry(place)).kind);
    } catch {
      return false;
    }
  }

  /** What the limit of the open folder is of: in projects it is the project, else the area. */
  #whole(): (Place & { key: string }) | null {
    const place = this.place;
    if (!place) {
      return null;
    }
    const path = place.area === PROJECTS ? (place.path.split("/")[0] ?? "") : "";
    return { area: place.area, path, key: `${place.area}/${path}` };
  }

  async #loadUsage(): Promise<void> {
    const whole = this.#whole();
    // Each more would hold one of the few connections that a browser has, and count all anew.
    if (whole && !this.#counting.has(whole.key)) {
      const { area, path, key } = whole;
      this.#counting.add(key);
      try {
        this.#usages.set(key, await this.api.usage({ area, path }));
      } catch {
        // What was known is of no use when it may be old: a full home is found out by writing.
        this.#usages.set(key, {
          used: null,
          limit: null,
          free: null,
          of: "unknown",
          complete: false,
        });
      }
      this.#counting.delete(key);
      this.#tell();
    }
  }

  #tell(): void {
    if (!this.#disposed) {
      this.#revision += 1;
      this.#changed.emit();
    }
  }
}
