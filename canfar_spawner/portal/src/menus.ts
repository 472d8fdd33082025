/** The menu of a card, made when somebody opens it: a page may have hundreds of cards. */
import { find, findAll } from "./dom";
import { say } from "./say";
import { copyOf } from "./slots";

/** Make an item do what a button of the card does, or take it out where the card has none. */
function like(item: HTMLElement, button: HTMLElement | null): void {
  if (!button) {
    item.remove();
    return;
  }
  Object.assign(item.dataset, button.dataset);
  if (item instanceof HTMLAnchorElement && button instanceof HTMLAnchorElement) {
    item.href = button.href;
  }
}

function fill(menu: HTMLElement, card: HTMLElement): void {
  const { session = "", larger } = card.dataset;
  const name = find("[data-name-of]", HTMLElement, card)?.textContent ?? "";
  menu.ariaLabel = say("More for %(name)s", { name });
  for (const item of findAll("[data-item]", HTMLElement, menu)) {
    const { item: what = "" } = item.dataset;
    if (what === "extend" || what === "share" || what === "stop") {
      like(item, find(`.actions > [data-${what}]`, HTMLElement, card));
    } else if (what === "rename") {
      item.dataset.rename = session;
    } else if (what === "restart") {
      item.dataset.restart = session;
      item.hidden = larger === undefined;
    } else {
      item.dataset.text = what;
      item.dataset.id = session;
    }
  }
}

export function enhanceCardMenus(): void {
  // Opening is no event that rises: it is seen on its way down.
  document.addEventListener(
    "toggle",
    (event) => {
      const menu = event.target;
      const card = menu instanceof HTMLDetailsElement ? menu.closest("[data-session]") : null;
      if (menu instanceof HTMLDetailsElement && card instanceof HTMLElement && menu.open) {
        const items = copyOf("card-menu-template");
        fill(items, card);
        find(".menu-items", HTMLElement, menu)?.remove();
        menu.append(items);
      }
    },
    true,
  );
}
