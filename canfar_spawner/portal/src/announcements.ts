/** An announcement that was put away stays away in this browser, until it says something else. */
import { find, findAll } from "./dom";

const KEY = "canfar-dismissed";
const MOST = 5;

function dismissed(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((text) => typeof text === "string") : [];
  } catch {
    return []; // Storage may be forbidden, or hold what is not ours.
  }
}

/** Runs before anything is drawn: where something was put away, announcements wait to be looked at. */
export function holdAnnouncements(): void {
  document.documentElement.classList.toggle("dismisses", dismissed().length > 0);
}

export function enhanceAnnouncements(): void {
  const away = dismissed();
  for (const notice of findAll(".announcement", HTMLElement)) {
    const text = find("span", HTMLElement, notice)?.textContent ?? "";
    notice.hidden = away.includes(text);
    notice.dataset.seen = "";
    find("button[data-dismiss]", HTMLButtonElement, notice)?.addEventListener("click", () => {
      notice.hidden = true;
      try {
        localStorage.setItem(KEY, JSON.stringify([text, ...away].slice(0, MOST)));
      } catch {
        // It is back with the next page then.
      }
      find("main", HTMLElement)?.focus();
    });
  }
}
