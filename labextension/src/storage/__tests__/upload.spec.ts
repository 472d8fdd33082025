// @vitest-environment node
import { createHash } from "node:crypto";

import { StorageError, type StorageApi } from "../api";
import type { Job } from "../shapes";
import { sameFile, send } from "../upload";

/** A server that keeps what it is sent, and fails where tests want it to. */
class Receiver {
  readonly chunk = 4;
  bytes = Buffer.alloc(0);
  total = 0;
  fail: (offset: number) => StorageError | null = () => null;
  lost: (offset: number) => boolean = () => false;
  looked: () => Job = () => this.job();

  job(state: Job["state"] = "waiting"): Job {
    return {
      id: "j1",
      kind: "upload",
      state,
      name: "a.bin",
      to: null,
      bytes: { done: this.bytes.length, total: this.total },
      speed: null,
      seconds_left: null,
      error: null,
      notes: [],
      checksum: null,
      chunk: this.chunk,
    };
  }

  get api(): StorageApi {
    return {
      content: async (_id: string, offset: number, bytes: Blob, digest: string) => {
        const failure = this.fail(offset);
        if (failure) {
          throw failure;
        }
        const body = Buffer.from(await bytes.arrayBuffer());
        expect(digest).toBe(createHash("sha256").update(body).digest("base64"));
        if (offset !== this.bytes.length) {
          throw new StorageError("not there", "offset", { offset: this.bytes.length });
        }
        this.bytes = Buffer.concat([this.bytes, body]);
        if (this.lost(offset)) {
          throw new StorageError("gone", "unreachable");
        }
        return this.job(this.bytes.length === this.total ? "done" : "waiting");
      },
      // What is thrown here is what a question is refused with.
      job: async () => Promise.resolve().then(this.looked),
      digest: (_id: string, start: number, end: number) =>
        Promise.resolve(createHash("sha256").update(this.bytes.subarray(start, end)).digest("hex")),
    } as unknown as StorageApi;
  }
}

function file(text: string): File {
  return new File([text], "a.bin");
}

function receiver(text: string): Receiver {
  const made = new Receiver();
  made.total = text.length;
  return made;
}

/** Let no wait take any time; gives how long each would have been. */
function hurried(): number[] {
  const waits: number[] = [];
  const soon = (act: () => void, length: number): number => {
    waits.push(length);
    setImmediate(act);
    return 0;
  };
  vi.spyOn(globalThis, "setTimeout").mockImplementation(soon as unknown as typeof setTimeout);
  return waits;
}

