/** The launch form, following the chosen container. Without this it is an ordinary form. */
import { find, findAll, setText } from "./dom";
import { Finder } from "./finder";
import { remember, remembered, type Choice } from "./remember";
import { Room } from "./room";
import { say, sayMany } from "./say";
import { chosenSize, explainModes, leastOf, offerSizes } from "./sizes";
import { setTimed } from "./times";

/** What a link can hold: neither the environment nor what a registry asks for. */
const LINKED = ["container", "version", "image", "kind", "mode", "cores", "memory", "gpus", "open"];

function chosenOr(field: HTMLInputElement | HTMLSelectElement | null, otherwise: string): string {
  const value = field?.value.trim() ?? "";
  return value === "" ? otherwise : value;
}

function tick(selector: string, value: string): void {
  const input = findAll(selector, HTMLInputElement).find((each) => each.value === value);
  if (input) {
    input.checked = true; // What is not offered is taken back below.
  }
}

class Launch {
  private readonly version = find("#version", HTMLSelectElement);
  private readonly groups = findAll("#version > optgroup", HTMLOptGroupElement);
  private readonly name = find("#name", HTMLInputElement);
  private readonly image = find("#image", HTMLInputElement);
  private readonly type = find("#kind", HTMLSelectElement);
  private readonly link = find("#link", HTMLInputElement);
  private readonly projects = findAll('#projects input[type="checkbox"]', HTMLInputElement);
  private readonly owner: string;
  private readonly known: ReadonlyMap<string, Choice>;
  private readonly room: Room;
  private suggested = "";
  private container: string | null | undefined;

  constructor(private readonly form: HTMLFormElement) {
    this.owner = form.dataset.owner ?? "";
    this.known = new Map(remembered(this.owner));
    this.room = new Room(form.dataset.held !== undefined);
  }

