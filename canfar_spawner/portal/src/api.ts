/** The hub's API, as the signed-in person: no page of ours holds a token. */
import { find } from "./dom";
import { say } from "./say";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const MESSAGES: Readonly<Record<number, string>> = {
  401: say("You were signed out. Sign in and try again."),
  403: say("You were signed out, or the page is too old. Reload it and try again."),
  429: say("The hub is busy. Try again in a minute."),
};

/** What the hub says was wrong with a request, where it says it. */
async function sentence(answer: Response): Promise<string> {
  try {
    const { message } = (await answer.json()) as { message?: unknown };
    return typeof message === "string" ? message : "";
  } catch {
    return "";
  }
}

/** The address as the hub takes it from a page of its own. */
export function withXsrf(url: string): URL {
  const target = new URL(url, location.href);
  target.searchParams.set("_xsrf", document.body.dataset.xsrf ?? "");
  return target;
}

/** Ask the hub; a refusal is an `ApiError`, a missing answer the browser's own error. */
export async function ask(
  method: "GET" | "POST" | "DELETE",
  url: string,
  body?: unknown,
): Promise<unknown> {
  const answer = await fetch(withXsrf(url), {
    method,
    credentials: "same-origin",
    cache: "no-store",
    headers: { Accept: "application/json", "Content-Type": "application/json" },
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) {
    const said = answer.status === 400 ? await sentence(answer) : "";
    throw new ApiError(
      answer.status,
      said ||
        (MESSAGES[answer.status] ?? say("The hub answered %(status)s.", { status: answer.status })),
    );
  }
  const text = await answer.text();
  return text === "" ? null : (JSON.parse(text) as unknown);
}

/** A page of the hub as it is now; null where somebody has to sign in first. */
export async function freshPage(url: string): Promise<Document | null> {
  const answer = await fetch(url, {
    credentials: "same-origin",
    cache: "no-store",
    signal: AbortSignal.timeout(30_000),
  });
  if (!answer.ok || answer.redirected) {
    return null;
  }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

/** The same part of a page, as it is now. */
export async function fresh(url: string, selector: string): Promise<HTMLElement | null> {
  const page = await freshPage(url);
  return page ? find(selector, HTMLElement, page) : null;
}
