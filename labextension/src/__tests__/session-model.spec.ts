import { Problem, type Server } from "../server";
import { SessionModel } from "../session-model";
import type { Here, Session } from "../shapes";

const HERE: Here = {
  api: 1,
  person: "ada",
  owner: "ada",
  visitor: false,
  session: "abcd1234",
  home: "/hub/home",
  usage: null,
};
const SESSION = {
  id: "abcd1234",
  owner: "ada",
  name: "M31",
  ends: "2026-11-30T12:00:00Z",
} as Session;

/** A server that counts what it is asked, and refuses what tests want it to. */
class Counting {
  asked: string[] = [];
  refuse: Problem | null = null;
  /** What is refused; empty: everything. */
  refused = "";
  /** With what the visit's end is refused, where not as all else. */
  leaving: Problem | null = null;

  ask(method: string, path: string): Promise<unknown> {
    this.asked.push(`${method} ${path}`);
    if (this.leaving && path === "visit") {
      return Promise.reject(this.leaving);
    }
    if (this.refuse && `${method} ${path}`.startsWith(this.refused)) {
      return Promise.reject(this.refuse);
    }
    return Promise.resolve(path === "here" ? HERE : SESSION);
  }
}

function hide(hidden: boolean): void {
  const value = hidden ? "hidden" : "visible";
  Object.defineProperty(document, "visibilityState", { value, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}

describe("SessionModel", () => {
  let server: Counting;
  let model: SessionModel;

  beforeEach(() => {
    vi.useFakeTimers();
    server = new Counting();
    model = new SessionModel(server as unknown as Server);
  });

  afterEach(() => {
    model.dispose();
    hide(false);
    vi.useRealTimers();
  });

  it("asks more often while the panel is seen", async () => {
    await vi.advanceTimersByTimeAsync(60_000);
    const unseen = server.asked.length;
    model.watched = true;
    server.asked = [];
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.asked.length).toBeGreaterThan(2 * unseen);
    expect(model.session?.name).toBe("M31");
  });

  it("asks nothing while the tab is hidden, and goes on after", async () => {
    model.watched = true;
    await vi.advanceTimersByTimeAsync(10_000);
    hide(true);
    await vi.advanceTimersByTimeAsync(10_000);
    server.asked = [];
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.asked).toEqual([]);
    hide(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.asked).not.toEqual([]);
  });

  it("keeps what it knew while nobody answers, says so, and asks less and less", async () => {
    model.watched = true;
    await vi.advanceTimersByTimeAsync(10_000);
    server.refuse = new Problem(503, "away", "This part of the platform does not answer now.");
    await vi.advanceTimersByTimeAsync(120_000);
    expect(model.trouble).toBe("This part of the platform does not answer now.");
    expect(model.session?.name).toBe("M31");
    server.asked = [];
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.asked.length).toBeLessThan(40);
    server.refuse = null;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(model.trouble).toBe("");
  });

  it("gives up where the server has no part for the panel", async () => {
    model.dispose();
    server.refuse = new Problem(
      404,
      "no-panel",
      "This session's server has no part for the panel.",
    );
    model = new SessionModel(server as unknown as Server);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(model.lost).toBe(true);
    server.asked = [];
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.asked).toEqual([]);
  });

  it("takes a session for stopped that can say no more", async () => {
    server.refuse = new Problem(503, "failed", "The session's server could not answer that.");
    await expect(model.stop()).resolves.toBeUndefined();
  });

  it("says why a session that still answers was not stopped", async () => {
    server.refused = "DELETE session";
    server.refuse = new Problem(503, "away", "This part of the platform does not answer now.");
    const told = expect(model.stop()).rejects.toBe(server.refuse);
    await vi.advanceTimersByTimeAsync(60_000);
    await told;
  });

  it("says why it was refused to stop a session", async () => {
    server.refuse = new Problem(403, "refused", "That is not yours.");
    await expect(model.stop()).rejects.toBe(server.refuse);
  });

  it("takes a session for left that lets nobody in any more, answered or not", async () => {
    server.refuse = new Problem(403, "refused", "Forbidden");
    for (const leaving of [
      new Problem(0, "unreachable", "The session does not answer now."),
      server.refuse,
    ]) {
      server.leaving = leaving;
      await expect(model.leave()).resolves.toBeUndefined();
    }
  });

  it("waits until a session that was left lets nobody in", async () => {
    server.leaving = new Problem(0, "unreachable", "The session does not answer now.");
    const left = model.leave();
    await vi.advanceTimersByTimeAsync(1_000);
    server.refuse = new Problem(403, "refused", "Forbidden");
    await vi.advanceTimersByTimeAsync(60_000);
    await expect(left).resolves.toBeUndefined();
  });

  it.each([
    ["still lets her in", null],
    ["does not answer", new Problem(0, "unreachable", "The session does not answer now.")],
  ])("says why a session that %s was not left", async (_, refuse) => {
    server.refuse = refuse;
    server.leaving = new Problem(503, "away", "This part of the platform does not answer now.");
    const left = expect(model.leave()).rejects.toBe(server.leaving);
    await vi.advanceTimersByTimeAsync(60_000);
    await left;
  });
});
