/** Who may enter the session, asked again and again while the panel is seen. */
import { Looking } from "./looking";
import type { Server } from "./server";
import type { Line, Made, Sharing } from "./shapes";

const LOOK_MS = 5_000;

/** What is to be shared, and how. */
export type Wanted = ({ link: true; people: number } | { user: string } | { group: string }) & {
  until?: string;
  storage?: true;
};

export class SharingModel extends Looking {
  #sharing: Sharing | null = null;

  constructor(private readonly server: Server) {
    super("canfar-hub:sharing", LOOK_MS, false);
  }

  get sharing(): Sharing | null {
    return this.#sharing;
  }

  /** How many may enter, and how many are in now. */
  get count(): { may: number; here: number } {
    const people = this.#sharing?.visitors ?? [];
    return {
      may: people.filter((each) => each.shares.length > 0).length,
      here: people.filter((each) => each.here !== null).length,
    };
  }

  set watched(watched: boolean) {
    if (watched) {
      this.start();
    } else {
      this.stopLooking();
    }
  }

  async share(wanted: Wanted): Promise<Made> {
    const made = await this.server.ask<Made>("POST", "sharing/shares", wanted);
    await this.refresh();
    return made;
  }

  /** Take a share away; gives whether that is done already, or is as soon as the hub answers. */
  async revoke(share: string): Promise<boolean> {
    return this.#takeAway(`?share=${encodeURIComponent(share)}`);
  }

  /** Take away everything that one person has. */
  async remove(person: string): Promise<boolean> {
    return this.#takeAway(`?user=${encodeURIComponent(person)}`);
  }

  async revokeAll(): Promise<boolean> {
    return this.#takeAway("");
  }

  /** What happened, the newest first. */
  async audit(): Promise<Line[]> {
    return (await this.server.ask<Line[]>("GET", "sharing/audit")).reverse();
  }

  async #takeAway(query: string): Promise<boolean> {
    const { status } = await this.server.ask<{ status: number }>(
      "DELETE",
      `sharing/shares${query}`,
    );
    await this.refresh();
    return status !== 202;
  }

  protected override async look(): Promise<void> {
    this.#sharing = await this.server.ask<Sharing>("GET", "sharing", undefined, true);
  }

  protected override givesUp(): boolean {
    return false;
  }
}
