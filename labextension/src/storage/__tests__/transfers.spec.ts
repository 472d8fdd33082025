import { nullTranslator } from "@jupyterlab/translation";

import type { StorageApi } from "../api";
import type { Job } from "../shapes";
import { Transfers } from "../transfers";

/** A server that counts how often it is asked for the list. */
class Server {
  asked = 0;
  readonly jobs: Job[] = [];

  get api(): StorageApi {
    return {
      jobs: (_after: unknown, _wait: number, signal?: AbortSignal) => {
        this.asked += 1;
        const answer = { version: this.asked, transfers: [...this.jobs] };
        return signal?.aborted ? Promise.reject(new Error("aborted")) : Promise.resolve(answer);
      },
    } as unknown as StorageApi;
  }
}

function hide(hidden: boolean): void {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}

describe("Transfers", () => {
  let server: Server;
  let transfers: Transfers;

  beforeEach(() => {
    vi.useFakeTimers();
    server = new Server();
    transfers = new Transfers(server.api, nullTranslator.load("canfar_lab"));
  });

  afterEach(() => {
    transfers.dispose();
    hide(false);
    vi.useRealTimers();
  });

  it("looks again and again while it is shown", async () => {
    transfers.show(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(server.asked).toBe(1);
    await vi.advanceTimersByTimeAsync(65_000);
    expect(server.asked).toBe(3);
    transfers.show(false);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.asked).toBe(3);
  });

  it("asks nothing while the tab is hidden, and looks at once when it is seen again", async () => {
    transfers.show(true);
    hide(true);
    // What was to be asked then still is, and nothing after that.
    await vi.advanceTimersByTimeAsync(60_000);
    server.asked = 0;
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.asked).toBe(0);
    hide(false);
    await vi.advanceTimersByTimeAsync(0);
    expect(server.asked).toBe(1);
    await vi.advanceTimersByTimeAsync(65_000);
    expect(server.asked).toBe(3);
  });

  it("looks no more often for a tab that was seen twice", async () => {
    transfers.show(true);
    await vi.advanceTimersByTimeAsync(0);
    hide(false);
    hide(false);
    await vi.advanceTimersByTimeAsync(0);
    server.asked = 0;
    await vi.advanceTimersByTimeAsync(65_000);
    expect(server.asked).toBe(2);
  });

  it("tells what has ended while the tab was hidden", async () => {
    const job = { id: "j1", kind: "copy", state: "paused" } as Job;
    server.jobs.push(job);
    const ended: string[] = [];
    transfers.ended.connect((_sender, one) => ended.push(one.id));
    transfers.show(true);
    hide(true);
    await vi.advanceTimersByTimeAsync(60_000);
    server.jobs[0] = { ...job, state: "done" };
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ended).toEqual([]);
    hide(false);
    await vi.advanceTimersByTimeAsync(0);
    expect(ended).toEqual(["j1"]);
  });

  it("does not look when a tab is seen in which nobody can see it, or which has no panel any more", async () => {
    hide(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.asked).toBe(0);
    transfers.show(true);
    await vi.advanceTimersByTimeAsync(0);
    server.asked = 0;
    transfers.dispose();
    hide(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.asked).toBe(0);
  });
});
