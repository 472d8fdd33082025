/** Copies, moves, uploads and downloads: what the session's server does, and what this page sends. */
import type { IDisposable } from "@lumino/disposable";
import { Signal, type ISignal } from "@lumino/signaling";

import type { TranslationBundle } from "@jupyterlab/translation";

import { StorageError, type StorageApi } from "./api";
import type { Conflict, Job, Place } from "./shapes";
import { send, sameFile, type Sending } from "./upload";

/** Uploads that send at the same time; more would only share the same line. */
const AT_ONCE = 2;

/** Seconds that the server may wait for news while something goes on. */
const WAIT = 20;

/** How often to look when nothing goes on: another tab may have begun something. */
const LOOK_EVERY = 30_000;

/** How long to wait before asking again after a failure, growing up to the other. */
const AGAIN = 1_000;
const AGAIN_AT_MOST = 30_000;

const ENDED: ReadonlySet<Job["state"]> = new Set(["done", "failed", "cancelled"]);

export function hasEnded(job: Job): boolean {
  return ENDED.has(job.state);
}

/** Whether a job goes on by itself, so that its numbers change. */
export function goesOn(job: Job): boolean {
  return !hasEnded(job) && job.state !== "paused";
}

export class Transfers implements IDisposable {
  readonly #api: StorageApi;
  readonly #trans: TranslationBundle;
  readonly #changed = new Signal<this, void>(this);
  readonly #ended = new Signal<this, Job>(this);
  readonly #files = new Map<string, File>();
  readonly #sending = new Map<string, Sending>();
  readonly #problems = new Map<string, string>();
  readonly #queue: string[] = [];
  #jobs: readonly Job[] = [];
  #version: string | number | null = null;
  #error: Error | null = null;
  #shown = false;
  #asking: AbortController | null = null;
  #timer = 0;
  #again = AGAIN;
  #disposed = false;

