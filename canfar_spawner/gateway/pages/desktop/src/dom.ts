/** Give an element of this page, with its type. */
export function element<T extends Element>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) {
    throw new Error(`there is no #${id}`);
  }
  return found;
}
