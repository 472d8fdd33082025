/** What is said to the owner wherever she works in JupyterLab: memory is short, or the end is near. */
import { Notification } from "@jupyterlab/apputils";
import type { CommandRegistry } from "@lumino/commands";
import type { TranslationBundle } from "@jupyterlab/translation";

import { ids } from "./ids";
import type { SessionModel } from "./session-model";
import { gibibytes, memoryLevel, moment, part } from "./words";

/** Looks in a row that must agree, so that a peak of a moment says nothing. */
const LOOKS = 2;
/** Below the limit by this much it counts as over, and the next time is told anew. */
const EASED = 0.1;

export class Warnings {
  #high = 0;
  #memory: string | null = null;
  #told = "";

  constructor(
    private readonly model: SessionModel,
    private readonly commands: CommandRegistry,
    private readonly trans: TranslationBundle,
    private readonly language: string,
    private readonly settings: () => { warn: boolean; memory: number },
  ) {
    model.changed.connect(this.#look, this);
  }

  #look(): void {
    const { model } = this;
    const { warn, memory } = this.settings();
    if (!warn || model.visitor || model.trouble !== "") {
      return;
    }
    this.#lookAtMemory(memory / 100);
    const { session } = model;
    const words = session?.warning ?? "";
    if (session && words !== "" && words !== this.#told) {
      // JupyterLab cuts notifications at 140 characters; the panel has the whole sentence.
      const at = moment(this.trans, new Date(session.ends), new Date(), this.language);
      const short = this.trans.__("This session ends %1. What is in /scratch is wiped then.", at);
      Notification.warning(short, {
        autoClose: false,
        actions: [
          {
            label: this.trans.__("Extend"),
            displayType: "accent",
            callback: () => void this.commands.execute(ids.extend),
          },
        ],
      });
    }
    this.#told = words;
  }

  #lookAtMemory(limit: number): void {
    const level = memoryLevel(this.model.session, this.model.here?.usage ?? null);
    if (level === null) {
      return;
    }
    const used = part(level);
    this.#high = used >= limit ? this.#high + 1 : 0;
    if (this.#high >= LOOKS && this.#memory === null) {
      const numbers = [gibibytes(level.value), gibibytes(level.most)];
      const words =
        this.model.session?.enforced === false
          ? this.trans.__("This session uses %1 of its %2 GB of memory.", ...numbers)
          : this.trans.__(
              "This session uses %1 of its %2 GB of memory, and is ended if it uses more. Close notebooks that are not needed.",
              ...numbers,
            );
      this.#memory = Notification.warning(words, { autoClose: false });
    } else if (used < limit - EASED && this.#memory !== null) {
      Notification.dismiss(this.#memory);
      this.#memory = null;
    }
  }
}
