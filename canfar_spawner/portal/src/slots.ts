/** Lists that are made from a `<template>`: its words are the page's, the values come by slot. */
import { find } from "./dom";

/** A copy of a template's one element. */
export function copyOf(template: string): HTMLElement {
  const source = find(`#${template}`, HTMLTemplateElement);
  const made = source?.content.firstElementChild?.cloneNode(true);
  if (!(made instanceof HTMLElement)) {
    throw new Error(`the page has no template ${template}`);
  }
  return made;
}

/** A part of a copy that has a name. */
export function slot(root: ParentNode, name: string): HTMLElement | null {
  return find(`[data-slot="${name}"]`, HTMLElement, root);
}

/** Make a list show some things in their order, keeping the elements of those that it showed. */
export function keyed<T>(
  list: HTMLElement,
  template: string,
  things: readonly T[],
  key: (thing: T) => string,
  fill: (element: HTMLElement, thing: T) => void,
): void {
  const known = new Map<string, HTMLElement>();
  for (const child of Array.from(list.children)) {
    if (child instanceof HTMLElement) {
      known.set(child.dataset.key ?? "", child);
    }
  }
  let at = list.firstElementChild;
  for (const thing of things) {
    const id = key(thing);
    const element = known.get(id) ?? copyOf(template);
    element.dataset.key = id;
    known.delete(id);
    fill(element, thing);
    if (element === at) {
      at = at.nextElementSibling;
    } else {
      list.insertBefore(element, at);
    }
  }
  for (const gone of known.values()) {
    gone.remove();
  }
}
