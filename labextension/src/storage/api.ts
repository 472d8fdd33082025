/** The session's own server, as far as storage is concerned; the one place that asks it. */
import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";

import type { From, Pages } from "./folder";
import type {
  Area,
  Conflict,
  Entry,
  Header,
  Job,
  Look,
  Page,
  Place,
  Table,
  Task,
  Usage,
} from "./shapes";
import {
  entryOf,
  pageOf,
  queryOf,
  taskOf,
  type WireEntry,
  type WirePage,
  type WireTask,
} from "./wire";

/** A refusal or a failure, with a sentence to show. */
export class StorageError extends Error {
  /**
   * What a program tells errors apart by; `unreachable` when there was no answer, and `away` when
   * only what is before the session's server has answered.
   */
  readonly code: string;
  readonly body: Readonly<Record<string, unknown>>;

  constructor(message: string, code: string, body: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.code = code;
    this.body = body;
  }
}

/** Asked by itself, which is no use of the session that would keep it from being idle. */
const UNASKED = { no_track_activity: 1 };

/** With what the hub and its proxy answer where a session's server does not; that has a code. */
const AWAY: ReadonlySet<number> = new Set([424, 502, 503, 504]);

/** Seconds that the server may wait for news before it answers. */
const WAIT = 20;

export class StorageApi implements Pages {
  readonly #settings = ServerConnection.makeSettings();
  readonly #trans: TranslationBundle;

  constructor(trans: TranslationBundle) {
    this.#trans = trans;
  }

  async areas(): Promise<Area[]> {
    const answer = await this.#get<{ areas: Area[] }>(`storage/areas?${queryOf(UNASKED)}`);
    return answer.areas;
  }

  async usage(place: Place): Promise<Usage> {
    return this.#get<Usage>(`storage/usage?${queryOf({ ...place, ...UNASKED })}`);
  }

