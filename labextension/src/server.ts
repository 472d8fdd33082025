/** The session's own server, as far as the session and its sharing are concerned. */
import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import type { ITranslator, TranslationBundle } from "@jupyterlab/translation";

/** A refusal, or that nothing answered; its message can be shown as it is. */
export class Problem extends Error {
  constructor(
    /** Of HTTP; 0 where there was no answer. */
    readonly status: number,
    readonly code: string,
    message: string,
    /** Which field of a form is wrong, if one is. */
    readonly field = "",
  ) {
    super(message);
  }

  /** Whether asking again later may help. */
  get passes(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

interface Refusal {
  code?: string;
  field?: string | null;
  message?: string;
}

export type Method = "GET" | "POST" | "PATCH" | "DELETE";

export class Server {
  readonly #settings = ServerConnection.makeSettings();
  readonly #language: string;

  constructor(
    translator: ITranslator,
    private readonly trans: TranslationBundle,
  ) {
    this.#language = translator.languageCode.replace("_", "-");
  }

  /** Ask something, in the background where nobody has clicked: that is no use of the session. */
  async ask<T>(method: Method, path: string, body?: unknown, background = false): Promise<T> {
    const query = background ? "?no_track_activity=1" : "";
    const url = URLExt.join(this.#settings.baseUrl, "canfar", path) + query;
    const headers: Record<string, string> = { "Accept-Language": this.#language };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
    }
    const init: RequestInit = { method, headers };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
    }
    const answer = await this.#send(url, init);
    const told = (await answer.json().catch(() => null)) as (T & Refusal) | null;
    if (answer.ok && told !== null) {
      return told;
    }
    throw this.#problem(answer.status, told);
  }

  async #send(url: string, init: RequestInit): Promise<Response> {
    try {
      return await ServerConnection.makeRequest(url, init, this.#settings);
    } catch {
      throw new Problem(0, "unreachable", this.trans.__("The session does not answer now."));
    }
  }

  #problem(status: number, told: Refusal | null): Problem {
    if (status === 404 && told?.message === undefined) {
      return new Problem(
        status,
        "no-panel",
        this.trans.__("This session's server has no part for the panel. Home offers the same."),
      );
    }
    const words = told?.message ?? this.trans.__("The session's server could not answer that.");
    return new Problem(status, told?.code ?? "failed", words, told?.field ?? "");
  }
}
