/** How a file is sent: in pieces, each with its digest, from wherever it was interrupted. */
import { StorageError, type StorageApi } from "./api";
import type { Job } from "./shapes";

/** Bytes in a piece, unless the server says what it likes. */
const PIECE = 8 * 1024 * 1024;

/** Bytes that are compared at either end of what was received before. */
const COMPARED = 4 * 1024 * 1024;

/** How long to wait for a server that does not answer, growing up to the other. */
const AGAIN = 1_000;
const AGAIN_AT_MOST = 30_000;

/** How often a piece that did not arrive whole is sent again. */
const TRIES = 4;

/**
 * What passes by itself: nothing answers, or no more than what is before the session's server, or
 * that has not noticed yet that the connection of an earlier piece is lost.
 */
const PASSES: ReadonlySet<string> = new Set(["unreachable", "away", "busy"]);

/** States of an upload that its end, or more of its bytes, may follow. */
const GOES_ON: ReadonlySet<Job["state"]> = new Set(["queued", "waiting", "running", "checking"]);

export interface Sending {
  /** Stop after the piece that is on its way. */
  stop: () => void;
  /** Why it failed, or null: it is sent, or was stopped. */
  ended: Promise<Error | null>;
}

/** A piece of a file and its digest; without one where the page is not served securely. */
interface Piece {
  bytes: Blob;
  digest: string;
}

/** Digests are there in secure contexts alone, whatever the types say. */
function subtle(): SubtleCrypto | undefined {
  return (globalThis.crypto as Partial<Crypto> | undefined)?.subtle;
}

async function digestOf(bytes: Blob): Promise<ArrayBuffer | null> {
  const able = subtle();
  return able ? able.digest("SHA-256", await bytes.arrayBuffer()) : null;
}

function base64(buffer: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)));
}

function hexadecimal(buffer: ArrayBuffer): string {
  return [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function pieceOf(file: File, offset: number, length: number): Promise<Piece> {
  const bytes = file.slice(offset, offset + length);
  const digest = await digestOf(bytes);
  return { bytes, digest: digest ? base64(digest) : "" };
}

function pause(length: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, length);
    signal.addEventListener("abort", over);
  });
}

/** Send a file, from where the server has it. */
export function send(api: StorageApi, job: Job, file: File, tell: (job: Job) => void): Sending {
  const stopped = new AbortController();
  return {
    stop: () => stopped.abort(),
    ended: all(api, job, file, tell, stopped.signal).then(
      () => null,
      (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
    ),
  };
}

async function all(
  api: StorageApi,
  job: Job,
  file: File,
  tell: (job: Job) => void,
  signal: AbortSignal,
): Promise<void> {
  const length = job.chunk ?? PIECE;
  const stopped = (): boolean => signal.aborted;
  let offset = job.bytes.done;
  let ahead: { offset: number; piece: Promise<Piece> } | null = null;
  let tries = 0;
  let wait = AGAIN;
  // A file without bytes is sent too: with its one, empty piece.
  let sent = false;
  // The answer may be what was lost: what there is of it is not known before the next look.
  let unknown = false;
  while (!stopped()) {
    let now: Job | null = null;
    if (unknown || (sent && offset >= file.size)) {
      // Where all of it has come its end still has to, and less may be there again by then.
      await pause(wait, signal);
      wait = Math.min(AGAIN_AT_MOST, wait * 2);
      now = stopped() ? null : await look(api, job.id);
      if (stopped()) {
        return;
      }
      unknown = now === null;
    } else {
      const piece: Promise<Piece> =
        ahead?.offset === offset ? ahead.piece : pieceOf(file, offset, length);
      const { bytes, digest } = await piece;
      const after = offset + bytes.size;
      // The next piece is read while this one is on its way.
      ahead = { offset: after, piece: pieceOf(file, after, length) };
      // Whoever awaits it later sees its failure; until then it is nobody's.
      ahead.piece.catch(() => undefined);
      try {
        now = await api.content(job.id, offset, bytes, digest);
        sent = true;
        tries = 0;
        wait = AGAIN;
      } catch (error) {
        const code = error instanceof StorageError ? error.code : "";
        if (PASSES.has(code)) {
          unknown = true;
        } else if (code === "offset" && tries < TRIES) {
          tries += 1;
          const right = (error as StorageError).body.offset;
          unknown = typeof right !== "number";
          offset = typeof right === "number" ? right : offset;
        } else if (code === "digest" && tries < TRIES) {
          tries += 1;
        } else {
          throw error;
        }
      }
    }
    if (now) {
      offset = now.bytes.done;
      // It has all of it, whatever became of the answer: another piece could disturb its end.
      sent ||= file.size > 0 && offset >= file.size;
      tell(now);
      if (!GOES_ON.has(now.state)) {
        return;
      }
    }
  }
}

/** Look how an upload is; null: that is not to be known now. */
async function look(api: StorageApi, id: string): Promise<Job | null> {
  try {
    return await api.job(id);
  } catch (error) {
    if (error instanceof StorageError && PASSES.has(error.code)) {
      return null;
    }
    throw error;
  }
}

/** Say whether a file is the one that part of was received, by its size and either end of the part. */
export async function sameFile(api: StorageApi, job: Job, file: File): Promise<boolean> {
  if (file.size !== job.bytes.total) {
    return false;
  }
  const done = job.bytes.done;
  const ends = [
    [0, Math.min(done, COMPARED)],
    [Math.max(0, done - COMPARED), done],
  ] as const;
  for (const [start, end] of ends) {
    const mine = end > start ? await digestOf(file.slice(start, end)) : null;
    if (mine) {
      const theirs = await api.digest(job.id, start, end);
      if (theirs !== hexadecimal(mine)) {
        return false;
      }
    }
  }
  return true;
}
