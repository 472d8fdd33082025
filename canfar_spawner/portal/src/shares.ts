/** The list of who may enter a session, drawn from the templates that the page has of its rows. */
import { find } from "./dom";
import { say } from "./say";
import { showTimes } from "./times";

interface Share {
  id: string;
  how: "link" | "person" | "group";
  whom: string;
  title: string;
  until: string;
  letsIn: string[];
  linkUntil: string | null;
  /** How many may come in by a link. */
  people: number | null;
  /** Whether the panel shows whom it lets in the owner's storage. */
  storage: boolean;
}

interface Visitor {
  name: string;
  /** Null for who is in it without a share. */
  until: string | null;
  here: string | null;
}

/** What the session manager tells of a session's sharing. */
export interface Overview {
  now: string;
  open: boolean;
  off: string;
  groups: string[];
  lengths: { hours: number | null; words: string }[];
  mostPeople: number;
  /** Whether a share may open storage. */
  storage: boolean;
  shares: Share[];
  visitors: Visitor[];
}

function copyOf(template: string): HTMLElement {
  const found = find(`#${template}`, HTMLTemplateElement);
  const item = found?.content.firstElementChild?.cloneNode(true);
  return item instanceof HTMLElement ? item : document.createElement("li");
}

function slot(item: HTMLElement, name: string): HTMLElement | null {
  return find(`[data-slot="${name}"]`, HTMLElement, item);
}

/** Put a time where it belongs, or take away what would say it. */
function at(item: HTMLElement, name: string, when: string | null): void {
  const place = slot(item, name);
  const time = place ? find("time", HTMLTimeElement, place) : null;
  if (when === null || !time) {
    place?.remove();
    return;
  }
  time.dateTime = when;
}

function button(item: HTMLElement, label: string, what: "revoke" | "person", value: string): void {
  const found = find("[data-take-away]", HTMLButtonElement, item);
  if (found) {
    found.ariaLabel = label;
    found.dataset[what] = value;
  }
}

function guest(name: string, here: string | null): HTMLElement {
  const item = copyOf("share-guest");
  const place = slot(item, "name");
  if (place) {
    place.textContent = name;
  }
  at(item, "here", here);
  button(item, say("Remove %(name)s", { name }), "person", name);
  return item;
}

/** Until when somebody more may come in by a link; null where nobody may. */
function opensUntil(share: Share, now: string): string | null {
  const full = share.letsIn.length >= (share.people ?? 0);
  const open = share.linkUntil !== null && Date.parse(share.linkUntil) > Date.parse(now);
  return open && !full ? share.linkUntil : null;
}

function row(share: Share, now: string, here: ReadonlyMap<string, string | null>): HTMLElement {
  const item = copyOf(`share-item-${share.how}`);
  const title = slot(item, "title");
  if (title) {
    title.textContent = share.title;
  }
  at(item, "until", share.until);
  at(item, "opens", opensUntil(share, now));
  if (!share.storage) {
    slot(item, "storage")?.remove();
  }
  if (share.how === "person") {
    at(item, "here", here.get(share.whom) ?? null);
  } else {
    slot(item, "guests")?.append(
      ...share.letsIn.map((name) => guest(name, here.get(name) ?? null)),
    );
    if (share.letsIn.length > 0) {
      slot(item, "nobody")?.remove();
    }
  }
  button(item, say("Revoke %(name)s", { name: share.title }), "revoke", share.id);
  return item;
}

/** An administrator, or somebody whose share has just ended: there is nothing to take away. */
function stranger(name: string, here: string | null): HTMLElement {
  const item = guest(name, here);
  find("[data-take-away]", HTMLElement, item)?.remove();
  return item;
}

/** Draw who may enter, and who is in it without a share. */
export function fillShares(list: HTMLElement, found: Overview): void {
  const here = new Map(found.visitors.map((one) => [one.name, one.here]));
  const strangers = found.visitors.filter((one) => one.until === null);
  list.replaceChildren(
    ...found.shares.map((share) => row(share, found.now, here)),
    ...strangers.map((one) => stranger(one.name, one.here)),
  );
  showTimes(list);
}
