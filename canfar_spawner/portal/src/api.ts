/** The hub's API, as the signed-in person: no page of ours holds a token. */
import { find } from "./dom";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const MESSAGES: Readonly<Record<number, string>> = {
  401: "You were signed out. Sign in and try again.",
  403: "You were signed out, or the page is too old. Reload it and try again.",
  429: "The hub is busy. Try again in a minute.",
};

/** Ask the hub; a refusal is an `ApiError`, a missing answer the browser's own error. */
export async function ask(method: "GET" | "DELETE", url: string, body?: unknown): Promise<unknown> {
  const target = new URL(url, location.href);
  target.searchParams.set("_xsrf", document.body.dataset.xsrf ?? "");
  const answer = await fetch(target, {
    method,
    credentials: "same-origin",
    cache: "no-store",
    headers: { Accept: "application/json", "Content-Type": "application/json" },
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) {
    throw new ApiError(
      answer.status,
      MESSAGES[answer.status] ?? `The hub answered ${answer.status}.`,
    );
  }
  const text = await answer.text();
  return text === "" ? null : (JSON.parse(text) as unknown);
}

/** The same part of a page, as it is now. */
export async function fresh(url: string, selector: string): Promise<HTMLElement | null> {
  const answer = await fetch(url, {
    credentials: "same-origin",
    cache: "no-store",
    signal: AbortSignal.timeout(30_000),
  });
  if (!answer.ok || answer.redirected) {
    return null;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return find(selector, HTMLElement, page);
}
