/** Texts to be copied into a shell or a file: filled in here, in the browser, and nowhere else. */
import { find, findAll, setText } from "./dom";
import { say } from "./say";

const ROOT = "[data-setup]";
const originals = new WeakMap<Element, string>();

function original(element: Element): string {
  const text = originals.get(element) ?? element.textContent;
  originals.set(element, text);
  return text;
}

/** Put the hub's address, and a token where there is one, in place of what stands for them. */
export function fillSetup(root: HTMLElement, token: string): void {
  const { placeholder, service, serviceUrl } = root.dataset;
  const address = serviceUrl ? new URL(serviceUrl, location.href).href.replace(/\/$/, "") : "";
  for (const code of findAll("code", HTMLElement, root)) {
    let text = original(code);
    if (service && address) {
      text = text.replaceAll(service, address);
    }
    if (placeholder && token) {
      text = text.replaceAll(placeholder, token);
    }
    setText(code, text);
  }
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // Not encrypted, or not permitted: the text is selected instead.
  }
}

function select(element: Element): void {
  if (element instanceof HTMLInputElement) {
    element.select();
    return;
  }
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection()?.removeAllRanges();
  getSelection()?.addRange(range);
}

async function copyFrom(button: HTMLButtonElement): Promise<void> {
  const source = document.getElementById(button.dataset.copy ?? "");
  if (!source) {
    return;
  }
  const text = source instanceof HTMLInputElement ? source.value : source.textContent;
  const copied = await copy(text);
  if (!copied) {
    select(source);
  }
  const word = find("[data-copy-word]", HTMLElement, button);
  setText(word, copied ? say("Copied") : say("Selected"));
  setTimeout(() => setText(word, say("Copy")), 2_000);
}

export function enhanceSetup(): void {
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
    if (button instanceof HTMLButtonElement) {
      void copyFrom(button);
    }
  });
  const root = find(ROOT, HTMLElement);
  if (!root) {
    return;
  }
  fillSetup(root, "");
  const pasted = find("#pasted-token", HTMLInputElement);
  const fill = (): void => {
    const token = pasted?.value.trim() ?? "";
    fillSetup(root, token);
    setText(
      find("#pasted-note", HTMLElement),
      token ? say("The texts below have your token now. It stays in this page.") : "",
    );
  };
  pasted?.addEventListener("input", fill);
  // A page taken back out of the browser's memory keeps what its fields say.
  addEventListener("pageshow", fill);
}
