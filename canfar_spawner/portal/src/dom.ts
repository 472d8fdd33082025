/** Finding elements, with their types. */
export function find<T extends Element>(
  selector: string,
  type: new () => T,
  root: ParentNode = document,
): T | null {
  const element = root.querySelector(selector);
  return element instanceof type ? element : null;
}

export function findAll<T extends Element>(
  selector: string,
  type: new () => T,
  root: ParentNode = document,
): T[] {
  return Array.from(root.querySelectorAll(selector)).filter(
    (element): element is T => element instanceof type,
  );
}

/** Change text only when it differs: a live region would read it again otherwise. */
export function setText(element: Element | null, text: string): void {
  if (element && element.textContent !== text) {
    element.textContent = text;
  }
}
