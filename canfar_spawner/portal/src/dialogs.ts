/** What dialogs share: a refusal in its place, a button that is busy, a way out. */
import { find, findAll, setText } from "./dom";

/** Show why something was not done; without a sentence, nothing. */
export function showRefusal(refusal: HTMLElement | null, sentence: string): void {
  if (refusal) {
    setText(find("span", HTMLElement, refusal), sentence);
    refusal.hidden = sentence === "";
  }
}

export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : "";
}

/** Do something while a button waits; a refusal is shown, and told to the caller. */
export async function busy(
  button: HTMLButtonElement | null,
  word: string,
  refusal: HTMLElement | null,
  work: () => Promise<void>,
): Promise<boolean> {
  const before = button?.textContent ?? "";
  if (button) {
    button.disabled = true;
    setText(button, word);
  }
  showRefusal(refusal, "");
  try {
    await work();
    return true;
  } catch (error) {
    showRefusal(refusal, sentenceOf(error));
    return false;
  } finally {
    if (button) {
      button.disabled = false;
      setText(button, before);
    }
  }
}

export function enhanceDialogs(): void {
  for (const button of findAll("dialog [data-close]", HTMLButtonElement)) {
    button.addEventListener("click", () => button.closest("dialog")?.close());
  }
}
