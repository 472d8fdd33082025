/** The panel through which text goes in and out of the desktop. */
import { element } from "./dom";

export class Clipboard {
  private readonly panel = element("clipboard", HTMLElement);
  private readonly button = element("clipboard-button", HTMLButtonElement);
  private readonly text = element("clipboard-text", HTMLTextAreaElement);
  private readonly told = element("clipboard-told", HTMLElement);

  /**
   * @param send - Takes what is to be pasted in the desktop.
   * @param closed - Called when the panel is closed, to give the keyboard back.
   */
  constructor(
    private readonly send: (text: string) => void,
    private readonly closed: () => void,
  ) {
    this.button.addEventListener("click", () => this.show(this.panel.hidden));
    element("clipboard-close", HTMLButtonElement).addEventListener("click", () => this.show(false));
    this.panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        this.show(false);
      }
    });
    this.text.addEventListener("input", () => {
      this.send(this.text.value);
      this.told.textContent = "It can be pasted in the desktop.";
    });
    element("clipboard-clear", HTMLButtonElement).addEventListener("click", () => {
      this.text.value = "";
      this.send("");
      this.told.textContent = "";
      this.text.focus();
    });
    element("clipboard-copy", HTMLButtonElement).addEventListener("click", () => void this.copy());
  }

  /** Show what was copied in the desktop. */
  copied(text: string): void {
    this.text.value = text;
    this.told.textContent = "Copied in the desktop.";
  }

  private show(shown: boolean): void {
    this.panel.hidden = !shown;
    this.button.ariaExpanded = String(shown);
    if (shown) {
      this.text.focus();
      this.text.select();
    } else {
      this.closed();
    }
  }

  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.text.value);
      this.told.textContent = "It can be pasted on this computer.";
    } catch {
      // Only pages that came by https may write there.
      this.text.focus();
      this.text.select();
      this.told.textContent = "Press Ctrl+C, or ⌘C on a Mac, to copy it.";
    }
  }
}
