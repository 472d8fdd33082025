/** Asking once before something is done that cannot be taken back. */
import { busy, showRefusal } from "./dialogs";
import { find, setText } from "./dom";

export interface Question {
  readonly title: string;
  readonly text: string;
  readonly yes: string;
  readonly no: string;
  /** What the button says while it is done. */
  readonly doing: string;
}

let work: (() => Promise<void>) | null = null;
let doing = "";

/** Ask, and do it after a yes; what it throws is shown, and can be tried again. */
export function confirmThen(question: Question, then: () => Promise<void>): void {
  const dialog = find("#confirm-dialog", HTMLDialogElement);
  setText(find("#confirm-title", HTMLElement), question.title);
  setText(find("#confirm-text", HTMLElement), question.text);
  setText(find("#confirm-yes", HTMLElement), question.yes);
  setText(find("#confirm-no", HTMLElement), question.no);
  showRefusal(find("#confirm-error", HTMLElement), "");
  work = then;
  doing = question.doing;
  dialog?.showModal();
}

export function enhanceConfirm(): void {
  const dialog = find("#confirm-dialog", HTMLDialogElement);
  find("#confirm-form", HTMLFormElement)?.addEventListener("submit", (event) => {
    event.preventDefault();
    const then = work;
    if (then) {
      const button = find("#confirm-yes", HTMLButtonElement);
      void busy(button, doing, find("#confirm-error", HTMLElement), then).then((done) => {
        if (done) {
          dialog?.close();
        }
      });
    }
  });
}
