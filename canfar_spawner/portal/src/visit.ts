/** Before a session of somebody else is entered: until when that may be. */
import { find } from "./dom";
import { showTimes } from "./times";
import { v1, v1Known } from "./v1";

interface SharedSession {
  owner: string;
  session: string;
  until: string;
}

export function enhanceVisit(): void {
  const place = find("[data-visit]", HTMLElement);
  const time = place ? find("time", HTMLTimeElement, place) : null;
  if (!place || !time || !v1Known()) {
    return;
  }
  void v1<SharedSession[]>("GET", "shared")
    .then((found) => {
      const shared = found.find((one) => `${one.owner}/${one.session}` === place.dataset.visit);
      if (shared) {
        time.dateTime = shared.until;
        showTimes(place);
        place.hidden = false;
      }
    })
    // An administrator enters without a share; the rest of the page says what matters most.
    .catch(() => undefined);
}
