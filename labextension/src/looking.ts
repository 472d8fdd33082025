/** Something that is asked again and again while somebody may look, and what is known of it. */
import type { IDisposable } from "@lumino/disposable";
import { Poll } from "@lumino/polling";
import { Signal, type ISignal } from "@lumino/signaling";

const LONGEST_MS = 60_000;

/** How often to ask, in milliseconds; less often as long as nobody answers. */
function every(interval: number): { interval: number; backoff: true; max: number } {
  return { interval, backoff: true, max: LONGEST_MS };
}

export abstract class Looking implements IDisposable {
  #at: Date | null = null;
  #trouble = "";
  #disposed = false;
  readonly #changed = new Signal<this, void>(this);
  readonly #poll: Poll;

  /**
   * @param name - What the poll is called.
   * @param interval - Milliseconds from one look to the next.
   * @param auto - Whether it begins by itself.
   */
  protected constructor(name: string, interval: number, auto: boolean) {
    this.#poll = new Poll({
      auto,
      name,
      factory: () => this.#ask(),
      frequency: every(interval),
      standby: "when-hidden",
      // It would go on for a while otherwise.
      linger: 0,
    });
  }

  get changed(): ISignal<this, void> {
    return this.#changed;
  }

  /** When what is known was true. */
  get at(): Date | null {
    return this.#at;
  }

  /** Why nothing newer is known, in a sentence; empty where all is well. */
  get trouble(): string {
    return this.#trouble;
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }

  dispose(): void {
    if (!this.#disposed) {
      this.#disposed = true;
      this.#poll.dispose();
      Signal.clearData(this);
    }
  }

  async refresh(): Promise<void> {
    await this.#poll.refresh();
    await this.#poll.tick;
  }

  /** Ask for what is to be known, and keep it. */
  protected abstract look(): Promise<void>;

  /** Whether an error says that asking again is of no use. */
  protected abstract givesUp(error: unknown): boolean;

  /** Say that something else is known now. */
  protected tell(): void {
    this.#changed.emit();
  }

  protected start(): void {
    void this.#poll.start();
  }

  protected stopLooking(): void {
    void this.#poll.stop();
  }

  protected lookEvery(interval: number): void {
    this.#poll.frequency = every(interval);
  }

  async #ask(): Promise<void> {
    try {
      await this.look();
      this.#at = new Date();
      this.#trouble = "";
    } catch (error) {
      this.#trouble = error instanceof Error ? error.message : String(error);
      if (!this.givesUp(error)) {
        // The poll asks less often as long as this goes on.
        throw error;
      }
      this.stopLooking();
    } finally {
      if (!this.#disposed) {
        this.tell();
      }
    }
  }
}
