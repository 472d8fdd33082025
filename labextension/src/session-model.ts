/** What the panel knows of its session, asked again and again while somebody may look. */
import { Looking } from "./looking";
import { Problem, type Server } from "./server";
import type { Here, Scratch, Session } from "./shapes";

const LOOK_MS = 5_000;
const GLANCE_MS = 20_000;
/** How often it is looked whether somebody is out who was not told. */
const LOOKS = 3;

export class SessionModel extends Looking {
  #here: Here | null = null;
  #session: Session | null = null;
  #lost = false;
  #watched = false;

  constructor(private readonly server: Server) {
    super("canfar-hub:session", GLANCE_MS, true);
  }

  get here(): Here | null {
    return this.#here;
  }

  get session(): Session | null {
    return this.#session;
  }

  /** Whether this server will never tell: no hub is there, or it has no part for the panel. */
  get lost(): boolean {
    return this.#lost;
  }

  get visitor(): boolean {
    return this.#here?.visitor ?? true;
  }

  /** Look more often while the panel is seen. */
  set watched(watched: boolean) {
    if (watched === this.#watched) {
      return;
    }
    this.#watched = watched;
    this.lookEvery(watched ? LOOK_MS : GLANCE_MS);
    if (watched) {
      void this.refresh();
    }
  }

  /** Extend the session; gives whether that made it last longer. */
  async extend(): Promise<boolean> {
    const before = this.#session?.ends ?? "";
    await this.server.ask("POST", "session/extend");
    await this.refresh();
    return (this.#session?.ends ?? "") > before;
  }

  async rename(name: string): Promise<void> {
    this.#session = await this.server.ask<Session>("PATCH", "session", { name });
    this.tell();
  }

  /** What its end would wipe, in a sentence; empty for nothing, or if that is not known. */
  async wiped(): Promise<string> {
    try {
      return (await this.server.ask<Scratch>("GET", "session/scratch")).sentence;
    } catch {
      return "";
    }
  }

  /** End the session, by whose server that is passed on. */
  async stop(): Promise<void> {
    try {
      await this.server.ask("DELETE", "session");
    } catch (error) {
      // The hub answers once the session has ended, which then can tell nobody.
      const mayBeGone = error instanceof Problem && error.passes;
      // It may answer for a moment longer while it ends.
      if (!mayBeGone || !(await this.#comesTrue((status) => status !== 200))) {
        throw error;
      }
    }
  }

  /** Give up one's access to somebody else's session. */
  async leave(): Promise<void> {
    try {
      await this.server.ask("DELETE", "visit");
    } catch (error) {
      // Whoever is out is cut off, maybe before she was told that she is; it takes a few seconds.
      if (!(await this.#comesTrue((status) => status === 403))) {
        throw error;
      }
    }
  }

  /** Look a few times whether the server answers as it does once something is over. */
  async #comesTrue(over: (status: number) => boolean): Promise<boolean> {
    for (let look = 1; !over(await this.#answer()); look += 1) {
      if (look === LOOKS) {
        return false;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return true;
  }

  /** The status with which the server tells where this is; 0 where it does not answer. */
  async #answer(): Promise<number> {
    try {
      await this.server.ask<Here>("GET", "here", undefined, true);
      return 200;
    } catch (error) {
      return error instanceof Problem ? error.status : 0;
    }
  }

  protected override async look(): Promise<void> {
    this.#here = await this.server.ask<Here>("GET", "here", undefined, true);
    this.#session = await this.server.ask<Session>("GET", "session", undefined, true);
  }

  protected override givesUp(error: unknown): boolean {
    this.#lost = error instanceof Problem && error.status === 404 && this.#here === null;
    return this.#lost;
  }
}
