/** Search, filter and shortening of the list of containers. */
import { find, findAll, setText } from "./dom";

const SHORT = matchMedia("(max-width: 600px)").matches ? 6 : 12;
const ENOUGH_TO_FILTER = 9;

export class Finder {
  private readonly cards = findAll("#choices > .choice", HTMLElement);
  private readonly input = find("#find", HTMLInputElement);
  private readonly chips = findAll("#filters [data-filter]", HTMLButtonElement);
  private readonly more = find("#show-all", HTMLButtonElement);
  private kind = "";
  private all = false;

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
    this.input?.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault(); // Enter looks for a container; it must not launch one.
        this.radios()
          .find((radio) => !radio.disabled)
          ?.focus();
      }
    });
    this.more?.addEventListener("click", () => {
      const next = this.radios().length;
      this.all = true;
      this.show();
      this.radios()[next]?.focus();
    });
    this.show();
  }

  /** The choices in sight. */
  private radios(): HTMLInputElement[] {
    return findAll("#choices > .choice:not([hidden]) input", HTMLInputElement);
  }

  private show(): void {
    const words = (this.input?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const matching = this.cards.filter(
      (card) =>
        (this.kind === "" || card.dataset.kind === this.kind) &&
        words.every((word) => (card.dataset.search ?? "").includes(word)),
    );
    const short = !this.all && words.length === 0 && matching.length > SHORT + 2;
    const shown = new Set(short ? matching.slice(0, SHORT) : matching);
    for (const card of this.cards) {
      const chosen = find("input", HTMLInputElement, card)?.checked === true;
      card.hidden = !(shown.has(card) || (chosen && words.length === 0 && this.kind === ""));
    }
    if (this.more) {
      this.more.hidden = !short;
      setText(this.more, `Show all ${matching.length} containers`);
    }
    const none = matching.length === 0 ? "No container matches. Try another word or type." : "";
    setText(find("#none-found", HTMLElement), none);
  }
}
