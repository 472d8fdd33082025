/** JupyterHub's own page of administration, whose script leaves things without a name or a key. */
import { find, findAll } from "./dom";
import { say } from "./say";

function call(element: Element | null, name: string): void {
  if (element && element.getAttribute("aria-label") !== name) {
    element.setAttribute("aria-label", name);
  }
}

/** A row of a session, or of somebody without one, opens its details by a button with a mere arrow. */
function nameDetails(row: HTMLTableRowElement): void {
  const [person = "", session = ""] = [
    "[data-testid^=user-name-div]",
    "[data-testid=user-row-server]",
  ].map((selector) => find(selector, HTMLElement, row)?.textContent.trim() ?? "");
  const button = find("button[aria-expanded]", HTMLButtonElement, row);
  const name = session ? `${person}/${session}` : person;
  call(button, say("Details of %(name)s", { name }));
  const details = row.nextElementSibling?.querySelector(".collapse, .collapsing");
  const id = button?.getAttribute("aria-controls");
  if (details && id) {
    details.id = id; // What the button says it controls has no id otherwise.
  }
}

/** A column is put in order by an icon that only a mouse could press. */
function giveKeys(icon: HTMLElement): void {
  const column = icon.closest("th")?.textContent.trim() ?? "";
  call(icon, say("Sort by %(column)s", { column }));
  if (icon.tabIndex < 0) {
    icon.tabIndex = 0;
    icon.setAttribute("role", "button");
    icon.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        icon.click();
      }
    });
  }
}

function mend(page: HTMLElement): void {
  call(find("input[name=user_search]", HTMLInputElement, page), say("Search users"));
  // It stands in a label that says more than its own name.
  find("input[name=pagination-limit]", HTMLInputElement, page)?.removeAttribute("aria-label");
  findAll("tr.user-row", HTMLTableRowElement, page).forEach(nameDetails);
  findAll(".sort-icon", HTMLElement, page).forEach(giveKeys);
}

export function enhanceAdministration(): void {
  const page = find("#react-admin-hook", HTMLElement);
  if (page) {
    new MutationObserver(() => mend(page)).observe(page, { childList: true, subtree: true });
    mend(page);
  }
}