  async page(place: Place, look: Look, from: From, signal?: AbortSignal): Promise<Page> {
    const query = queryOf({
      ...place,
      sort: look.sort,
      order: look.descending ? "desc" : "asc",
      filter: look.filter === "" ? undefined : look.filter,
      hidden: look.hidden ? 1 : undefined,
      offset: from.around === undefined ? from.offset : undefined,
      around: from.around,
      limit: from.limit,
      generation: from.generation === "" ? undefined : from.generation,
      ...(from.unasked ? UNASKED : {}),
    });
    return pageOf(await this.#get<WirePage>(`storage/list?${query}`, signal));
  }

  async entry(place: Place): Promise<Entry> {
    return entryOf(await this.#get<WireEntry>(`storage/entry?${queryOf({ ...place })}`));
  }

  /** Find what an absolute path of the session is. */
  async entryAt(at: string): Promise<Entry> {
    return entryOf(await this.#get<WireEntry>(`storage/entry?${queryOf({ at })}`));
  }

  async makeFolder(place: Place): Promise<void> {
    await this.#send("POST", "storage/folder", { ...place });
  }

  async rename(place: Place, name: string): Promise<void> {
    await this.#send("POST", "storage/rename", { ...place, name });
  }

  async search(place: Place, text: string, hidden: boolean): Promise<Task> {
    return this.#begin({ what: "search", ...place, text, hidden });
  }

  async measure(area: string, paths: readonly string[]): Promise<Task> {
    return this.#begin({ what: "measure", area, paths });
  }

  async remove(area: string, paths: readonly string[]): Promise<Task> {
    return this.#begin({ what: "delete", area, paths });
  }

  /** Wait until a task has something new to say. */
  async task(id: string, after: number, signal?: AbortSignal): Promise<Task> {
    const query = queryOf({ after, wait: WAIT });
    return taskOf(await this.#get<WireTask>(`storage/tasks/${id}?${query}`, signal));
  }

  async cancelTask(id: string): Promise<void> {
    await this.#send("DELETE", `storage/tasks/${id}`);
  }

  async jobs(
    after: string | number | null,
    wait: number,
    signal?: AbortSignal,
  ): Promise<{ version: string | number; transfers: Job[] }> {
    const query = queryOf(after === null ? UNASKED : { after, wait, ...UNASKED });
    return this.#get(`transfers?${query}`, signal);
  }

  /** Say how one is; asked by itself, however long its end takes. */
  async job(id: string): Promise<Job> {
    return this.#get<Job>(`transfers/${id}?${queryOf(UNASKED)}`);
  }

  async copy(
    kind: "copy" | "move",
    from: { area: string; paths: readonly string[] },
    to: Place,
    conflict: Conflict,
  ): Promise<Job> {
    return this.#send("POST", "transfers", { kind, from, to, conflict });
  }

  async upload(to: Place, file: File, conflict: Conflict): Promise<Job> {
    const { name, size, lastModified: modified } = file;
    return this.#send("POST", "transfers", { kind: "upload", to, name, size, modified, conflict });
  }

  /** Send some bytes of an upload; gives how the upload is then. */
  async content(id: string, offset: number, bytes: Blob, digest: string): Promise<Job> {
    return this.#call<Job>(`transfers/${id}/content`, {
      method: "PUT",
      body: bytes,
      headers: {
        "Content-Type": "application/octet-stream",
        "Upload-Offset": String(offset),
        ...(digest === "" ? {} : { "Content-Digest": `sha-256=:${digest}:` }),
      },
    });
  }

  /** Give the SHA-256 of some bytes that were received of an upload, in hexadecimal. */
  async digest(id: string, start: number, end: number): Promise<string> {
    const query = queryOf({ start, end });
    return (await this.#get<{ sha256: string }>(`transfers/${id}/digest?${query}`)).sha256;
  }

  async act(id: string, what: "pause" | "resume" | "cancel"): Promise<Job> {
    return this.#send("POST", `transfers/${id}/${what}`);
  }

  /** Take one that has ended from the list, or all that have. */
  async forget(id = ""): Promise<void> {
    await this.#send("DELETE", id === "" ? "transfers" : `transfers/${id}`);
  }

  async header(place: Place, hdu: number, first: number): Promise<Header> {
    return this.#get<Header>(`previews/fits?${queryOf({ ...place, hdu, first })}`);
  }

  async table(place: Place, hdu: number, rows: number): Promise<Table> {
    return this.#get<Table>(`previews/table?${queryOf({ ...place, hdu, rows })}`);
  }

  async thumbnail(place: Place, hdu: number, size: number): Promise<Blob> {
    const query = queryOf({ ...place, hdu, size });
    return (await this.#answer(`previews/thumbnail?${query}`, {})).blob();
  }

  /** The address of a file's bytes, for the browser's own downloads. */
  address(place: Place): string {
    return this.#url(`files?${queryOf({ ...place })}`);
  }

  #url(path: string): string {
    const [way = "", query = ""] = path.split("?", 2);
    const url = URLExt.join(this.#settings.baseUrl, "canfar", way);
    return query === "" ? url : `${url}?${query}`;
  }

  async #begin(body: object): Promise<Task> {
    return taskOf(await this.#send<WireTask>("POST", "storage/tasks", body));
  }

  async #get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.#call<T>(path, signal ? { signal } : {});
  }

  async #send<T>(method: string, path: string, body?: object): Promise<T> {
    const headers = { "Content-Type": "application/json" };
    return this.#call<T>(
      path,
      body ? { method, headers, body: JSON.stringify(body) } : { method, headers },
    );
  }

  async #call<T>(path: string, init: RequestInit): Promise<T> {
    const answer = await this.#answer(path, init);
    return (answer.status === 204 ? undefined : await answer.json()) as T;
  }

  async #answer(path: string, init: RequestInit): Promise<Response> {
    let answer: Response;
    try {
      answer = await ServerConnection.makeRequest(this.#url(path), init, this.#settings);
    } catch {
      throw this.#silent("unreachable");
    }
    if (answer.ok) {
      return answer;
    }
    const body = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
    const code = typeof body.code === "string" ? body.code : null;
    if (code === null && AWAY.has(answer.status)) {
      throw this.#silent("away");
    }
    const message = typeof body.message === "string" ? body.message : "";
    if (answer.status === 404 && message === "") {
      throw new StorageError(
        this.#trans.__(
          "This session's server has no part for storage; JupyterLab's own has files.",
        ),
        "no-storage",
      );
    }
    throw new StorageError(
      message || this.#trans.__("The session could not do it (%1).", answer.status),
      code ?? "failed",
      body,
    );
  }

  #silent(code: "unreachable" | "away"): StorageError {
    return new StorageError(
      this.#trans.__("The session does not answer. It is asked again by itself."),
      code,
    );
  }
}