describe("send", () => {
  const text = "0123456789";

  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("sends a file in pieces, each with its digest", async () => {
    const server = receiver(text);
    const told: number[] = [];
    const sending = send(server.api, server.job(), file(text), (job) => told.push(job.bytes.done));
    expect(await sending.ended).toBeNull();
    expect(server.bytes.toString()).toBe(text);
    expect(told).toEqual([4, 8, 10]);
  });

  it("sends a file without bytes too", async () => {
    const server = receiver("");
    const told: string[] = [];
    await send(server.api, server.job(), file(""), (job) => told.push(job.state)).ended;
    expect(told).toEqual(["done"]);
  });

  it("goes on from where the server has it", async () => {
    const server = receiver(text);
    server.bytes = Buffer.from("012345");
    await send(server.api, server.job(), file(text), () => undefined).ended;
    expect(server.bytes.toString()).toBe(text);
  });

  it("does not send twice what arrived although its answer was lost", async () => {
    const server = receiver(text);
    let once = true;
    server.lost = (offset) => offset === 4 && once && !(once = false);
    expect(await send(server.api, server.job(), file(text), () => undefined).ended).toBeNull();
    expect(server.bytes.toString()).toBe(text);
  });

  it("sends a piece again that arrived damaged, and gives up when all do", async () => {
    const server = receiver(text);
    let damaged = 2;
    server.fail = () => (damaged-- > 0 ? new StorageError("damaged", "digest") : null);
    expect(await send(server.api, server.job(), file(text), () => undefined).ended).toBeNull();
    expect(server.bytes.toString()).toBe(text);
    server.fail = () => new StorageError("damaged", "digest");
    server.bytes = Buffer.alloc(0);
    const failed = await send(server.api, server.job(), file(text), () => undefined).ended;
    expect(failed?.message).toBe("damaged");
  });

  it.each(["unreachable", "away", "busy"])(
    "goes on after a server that was %s, and waits longer each time",
    async (code) => {
      const waits = hurried();
      const server = receiver(text);
      let refusals = 7;
      server.fail = () => (refusals-- > 0 ? new StorageError("not now", code) : null);
      expect(await send(server.api, server.job(), file(text), () => undefined).ended).toBeNull();
      expect(server.bytes.toString()).toBe(text);
      expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    },
  );

  it.each(["done", "failed", "cancelled", "paused"] as const)(
    "looks on, less and less often, until what has arrived whole is %s",
    async (end) => {
      const waits = hurried();
      const server = receiver(text);
      server.lost = (offset) => offset === 8;
      const states: Job["state"][] = ["running", "waiting", "checking", end, "waiting"];
      server.looked = () => server.job(states.shift());
      const told: string[] = [];
      const sending = send(server.api, server.job(), file(text), (job) => told.push(job.state));
      expect(await sending.ended).toBeNull();
      expect(told).toEqual(["waiting", "waiting", "running", "waiting", "checking", end]);
      expect(waits).toEqual([1_000, 2_000, 4_000, 8_000]);
    },
  );

  it("sends nothing before it knows what became of a piece whose answer was lost", async () => {
    hurried();
    const server = receiver("0123");
    server.lost = () => true;
    let looks = 0;
    server.looked = () => {
      looks += 1;
      if (looks < 3) {
        throw new StorageError("not now", "away");
      }
      return server.job("done");
    };
    const told: string[] = [];
    const sending = send(server.api, server.job(), file("0123"), (job) => told.push(job.state));
    // Meanwhile it has ended, and takes nothing any more.
    server.fail = () => (looks > 0 ? new StorageError("This upload has ended.", "changed") : null);
    expect(await sending.ended).toBeNull();
    expect(told).toEqual(["done"]);
  });

  it("sends again what was there and is not any more", async () => {
    hurried();
    const server = receiver(text);
    let once = true;
    server.lost = (offset) => offset === 8 && once && !(once = false);
    let looks = 0;
    server.looked = () => {
      looks += 1;
      if (looks === 2) {
        // The connection of the last piece was found to be lost, and nothing of it was kept.
        server.bytes = server.bytes.subarray(0, 8);
      }
      return server.job();
    };
    expect(await send(server.api, server.job(), file(text), () => undefined).ended).toBeNull();
    expect(server.bytes.toString()).toBe(text);
    expect(looks).toBe(2);
  });

  it("says why what has arrived whole is not there any more", async () => {
    hurried();
    const server = receiver(text);
    server.lost = (offset) => offset === 8;
    server.looked = () => {
      throw new StorageError("There is no such transfer any more.", "not-found");
    };
    const failed = await send(server.api, server.job(), file(text), () => undefined).ended;
    expect(failed?.message).toBe("There is no such transfer any more.");
  });

  it("asks nothing more once it is told to stop while it waits", async () => {
    const server = receiver(text);
    server.fail = () => new StorageError("not now", "busy");
    const looked = vi.fn(server.looked);
    server.looked = looked;
    const pausing = vi.spyOn(globalThis, "setTimeout");
    const sending = send(server.api, server.job(), file(text), () => undefined);
    await vi.waitFor(() => expect(pausing).toHaveBeenCalledWith(expect.anything(), 1_000));
    sending.stop();
    expect(await sending.ended).toBeNull();
    expect(looked).not.toHaveBeenCalled();
  });

  it("stops at a refusal, and when it is told to", async () => {
    const server = receiver(text);
    server.fail = () => new StorageError("Home is full.", "quota");
    const failed = await send(server.api, server.job(), file(text), () => undefined).ended;
    expect(failed?.message).toBe("Home is full.");
    server.fail = () => null;
    const sending = send(server.api, server.job(), file(text), () => sending.stop());
    expect(await sending.ended).toBeNull();
    expect(server.bytes.toString()).toBe("0123");
  });
});

describe("sameFile", () => {
  it("knows a file by its size and by what was received of it", async () => {
    const server = receiver("0123456789");
    server.bytes = Buffer.from("0123456");
    expect(await sameFile(server.api, server.job(), file("0123456789"))).toBe(true);
    expect(await sameFile(server.api, server.job(), file("012345678"))).toBe(false);
    expect(await sameFile(server.api, server.job(), file("x123456789"))).toBe(false);
  });
});
