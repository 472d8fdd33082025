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
      job: () => Promise.resolve(this.job()),
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

describe("send", () => {
  const text = "0123456789";

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
