/** The session manager's interface, as the signed-in person.
 *
 * A page holds no token. The first call makes one of an hour that may do nothing but speak with
 * the session manager; this tab alone knows it, and takes it back when it is left.
 */
import { ApiError, ask, withXsrf } from "./api";
import { setText } from "./dom";
import { say } from "./say";
import { setTimed } from "./times";
import { pause, visible } from "./watch";

const SCOPES = ["access:services!service=sessions", "custom:canfar:session!user"];
const LASTS_S = 3_600;
const RENEWED_BEFORE_MS = 300_000;
const LONGEST_MS = 60_000;

function noAnswer(): string {
  return say("This part of the platform does not answer now.");
}

interface Made {
  id: string;
  token: string;
}

interface Held extends Made {
  until: number;
}

/** A refusal of the session manager, in its own words; status 0: it did not answer. */
export class V1Error extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code = "",
    readonly field = "",
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }

  /** Nothing will change that by itself: the person has to sign in again. */
  get signedOut(): boolean {
    return this.status === 401;
  }
}

/** Where the session manager is; null on pages that do not know it, and before sign-in. */
function service(): string | null {
  const { sessions, user } = document.body.dataset;
  return sessions && user ? sessions : null;
}

function tokensUrl(): string {
  const { base, user } = document.body.dataset;
  return `${base ?? "/hub/"}api/users/${encodeURIComponent(user ?? "")}/tokens`;
}

let held: Held | null = null;
let making: Promise<Held> | null = null;

async function make(): Promise<Held> {
  const made = (await ask("POST", tokensUrl(), {
    note: "This page, while it is open",
    expires_in: LASTS_S,
    scopes: SCOPES,
  }).catch((error: unknown) => {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
      throw new V1Error(401, say("You were signed out. Reload the page to sign in."));
    }
    throw new V1Error(0, say("The hub does not answer now."));
  })) as Made;
  return { id: made.id, token: made.token, until: Date.now() + LASTS_S * 1_000 };
}

async function token(): Promise<Held> {
  if (held && Date.now() < held.until - RENEWED_BEFORE_MS) {
    return held;
  }
  making ??= make().finally(() => {
    making = null;
  });
  held = await making;
  return held;
}

/** Take the token back; the hub would otherwise list it for an hour. */
function give(): void {
  if (held) {
    const { id } = held;
    held = null;
    void fetch(withXsrf(`${tokensUrl()}/${encodeURIComponent(id)}`), {
      method: "DELETE",
      credentials: "same-origin",
      keepalive: true,
    }).catch(() => null);
  }
}

addEventListener("pagehide", give);

async function refusal(answer: Response): Promise<V1Error> {
  const text = await answer.text().catch(() => "");
  const retry = Number.parseInt(answer.headers.get("Retry-After") ?? "", 10);
  const wait = Number.isNaN(retry) ? 0 : retry * 1_000;
  try {
    const said = JSON.parse(text) as { message?: string; code?: string; field?: string | null };
    return new V1Error(
      answer.status,
      said.message ?? noAnswer(),
      said.code ?? "",
      said.field ?? "",
      wait,
    );
  } catch {
    return new V1Error(answer.status, noAnswer(), "", "", wait);
  }
}

async function send(method: string, url: string, body: unknown, with_: Held): Promise<Response> {
  try {
    return await fetch(url, {
      method,
      cache: "no-store",
      credentials: "omit",
      headers: {
        Accept: "application/problem+json, application/json, text/plain",
        Authorization: `Bearer ${with_.token}`,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      signal: AbortSignal.timeout(30_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new V1Error(0, noAnswer());
  }
}

/** Call the session manager.
 *
 * `path` is below `v1/`, such as `session/abcd1234?action=renew`. Gives what the answer's JSON
 * holds, or its text where it is none. Throws a `V1Error` whose message can be shown as it is.
 */
export async function v1<T = unknown>(
  method: "GET" | "POST" | "PATCH" | "DELETE",
  path: string,
  body?: unknown,
): Promise<T> {
  const root = service();
  if (root === null) {
    throw new V1Error(0, noAnswer());
  }
  const url = `${root}v1/${path}`;
  let answer = await send(method, url, body, await token());
  if (answer.status === 401) {
    // The hub was restarted with another database, or somebody has revoked it.
    held = null;
    answer = await send(method, url, body, await token());
  }
  if (!answer.ok) {
    throw await refusal(answer);
  }
  const text = await answer.text();
  const json = answer.headers.get("Content-Type")?.startsWith("application/json") ?? false;
  return (json && text !== "" ? JSON.parse(text) : text) as T;
}

/** Whether this page knows where the session manager is. */
export function v1Known(): boolean {
  return service() !== null;
}

/** What was last heard, and what is wrong now. */
export interface Look<T> {
  value: T | null;
  /** When `value` was true. */
  at: Date | null;
  /** Why there is nothing newer, in a sentence; empty where all is well. */
  trouble: string;
}

/** Something that is asked for again and again: slower while it fails, never while nobody looks. */
export class Live<T> {
  private readonly shows: ((look: Look<T>) => void)[] = [];
  private look: Look<T> = { value: null, at: null, trouble: "" };
  private failures = 0;
  private asked: Promise<void> | null = null;
  private retryMs = 0;
  private over = false;
  private started = false;

  constructor(
    private readonly load: () => Promise<T>,
    private readonly everyMs: number,
  ) {}

  /** Have something called with every look, well or not. */
  subscribe(show: (look: Look<T>) => void): this {
    this.shows.push(show);
    return this;
  }

  start(): this {
    if (!this.started) {
      this.started = true;
      void this.go();
    }
    return this;
  }

  /** Look at once, as after something was done. */
  async now(): Promise<void> {
    await this.asked;
    await this.once();
  }

  /** Ask no more. */
  stop(): void {
    this.over = true;
  }

  private async go(): Promise<void> {
    while (!this.over) {
      await visible();
      await this.once();
      const slower = Math.min(this.everyMs * 2 ** this.failures, LONGEST_MS);
      await pause(Math.max(slower, this.everyMs, this.retryMs));
    }
  }

  private once(): Promise<void> {
    this.asked ??= this.ask().finally(() => {
      this.asked = null;
    });
    return this.asked;
  }

  private async ask(): Promise<void> {
    try {
      this.look = { value: await this.load(), at: new Date(), trouble: "" };
      this.failures = 0;
      this.retryMs = 0;
    } catch (error) {
      this.failures += 1;
      this.retryMs = error instanceof V1Error ? error.retryAfterMs : 0;
      this.over = error instanceof V1Error && error.signedOut;
      const trouble = error instanceof V1Error ? error.message : noAnswer();
      this.look = { ...this.look, trouble };
    }
    for (const show of this.shows) {
      show(this.look);
    }
  }
}

/** Say since when something is not known, and why; nothing where it is. */
export function showUnknown(
  place: Element | null,
  look: Look<unknown>,
  words: (since: string) => string = (since) => since,
): void {
  const { at, trouble } = look;
  if (at === null || trouble === "") {
    setText(place, trouble && words(trouble));
  } else {
    setTimed(place, at, (time) => {
      const since = say("Not known since %(time)s.", { time });
      return words(`${since} ${trouble}`);
    });
  }
}
