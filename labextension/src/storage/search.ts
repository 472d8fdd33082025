/** A search below a folder, as it goes on. */
import type { IDisposable } from "@lumino/disposable";
import { Signal, type ISignal } from "@lumino/signaling";

import type { StorageApi } from "./api";
import type { Hit, Place, Task } from "./shapes";

export class Search implements IDisposable {
  readonly place: Place;
  readonly text: string;
  readonly #api: StorageApi;
  readonly #hidden: boolean;
  readonly #changed = new Signal<this, void>(this);
  readonly #stopped = new AbortController();
  #hits: Hit[] = [];
  #looked = 0;
  #done = false;
  #more = false;
  #error: Error | null = null;

  constructor(api: StorageApi, place: Place, text: string, hidden: boolean) {
    this.#hidden = hidden;
    this.#api = api;
    this.place = place;
    this.text = text;
  }

  get changed(): ISignal<this, void> {
    return this.#changed;
  }

  get hits(): readonly Hit[] {
    return this.#hits;
  }

  get looked(): number {
    return this.#looked;
  }

  /** Nothing more will be found. */
  get done(): boolean {
    return this.#done;
  }

  /** There is more than is listed. */
  get more(): boolean {
    return this.#more;
  }

  get error(): Error | null {
    return this.#error;
  }

  get isDisposed(): boolean {
    return this.#stopped.signal.aborted;
  }

  /** Stop looking; what was found stays. */
  stop(): void {
    this.#stopped.abort();
    this.#done = true;
    this.#changed.emit();
  }

  dispose(): void {
    this.#stopped.abort();
    Signal.clearData(this);
  }

  begin(): void {
    void this.#run();
  }

  async #run(): Promise<void> {
    const signal = this.#stopped.signal;
    let id = "";
    try {
      let task = await this.#api.search(this.place, this.text, this.#hidden);
      id = task.id;
      this.#take(task);
      while (task.state === "running" && !signal.aborted) {
        task = await this.#api.task(id, task.next, signal);
        this.#take(task);
      }
    } catch (error) {
      this.#error = error instanceof Error ? error : new Error(String(error));
    }
    if (signal.aborted) {
      if (id !== "") {
        // Nothing is lost if this does not arrive: a search that nobody asks about ends.
        await this.#api.cancelTask(id).catch(() => undefined);
      }
      return;
    }
    this.#done = true;
    this.#changed.emit();
  }

  #take(task: Task): void {
    if (this.#stopped.signal.aborted) {
      return;
    }
    this.#hits = [...this.#hits, ...task.hits];
    this.#looked = task.files + task.folders;
    this.#more = task.more;
    if (task.state === "failed") {
      this.#error = new Error(task.why);
    }
    this.#changed.emit();
  }
}