  enhance(): void {
    if (this.form.dataset.filled === undefined) {
      this.asLastTime();
    } else {
      this.container = this.card()?.dataset.container ?? null;
      this.offerVersions(this.card(), this.version?.value ?? "");
    }
    new Finder(new Set(this.known.keys())).enhance();
    this.form.addEventListener("change", () => this.update());
    this.form.addEventListener("input", () => this.update());
    this.form.addEventListener("submit", () => this.keep());
    for (const button of findAll("button[data-pick]", HTMLButtonElement)) {
      button.addEventListener("click", () => {
        for (const project of this.projects) {
          project.checked = button.dataset.pick === "all";
        }
        this.update();
      });
    }
    addEventListener("pageshow", () => this.update());
    this.update();
    this.room.start();
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
      this.offerVersions(card, "");
      this.recall(this.container);
    }
    this.offerImage(custom);
    const mode = this.offerModes(card);
    explainModes(kind);
    offerSizes(kind, mode === "fixed");
    this.suggestName(card, custom);
    this.summarise(card, custom, mode);
    this.room.say(card ? this.size(kind, mode) : null, mode === "fixed");
    if (this.link) {
      this.link.value = this.address();
    }
  }

  private size(kind: string, mode: string): { cores: number; memory: number; gpus: number } {
    const gpus = Number(chosenSize("gpus"));
    return mode === "fixed"
      ? { cores: Number(chosenSize("cores")), memory: Number(chosenSize("memory")), gpus }
      : { ...leastOf(kind), gpus };
  }

  /** Begin with the container of the last launch. */
  private asLastTime(): void {
    const [last] = this.known.keys();
    if (last) {
      tick("input[name=container]:enabled", last);
      const without = this.known.get(last)?.without ?? [];
      for (const project of this.projects) {
        project.checked = !without.includes(project.value);
      }
    }
  }

  /** Choose for a container what was chosen for it the last time. */
  private recall(container: string | null): void {
    const choice = this.known.get(container ?? "");
    if (!choice) {
      return;
    }
    if (
      this.version &&
      Array.from(this.version.options).some((one) => one.value === choice.version)
    ) {
      this.version.value = choice.version;
    }
    tick("input[name=mode]", choice.mode);
    for (const field of ["cores", "memory", "gpus"] as const) {
      tick(`#${field} input`, choice[field]);
    }
  }

  private keep(): void {
    const container = this.card()?.dataset.container;
    if (container) {
      const mode = find("input[name=mode]:checked", HTMLInputElement)?.value ?? "";
      remember(this.owner, container, {
        version: this.version?.value ?? "",
        mode,
        cores: chosenSize("cores"),
        memory: chosenSize("memory"),
        gpus: chosenSize("gpus"),
        without: this.projects.filter((each) => !each.checked).map((each) => each.value),
      });
    }
  }

  /** The address that opens the form as it is filled in now. */
  private address(): string {
    const url = new URL(`${document.body.dataset.base ?? "/hub/"}spawn`, location.href);
    const data = new FormData(this.form);
    for (const field of LINKED) {
      const value = data.get(field);
      if (typeof value === "string" && value !== "") {
        url.searchParams.set(`opt-${field}`, value);
      }
    }
    if (this.projects.some((each) => !each.checked)) {
      for (const project of data.getAll("projects")) {
        if (typeof project === "string") {
          url.searchParams.append("opt-projects", project);
        }
      }
    }
    return url.href;
  }

  /** Offer a container's versions; that of another container means nothing here. */
  private offerVersions(card: HTMLElement | null, kept: string): void {
    if (!this.version) {
      return;
    }
    const field = this.version.closest(".field");
    const mine = this.groups.find(
      (group) => group.dataset.container === this.container && this.container !== "",
    );
    const first = this.version.options[0];
    const recommended = card?.dataset.defaultVersion ?? "";
    if (first) {
      setText(
        first,
        recommended
          ? say("%(version)s (recommended)", { version: recommended })
          : say("The recommended one"),
      );
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
      for (const input of findAll("input, select", HTMLElement, fields)) {
        input.toggleAttribute("disabled", !custom);
      }
      this.image.required = custom;
      this.type.required = custom;
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
    const taken = new Set((this.form.dataset.taken ?? "").split("\n"));
    this.suggested = base;
    for (let number = 2; base !== "" && taken.has(this.suggested); number += 1) {
      this.suggested = `${base}-${number}`;
    }
    this.name.value = this.suggested;
  }

  private summarise(card: HTMLElement | null, custom: boolean, mode: string): void {
    const summary = find("#summary", HTMLElement);
    if (!card) {
      setText(summary, say("Choose a container to launch."));
      return;
    }
    const { title = "", defaultVersion = "" } = card.dataset;
    const version = chosenOr(this.version, defaultVersion);
    const what = custom ? chosenOr(this.image, title) : `${title} ${version}`.trim();
    const sentences = [this.amount(what, mode)];
    const gpus = Number(chosenSize("gpus"));
    if (gpus > 0) {
      sentences.push(sayMany("With %(num)s GPU.", "With %(num)s GPUs.", gpus));
    }
    const seconds = Number(this.form.dataset.seconds);
    if (seconds > 0) {
      const end = new Date(Date.now() + seconds * 1_000);
      setTimed(summary, end, (time) =>
        [...sentences, say("Ends %(time)s, can be extended.", { time })].join(" "),
      );
    } else {
      setText(summary, sentences.join(" "));
    }
  }

  private amount(what: string, mode: string): string {
    if (mode !== "fixed") {
      return say("%(what)s, flexible: uses what is free.", { what });
    }
    const cores = chosenSize("cores");
    const size = {
      what,
      cores: cores === "1" ? say("%(num)s core", { num: 1 }) : say("%(num)s cores", { num: cores }),
      memory: chosenSize("memory"),
    };
    return this.form.dataset.held === undefined
      ? say("%(what)s, fixed: %(cores)s and %(memory)s GB.", size)
      : say("%(what)s, fixed: %(cores)s and %(memory)s GB are yours alone.", size);
  }
}

export function enhanceLaunch(): void {
  const form = find("form#launch", HTMLFormElement);
  if (form) {
    new Launch(form).enhance();
  }
}
