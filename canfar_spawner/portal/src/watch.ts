/** Waiting for a session to be ready or gone: slower and slower, and only while someone looks. */
import { ApiError, ask } from "./api";

export type Outcome = "ready" | "gone" | "lost";

interface Server {
  ready?: boolean;
  pending?: string | null;
  stopped?: boolean;
}

const FIRST_MS = 1_000;
const LONGEST_MS = 10_000;

/** Wait until someone looks at the page. */
export function visible(): Promise<void> {
  if (!document.hidden) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", () => resolve(), { once: true });
  });
}

/** Wait about so long: pages that were opened together do not ask together for ever. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds * (0.8 + 0.4 * Math.random())));
}

async function look(url: string, until: Outcome): Promise<Outcome | null> {
  try {
    const server = (await ask("GET", url)) as Server;
    if (server.stopped === true && !server.pending) {
      return "gone";
    }
    return until === "ready" && server.ready === true && !server.pending ? "ready" : null;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) {
      return "gone";
    }
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
      return "lost";
    }
    return null; // The hub is restarting or the network is away: neither ends a session.
  }
}

/** Wait while `element` is on the page; `lost` when it left or the person was signed out. */
export async function waitFor(element: Element, url: string, until: Outcome): Promise<Outcome> {
  for (let delay = FIRST_MS; ; delay = Math.min(delay * 1.4, LONGEST_MS)) {
    await pause(delay);
    await visible();
    if (!element.isConnected) {
      return "lost";
    }
    const outcome = await look(url, until);
    if (outcome !== null) {
      return outcome;
    }
  }
}