  constructor(api: StorageApi, trans: TranslationBundle) {
    this.#api = api;
    this.#trans = trans;
    window.addEventListener("beforeunload", this.#leave);
    document.addEventListener("visibilitychange", this.#see);
  }

  get changed(): ISignal<this, void> {
    return this.#changed;
  }

  /** Told once for each job that comes to its end while somebody looks. */
  get ended(): ISignal<this, Job> {
    return this.#ended;
  }

  get jobs(): readonly Job[] {
    return this.#jobs;
  }

  get error(): Error | null {
    return this.#error;
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }

  dispose(): void {
    this.#disposed = true;
    window.removeEventListener("beforeunload", this.#leave);
    document.removeEventListener("visibilitychange", this.#see);
    this.#stopAsking();
    for (const sending of this.#sending.values()) {
      sending.stop();
    }
    Signal.clearData(this);
  }

  /** Say whether anybody can see the list. Uploads go on without anybody. */
  show(shown: boolean): void {
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#stopAsking();
      if (shown) {
        this.look();
      }
    }
  }

  /** Look at once, as something was begun. */
  look(): void {
    this.#stopAsking();
    this.#version = null;
    void this.#ask();
  }

  /** Whether an upload waits for its file, as the page was loaded anew since it began. */
  needsFile(job: Job): boolean {
    return job.kind === "upload" && !hasEnded(job) && !this.#files.has(job.id);
  }

  /** Why this page stopped sending a file; empty: it did not. */
  problemOf(job: Job): string {
    return this.#problems.get(job.id) ?? "";
  }

  /** Whether this page is about to lose what it sends. */
  get sends(): boolean {
    return this.#sending.size > 0 || this.#queue.length > 0;
  }

  async copy(
    kind: "copy" | "move",
    from: { area: string; paths: readonly string[] },
    to: Place,
    conflict: Conflict,
  ): Promise<void> {
    this.#take(await this.#api.copy(kind, from, to, conflict));
    this.look();
  }

  /** Begin to upload a file; it is sent when its turn comes. */
  async upload(to: Place, file: File, conflict: Conflict): Promise<void> {
    const job = await this.#api.upload(to, file, conflict);
    if (hasEnded(job)) {
      // There was nothing to send: a file without bytes is there at once.
      this.#take(job);
      this.#ended.emit(job);
      return;
    }
    this.#files.set(job.id, file);
    this.#queue.push(job.id);
    this.#take(job);
    this.#next();
    this.look();
  }

  /** Go on with an upload whose file was chosen again; false: it is another file. */
  async give(job: Job, file: File): Promise<boolean> {
    if (!(await sameFile(this.#api, job, file))) {
      return false;
    }
    this.#files.set(job.id, file);
    if (job.state === "paused") {
      this.#take(await this.#api.act(job.id, "resume"));
    }
    this.#queue.push(job.id);
    this.#next();
    return true;
  }

  async pause(job: Job): Promise<void> {
    this.#sending.get(job.id)?.stop();
    this.#take(await this.#api.act(job.id, "pause"));
  }

  /** Go on with what was paused, or try again what failed. */
  async resume(job: Job): Promise<void> {
    this.#take(await this.#api.act(job.id, "resume"));
    if (this.#files.has(job.id) && !this.#queue.includes(job.id)) {
      this.#queue.push(job.id);
      this.#next();
    }
    this.look();
  }

  async cancel(job: Job): Promise<void> {
    this.#sending.get(job.id)?.stop();
    this.#take(await this.#api.act(job.id, "cancel"));
    this.#files.delete(job.id);
  }

  /** Take what has ended from the list. */
  async clear(): Promise<void> {
    await this.#api.forget();
    this.look();
  }

  async forget(job: Job): Promise<void> {
    await this.#api.forget(job.id);
    this.#files.delete(job.id);
    this.look();
  }

  #next(): void {
    while (this.#sending.size < AT_ONCE) {
      // One that was told to stop may still have a piece on its way; it goes on after that.
      const at = this.#queue.findIndex((one) => !this.#sending.has(one));
      const [id] = at < 0 ? [] : this.#queue.splice(at, 1);
      if (id === undefined) {
        return;
      }
      const file = this.#files.get(id);
      const job = this.#jobs.find((one) => one.id === id);
      if (!file || !job || hasEnded(job)) {
        continue;
      }
      this.#problems.delete(id);
      const sending = send(this.#api, job, file, (now) => this.#take(now));
      this.#sending.set(id, sending);
      void sending.ended.then((failed) => {
        this.#sending.delete(id);
        if (this.#disposed) {
          return;
        }
        if (failed) {
          this.#problems.set(id, this.#readable(failed, file));
        }
        this.#next();
        this.look();
      });
    }
  }

  /** Put the newest state of one job into the list. */
  #take(job: Job): void {
    const before = this.#jobs.find((one) => one.id === job.id);
    this.#jobs = before
      ? this.#jobs.map((one) => (one.id === job.id ? job : one))
      : [job, ...this.#jobs];
    this.#compare(before, job);
    this.#changed.emit();
  }

  #compare(before: Job | undefined, job: Job): void {
    if (before && !hasEnded(before) && hasEnded(job)) {
      this.#ended.emit(job);
    }
  }

  async #ask(): Promise<void> {
    const asking = new AbortController();
    this.#asking = asking;
    // Without waiting where nothing is expected: a connection of the browser is not kept busy.
    const after = this.#jobs.some(goesOn) ? this.#version : null;
    let pause = 0;
    try {
      const answer = await this.#api.jobs(after, WAIT, asking.signal);
      if (asking.signal.aborted) {
        return;
      }
      const before = new Map(this.#jobs.map((job) => [job.id, job]));
      this.#jobs = answer.transfers;
      this.#version = answer.version;
      this.#error = null;
      this.#again = AGAIN;
      for (const job of answer.transfers) {
        this.#compare(before.get(job.id), job);
      }
      pause = answer.transfers.some(goesOn) ? 0 : LOOK_EVERY;
    } catch (error) {
      if (asking.signal.aborted) {
        return;
      }
      this.#error = error instanceof Error ? error : new StorageError(String(error), "failed");
      pause = this.#again;
      this.#again = Math.min(AGAIN_AT_MOST, this.#again * 2);
    }
    this.#changed.emit();
    if (this.#shown && !document.hidden) {
      this.#timer = window.setTimeout(() => void this.#ask(), pause);
    }
  }

  /** Look again when the tab is seen: nothing goes on to ask while it is hidden. */
  readonly #see = (): void => {
    if (this.#shown && !document.hidden) {
      this.look();
    }
  };

  /** Ask before a page is left that sends something: it would wait for its file afterwards. */
  readonly #leave = (event: BeforeUnloadEvent): void => {
    if (this.sends) {
      event.preventDefault();
    }
  };

  /** Say in a sentence what a browser calls a file that is another by now. */
  #readable(failed: Error, file: File): string {
    return failed.name === "NotReadableError" || failed.name === "NotFoundError"
      ? this.#trans.__(
          "%1 was changed or removed on this computer while it was sent. Upload it again.",
          file.name,
        )
      : failed.message;
  }

  #stopAsking(): void {
    window.clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = null;
  }
}
