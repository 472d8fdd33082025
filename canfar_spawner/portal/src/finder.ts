/** Search, filter and shortening of the list of containers. */
import { find, findAll, setText } from "./dom";
import { say, sayMany } from "./say";

const SHORT = matchMedia("(max-width: 600px)").matches ? 6 : 12;
const ENOUGH_TO_FILTER = 9;

interface Card {
  element: HTMLElement;
  radio: HTMLInputElement | null;
  text: string;
}

export class Finder {
  private readonly list = find("#choices", HTMLElement);
  private readonly cards: Card[] = findAll("#choices > .choice", HTMLElement).map((element) => ({
    element,
    radio: find("input", HTMLInputElement, element),
    text: `${element.dataset.container ?? ""} ${element.textContent}`.toLowerCase(),
  }));
  private readonly input = find("#find", HTMLInputElement);
  private readonly chips = findAll("#filters [data-filter]", HTMLButtonElement);
  private readonly more = find("#show-all", HTMLButtonElement);
  private kind = "";
  private all = false;

  /** `first` are the containers that are shown before others where there are many. */
  constructor(private readonly first: ReadonlySet<string>) {}

  enhance(): void {
    const filters = find("#filters", HTMLElement);
    // "All" and one type would filter nothing.
    if (filters) {
      filters.hidden = this.cards.length < ENOUGH_TO_FILTER || this.chips.length < 3;
    }
    for (const chip of this.chips) {
      chip.addEventListener("click", () => {
        this.kind = chip.dataset.filter ?? "";
        for (const other of this.chips) {
          other.ariaPressed = String(other === chip);
        }
        this.show();
      });
    }
    this.input?.addEventListener("input", () => this.show());
    this.input?.addEventListener("keydown", (event) => this.key(event, this.input));
    this.more?.addEventListener("click", () => {
      const next = this.radios().length;
      this.all = true;
      this.show();
      this.radios()[next]?.focus();
    });
    this.show();
  }

  private key(event: KeyboardEvent, input: HTMLInputElement | null): void {
    if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault(); // Enter looks for a container; it must not launch one.
      this.radios()
        .find((radio) => !radio.disabled)
        ?.focus();
    } else if (event.key === "Escape" && input && input.value !== "") {
      event.preventDefault();
      input.value = "";
      this.show();
    }
  }

  /** The choices in sight. */
  private radios(): HTMLInputElement[] {
    return this.cards.flatMap(({ element, radio }) => (radio && !element.hidden ? [radio] : []));
  }

  private show(): void {
    const words = (this.input?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const matching = this.cards.filter(
      ({ element, text }) =>
        (this.kind === "" || element.dataset.kind === this.kind) &&
        words.every((word) => text.includes(word)),
    );
    const short = !this.all && words.length === 0 && matching.length > SHORT + 2;
    const shown = new Set(short ? this.shortest(matching) : matching);
    for (const card of this.cards) {
      const kept = card.radio?.checked === true && words.length === 0 && this.kind === "";
      card.element.hidden = !(shown.has(card) || kept);
    }
    this.list?.setAttribute("data-ready", "");
    if (this.more) {
      this.more.hidden = !short;
      setText(this.more, say("Show all %(num)s containers", { num: matching.length }));
    }
    this.tell(words.length > 0, matching.length);
  }

  /** The first few, and those that were launched before. */
  private shortest(cards: Card[]): Card[] {
    const known = cards.filter(({ element }) => this.first.has(element.dataset.container ?? ""));
    return [...known, ...cards.filter((card) => !known.includes(card))].slice(0, SHORT);
  }

  private tell(searched: boolean, found: number): void {
    let text = "";
    if (found === 0) {
      text = say("No container matches. Try another word or type.");
    } else if (searched) {
      text = sayMany("%(num)s container matches.", "%(num)s containers match.", found);
    }
    setText(find("#found", HTMLElement), text);
  }
}
