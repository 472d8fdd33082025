/** Cores, memory and GPUs of the chosen container's session type. */
import { find, findAll, setText } from "./dom";

type Field = "cores" | "memory" | "gpus";

/** Which of the offered sizes is proposed first: small, yet enough for an ordinary notebook. */
const PROPOSED: Readonly<Record<Field, number>> = { cores: 1, memory: 2, gpus: -1 };

function dataOf(kind: string): HTMLElement | undefined {
  return findAll("[data-sizes]", HTMLElement).find((one) => one.dataset.sizes === kind);
}

/** What a flexible session of a type surely has. */
export function leastOf(kind: string): { cores: number; memory: number } {
  const [cores = 0, memory = 0] = (dataOf(kind)?.dataset.least ?? "").split(" ").map(Number);
  return { cores, memory };
}

function offered(kind: string, field: Field): Set<string> | null {
  const words = dataOf(kind)?.dataset[field];
  return words === undefined ? null : new Set(words.split(" ").filter((word) => word !== ""));
}

export function chosenSize(field: Field): string {
  return find(`#${field} input:checked:not(:disabled)`, HTMLInputElement)?.value ?? "";
}

/** Offer the sizes of a session type; every size where the type is not known yet. */
function offer(kind: string, field: Field, needed: boolean): void {
  const box = find(`#${field}`, HTMLFieldSetElement);
  if (!box) {
    return;
  }
  const allowed = offered(kind, field);
  const usable: HTMLInputElement[] = [];
  for (const input of findAll("input", HTMLInputElement, box)) {
    const none = input.value === "";
    const fits = none ? !needed : allowed === null || allowed.has(input.value);
    input.disabled = !fits;
    const pill = input.closest("label");
    if (pill) {
      pill.hidden = !fits;
    }
    if (fits && !none) {
      usable.push(input);
    } else if (!fits) {
      input.checked = false;
    }
  }
  if (field === "gpus") {
    box.hidden = usable.length === 0;
  }
  if (!find("input:checked", HTMLInputElement, box)) {
    const proposed = needed
      ? (usable[Math.min(PROPOSED[field], usable.length - 1)] ?? usable[0])
      : find('input[value=""]', HTMLInputElement, box);
    if (proposed) {
      proposed.checked = true;
    }
  }
}

export function offerSizes(kind: string, fixed: boolean): void {
  const sizes = find("#sizes", HTMLElement);
  if (sizes) {
    sizes.hidden = !fixed;
  }
  for (const field of ["cores", "memory"] as const) {
    const box = find(`#${field}`, HTMLFieldSetElement);
    if (box) {
      box.disabled = !fixed; // A disabled fieldset is not sent, and flexible takes no sizes.
    }
    if (fixed) {
      offer(kind, field, true);
    }
  }
  offer(kind, "gpus", false);
}

/** Say what each mode means for this session type. */
export function explainModes(kind: string): void {
  const data = dataOf(kind);
  for (const mode of ["flexible", "fixed"] as const) {
    const sentence = data?.dataset[mode];
    if (sentence !== undefined) {
      setText(find(`[data-sentence="${mode}"]`, HTMLElement), sentence);
    }
  }
}
