/** The launch form, following the chosen container. Without this it is an ordinary form. */
import { find, findAll, setText } from "./dom";
import { Finder } from "./finder";
import { chosenSize, explainModes, offerSizes } from "./sizes";

function plural(count: string, word: string): string {
  return `${count} ${word}${count === "1" ? "" : "s"}`;
}

function chosenOr(field: HTMLInputElement | HTMLSelectElement | null, otherwise: string): string {
  const value = field?.value.trim() ?? "";
  return value === "" ? otherwise : value;
}

class Launch {
  private readonly version = find("#version", HTMLSelectElement);
  private readonly groups = findAll("#version > optgroup", HTMLOptGroupElement);
  private readonly name = find("#name", HTMLInputElement);
  private readonly image = find("#image", HTMLInputElement);
  private readonly type = find("#kind", HTMLSelectElement);
  private suggested = "";
  private container: string | null | undefined;

  constructor(private readonly form: HTMLFormElement) {}

  enhance(): void {
    this.form.addEventListener("change", () => this.update());
    this.form.addEventListener("input", () => this.update());
    addEventListener("pageshow", () => this.update());
    this.update();
  }

  private card(): HTMLElement | null {
    const chosen = find("input[name=container]:checked", HTMLInputElement);
    const card = chosen?.closest(".choice");
    return card instanceof HTMLElement ? card : null;
  }

  private update(): void {
    const card = this.card();
    const custom = card !== null && card.dataset.container === "";
    const kind = custom ? (this.type?.value ?? "") : (card?.dataset.kind ?? "");
    if (this.container !== (card?.dataset.container ?? null)) {
      this.container = card?.dataset.container ?? null;
      this.offerVersions(card);
    }
    this.offerImage(custom);
    const mode = this.offerModes(card);
    explainModes(kind);
    offerSizes(kind, mode === "fixed");
    this.suggestName(card, custom);
    this.summarise(card, custom, mode);
  }

  private offerVersions(card: HTMLElement | null): void {
    if (!this.version) {
      return;
    }
    const field = this.version.closest(".field");
    const kept = this.version.value;
    const mine = this.groups.find(
      (group) => group.dataset.container === this.container && this.container !== "",
    );
    const first = this.version.options[0];
    const recommended = card?.dataset.defaultVersion ?? "";
    if (first) {
      setText(first, recommended ? `${recommended} (recommended)` : "The recommended one");
    }
    for (const group of this.groups) {
      group.remove();
    }
    if (mine) {
      this.version.append(mine);
      for (const option of findAll("option", HTMLOptionElement, mine)) {
        option.hidden = option.value === recommended;
      }
    }
    const known = Array.from(this.version.options).some((option) => option.value === kept);
    this.version.value = known && kept !== recommended ? kept : "";
    this.version.disabled = !mine;
    if (field instanceof HTMLElement) {
      field.hidden = !mine;
    }
  }

  private offerImage(custom: boolean): void {
    const fields = find("#custom-fields", HTMLElement);
    if (fields && this.image && this.type) {
      fields.hidden = !custom;
      for (const input of [this.image, this.type]) {
        input.disabled = !custom;
        input.required = custom;
      }
    }
  }

  private offerModes(card: HTMLElement | null): string {
    const allowed = card?.dataset.modes?.split(" ").filter((word) => word !== "") ?? [];
    const inputs = findAll("input[name=mode]", HTMLInputElement);
    for (const input of inputs) {
      input.disabled = allowed.length > 0 && !allowed.includes(input.value);
    }
    let chosen = inputs.find((input) => input.checked && !input.disabled);
    if (!chosen) {
      chosen = inputs.find((input) => !input.disabled);
      if (chosen) {
        chosen.checked = true;
      }
    }
    return chosen?.value ?? "";
  }

  /** Propose a name for as long as the person has not written one. */
  private suggestName(card: HTMLElement | null, custom: boolean): void {
    if (this.name?.value !== this.suggested || this.name === document.activeElement) {
      return;
    }
    const repository = (this.image?.value ?? "").split("@")[0]?.split("/").at(-1)?.split(":")[0];
    const base = (custom ? repository : card?.dataset.container) ?? "";
    const number = Number(this.form.dataset.running ?? "0") + 1;
    this.suggested = base === "" || number === 1 ? base : `${base}-${number}`;
    this.name.value = this.suggested;
  }

  private summarise(card: HTMLElement | null, custom: boolean, mode: string): void {
    const summary = find("#summary", HTMLElement);
    const lifetime = this.form.dataset.lifetime ?? "";
    const end = lifetime ? ` Ends after ${lifetime}.` : "";
    if (!card) {
      setText(summary, "Choose a container to launch.");
      return;
    }
    const { title = "", defaultVersion = "" } = card.dataset;
    const version = chosenOr(this.version, defaultVersion);
    const what = custom ? chosenOr(this.image, title) : `${title} ${version}`.trim();
    const gpus = chosenSize("gpus");
    const accelerator = gpus && gpus !== "0" ? `, with ${plural(gpus, "GPU")}` : "";
    if (mode === "fixed") {
      const size = `${plural(chosenSize("cores"), "core")} and ${chosenSize("memory")} GB`;
      setText(summary, `${what}, fixed: ${size} are yours alone${accelerator}.${end}`);
    } else {
      setText(summary, `${what}, flexible: uses what is free${accelerator}.${end}`);
    }
  }
}

export function enhanceLaunch(): void {
  const form = find("form#launch", HTMLFormElement);
  if (form) {
    new Finder().enhance();
    new Launch(form).enhance();
  }
}
