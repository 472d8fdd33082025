/** Which sizes start now and which must wait, from what the platform has free. */
import { find, findAll, setText } from "./dom";
import { say, sayMany } from "./say";
import { Live, showUnknown, v1, v1Known, type Look } from "./v1";

const EVERY_MS = 30_000;

/** Machines that have equally much free. */
export interface Free {
  nodes: number;
  cores: number;
  memoryGb: number;
  gpus: number;
}

export interface Size {
  cores: number;
  memory: number;
  gpus: number;
}

export function fits(free: readonly Free[], size: Size): number {
  return free
    .filter(
      (node) => node.cores >= size.cores && node.memoryGb >= size.memory && node.gpus >= size.gpus,
    )
    .reduce((sum, node) => sum + node.nodes, 0);
}

/** The largest pair of the offered sizes that fits on one machine; null where none does. */
export function largest(
  free: readonly Free[],
  cores: readonly number[],
  memory: readonly number[],
  gpus: number,
): Size | null {
  let best: Size | null = null;
  for (const node of free) {
    const found = {
      cores: Math.max(...cores.filter((size) => size <= node.cores)),
      memory: Math.max(...memory.filter((size) => size <= node.memoryGb)),
      gpus,
    };
    const possible = node.gpus >= gpus && found.cores > 0 && found.memory > 0;
    if (possible && (!best || found.memory > best.memory)) {
      best = found;
    }
  }
  return best;
}

function offered(field: string): number[] {
  return findAll(`#${field} input:not(:disabled)`, HTMLInputElement)
    .map((input) => Number(input.value))
    .filter((size) => size > 0);
}

/** The line under the sizes, and the marks at those that must wait. */
export class Room {
  private free: readonly Free[] | null = null;
  private unknown: Look<unknown> | null = null;
  private asked: Size | null = null;
  private fixed = false;

  /** `held`: sizes are more than what programs are told, so that one may have to wait. */
  constructor(private readonly held: boolean) {}

  start(): void {
    if (v1Known()) {
      new Live(() => v1<{ free?: Free[] }>("GET", "session?view=stats"), EVERY_MS)
        .subscribe((look) => this.heard(look))
        .start();
    }
  }

  /** Say how it is for a size; null where none is chosen yet. */
  say(size: Size | null, fixed: boolean): void {
    this.asked = size;
    this.fixed = fixed;
    this.show();
  }

  private heard(look: Look<{ free?: Free[] }>): void {
    this.free = look.trouble === "" ? (look.value?.free ?? null) : null;
    this.unknown = look.trouble === "" ? null : look;
    this.show();
  }

  private show(): void {
    const line = find("#fits", HTMLElement);
    if (this.asked && this.unknown) {
      showUnknown(line, this.unknown, (since) =>
        say("What is free now is not known. %(since)s", { since }),
      );
    } else {
      setText(line, this.sentence());
    }
    line?.classList.toggle("fits-waits", this.waits());
    for (const field of ["cores", "memory", "gpus"] as const) {
      for (const input of findAll(`#${field} input`, HTMLInputElement)) {
        this.mark(input, field);
      }
    }
  }

  private waits(): boolean {
    return this.free !== null && this.asked !== null && fits(this.free, this.asked) === 0;
  }

  private sentence(): string {
    if (!this.asked || !this.free) {
      return "";
    }
    const nodes = fits(this.free, this.asked);
    if (nodes > 0) {
      return this.held
        ? sayMany("Fits now on %(num)s machine.", "Fits now on %(num)s machines.", nodes)
        : say("Fits now.");
    }
    const best = largest(this.free, offered("cores"), offered("memory"), this.asked.gpus);
    if (!this.held) {
      return say(
        "More than is free on this machine now. It starts at once, and shares with what runs.",
      );
    }
    if (!this.fixed || !best) {
      return say("Must wait: nothing of this size is free now.");
    }
    return say(
      "Must wait: no machine has this much free. Up to %(cores)s cores and %(memory)s GB start now.",
      {
        cores: best.cores,
        memory: best.memory,
      },
    );
  }

  private mark(input: HTMLInputElement, field: "cores" | "memory" | "gpus"): void {
    const size = this.asked && { ...this.asked, [field]: Number(input.value) };
    const counts = this.fixed || field === "gpus";
    const waits =
      this.held && this.free !== null && size !== null && counts && fits(this.free, size) === 0;
    const pill = input.closest(".pill");
    pill?.classList.toggle("pill-waits", waits && input.value !== "");
    if (pill instanceof HTMLElement) {
      pill.title = waits ? say("Must wait now") : "";
    }
  }
}
