/** The dialog in which a session is shared; without it, the link leads to the page that does the same. */
import { find, findAll, setText } from "./dom";
import { say, sayMany } from "./say";
import { fillShares, type Overview } from "./shares";
import { showTimes } from "./times";
import { Live, type Look, V1Error, showUnknown, v1, v1Known } from "./v1";

const LOOK_EVERY_MS = 5_000;
const DEFAULT_HOURS = 24;
/** What the session manager calls a field, and the field here. */
const FIELDS: Readonly<Record<string, string>> = {
  user: "person",
  group: "group",
  people: "people",
  until: "length",
};

interface Line {
  at: string;
  text: string;
}

interface Made {
  url?: string;
  linkUntil?: string | null;
}

function text(form: HTMLFormElement, name: string): string {
  const value = new FormData(form).get(name);
  return typeof value === "string" ? value : "";
}

function sentence(error: unknown): string {
  return error instanceof V1Error ? error.message : String(error);
}

/** The dialog, opened for one session. */
class Sharing {
  private readonly path: string;
  private readonly live: Live<Overview>;
  private readonly listeners = new AbortController();
  private clockMs = 0;
  private drawn = "";
  private choices = "";

  constructor(
    private readonly dialog: HTMLDialogElement,
    private readonly session: string,
    name: string,
  ) {
    this.path = `session/${encodeURIComponent(session)}`;
    setText(find("#share-title", HTMLElement, dialog), say("Share %(name)s", { name }));
    this.empty();
    this.listen();
    this.choose("link");
    dialog.showModal();
    find('[role="tab"][aria-selected="true"]', HTMLElement, dialog)?.focus();
    this.live = new Live<Overview>(() => v1("GET", `${this.path}/sharing`), LOOK_EVERY_MS)
      .subscribe((look) => this.show(look))
      .start();
  }

  private part(name: string): HTMLElement | null {
    return find(`[data-part="${name}"]`, HTMLElement, this.dialog);
  }

  private hide(name: string, hidden: boolean): void {
    const part = this.part(name);
    if (part) {
      part.hidden = hidden;
    }
  }

  /** Nothing of the session for which it was opened before. */
  private empty(): void {
    for (const form of findAll("form[data-way]", HTMLFormElement, this.dialog)) {
      form.reset();
      this.refuse(form, "");
    }
    this.showLink("", null);
    this.hide("ways", false);
    for (const name of ["off", "none", "all", "trouble", "no-groups", "nothing"]) {
      this.hide(name, true);
    }
    for (const name of ["said", "count"]) {
      setText(this.part(name), "");
    }
    this.part("list")?.replaceChildren();
    const audit = find('details[data-part="audit"]', HTMLDetailsElement, this.dialog);
    if (audit) {
      audit.open = false;
      find("ol", HTMLElement, audit)?.replaceChildren();
    }
  }

  private listen(): void {
    const { dialog } = this;
    const options = { signal: this.listeners.signal };
    dialog.addEventListener("close", () => this.over(), options);
    dialog.addEventListener("click", (event) => this.click(event), options);
    dialog.addEventListener("keydown", (event) => this.step(event), options);
    dialog.addEventListener(
      "submit",
      (event) => {
        const form = event.target;
        if (form instanceof HTMLFormElement && form.dataset.way) {
          event.preventDefault();
          void this.share(form, form.dataset.way);
        }
      },
      options,
    );
    // A toggle does not rise from its element.
    dialog.addEventListener("toggle", () => void this.tell(), { ...options, capture: true });
  }

  private over(): void {
    this.listeners.abort();
    this.live.stop();
    this.showLink("", null);
    if (document.activeElement === document.body) {
      // The card was drawn anew meanwhile.
      find(`[data-share="${CSS.escape(this.session)}"]`, HTMLElement)?.focus();
    }
  }

  // The three ways.

  private choose(way: string, focus = false): void {
    for (const tab of findAll('[role="tab"]', HTMLButtonElement, this.dialog)) {
      const chosen = tab.id === `share-tab-${way}`;
      tab.ariaSelected = String(chosen);
      tab.tabIndex = chosen ? 0 : -1;
      if (chosen && focus) {
        tab.focus();
      }
    }
    for (const panel of findAll('[role="tabpanel"]', HTMLElement, this.dialog)) {
      panel.hidden = panel.id !== `share-way-${way}`;
    }
  }

  private step(event: KeyboardEvent): void {
    const tabs = findAll('[role="tab"]', HTMLButtonElement, this.dialog);
    const at = tabs.findIndex((tab) => tab === event.target);
    const to: Readonly<Record<string, number>> = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1 + tabs.length,
      Home: 0,
      End: tabs.length - 1,
    };
    const next = to[event.key];
    const tab = next === undefined || at < 0 ? undefined : tabs[next % tabs.length];
    if (tab) {
      event.preventDefault();
      this.choose(tab.id.replace("share-tab-", ""), true);
    }
  }

  private until(form: HTMLFormElement): string | null {
    const hours = Number.parseInt(text(form, "length"), 10);
    // By the platform's clock: this machine's may be wrong.
    const at = new Date(Date.now() + this.clockMs + hours * 3_600_000);
    return Number.isNaN(hours) ? null : at.toISOString();
  }

  private async share(form: HTMLFormElement, way: string): Promise<void> {
    const until = this.until(form);
    const name = text(form, way);
    const whom: Readonly<Record<string, object>> = {
      link: { link: true, people: Number(text(form, "people")) },
      person: { user: name },
      group: { group: name },
    };
    if (way === "person" && name === "") {
      this.refuse(form, say("Give the name of an account."), "user");
      return;
    }
    const said: Readonly<Record<string, string>> = {
      link: say("The link is made."),
      person: say("%(name)s may enter now.", { name }),
      group: say("Everyone in the group %(name)s may enter now.", { name }),
    };
    this.refuse(form, "");
    await this.doing(find("button[type=submit]", HTMLButtonElement, form), async () => {
      try {
        const made = await v1<Made>("POST", `${this.path}/shares`, {
          ...whom[way],
          ...(until === null ? {} : { until }),
          ...(text(form, "storage") === "" ? {} : { storage: true }),
        });
        if (made.url) {
          this.showLink(made.url, made.linkUntil ?? null);
          find("#share-link", HTMLInputElement, form)?.select();
        } else {
          form.reset();
        }
        await this.changed(said[way] ?? "");
      } catch (error) {
        this.refuse(form, sentence(error), error instanceof V1Error ? error.field : "");
      }
    });
  }

  /** Say what was refused, at the field and in a sentence; an empty one takes that back. */
  private refuse(form: HTMLFormElement, why: string, field = ""): void {
    const notice = find(".notice-bad", HTMLElement, form);
    if (!notice) {
      return;
    }
    notice.hidden = why === "";
    setText(find("span", HTMLElement, notice), why);
    for (const element of findAll("input, select", HTMLElement, form)) {
      const wrong = why !== "" && element.getAttribute("name") === FIELDS[field];
      element.toggleAttribute("aria-invalid", wrong);
      if (wrong) {
        element.setAttribute("aria-invalid", "true");
        element.setAttribute("aria-describedby", notice.id);
        element.focus();
      } else {
        element.removeAttribute("aria-describedby");
      }
    }
  }

  private showLink(link: string, until: string | null): void {
    const area = find(".share-made", HTMLElement, this.dialog);
    const input = find("#share-link", HTMLInputElement, this.dialog);
    const time = find(".share-made time", HTMLTimeElement, this.dialog);
    if (!area || !input || !time) {
      return;
    }
    area.hidden = link === "";
    input.value = link;
    time.dateTime = until ?? "";
    showTimes(area);
  }

  // Taking away.

  private click(event: MouseEvent): void {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (!button) {
      return;
    }
    if (button.role === "tab") {
      this.choose(button.id.replace("share-tab-", ""));
    } else if (button.dataset.part === "all") {
      void this.takeAway(button, `${this.path}/shares`);
    } else if (button.dataset.person) {
      void this.takeAway(
        button,
        `${this.path}/shares?user=${encodeURIComponent(button.dataset.person)}`,
      );
    } else if (button.dataset.revoke) {
      void this.takeAway(
        button,
        `${this.path}/shares/${encodeURIComponent(button.dataset.revoke)}`,
      );
    }
  }

  private async takeAway(button: HTMLButtonElement, path: string): Promise<void> {
    await this.doing(button, async () => {
      try {
        // Where the hub is away, the answer says that it is done later.
        const later = await v1<string>("DELETE", path);
        this.showLink("", null);
        await this.changed(later || say("Revoked. Whoever was in by it is out within seconds."));
        find("#share-list-title", HTMLElement, this.dialog)?.focus();
      } catch (error) {
        setText(this.part("said"), `${say("It was not revoked.")} ${sentence(error)}`);
      }
    });
  }

  private async doing(button: HTMLButtonElement | null, work: () => Promise<void>): Promise<void> {
    if (!button || button.disabled) {
      return;
    }
    button.disabled = true;
    try {
      await work();
    } finally {
      button.disabled = false;
    }
  }

  private async changed(said: string): Promise<void> {
    document.dispatchEvent(new CustomEvent("canfar:shared", { detail: this.session }));
    await this.live.now();
    await this.tell();
    // Last: whoever hears it finds the list as it says.
    setText(this.part("said"), said);
  }

  // What is known.

  private show(look: Look<Overview>): void {
    if (this.listeners.signal.aborted) {
      return;
    }
    const trouble = this.part("trouble");
    if (trouble) {
      trouble.hidden = look.trouble === "";
      showUnknown(find("span", HTMLElement, trouble), look);
    }
    const found = look.value;
    if (!found) {
      this.hide("ways", true);
      return;
    }
    this.clockMs = Date.parse(found.now) - (look.at?.getTime() ?? Date.now());
    this.showChoices(found);
    const now = JSON.stringify([found.shares, found.visitors]);
    const list = this.part("list");
    if (now === this.drawn || !list) {
      return;
    }
    this.drawn = now;
    const inside = list.contains(document.activeElement);
    fillShares(list, found);
    if (inside) {
      find("#share-list-title", HTMLElement, this.dialog)?.focus();
    }
    this.hide("none", found.shares.length > 0 || found.visitors.length > 0);
    this.hide("all", found.shares.length === 0);
    const may = found.visitors.filter((one) => one.until !== null).length;
    const here = found.visitors.filter((one) => one.here !== null).length;
    const count = sayMany(
      "%(num)s may enter, %(here)s here",
      "%(num)s may enter, %(here)s here",
      may,
      {
        here,
      },
    );
    setText(this.part("count"), may + here > 0 ? count : "");
  }

  /** What can be chosen; drawn anew where it is not what it was, as that would undo a choice. */
  private showChoices(found: Overview): void {
    const off = this.part("off");
    if (off) {
      off.hidden = found.off === "";
      setText(find("span", HTMLElement, off), found.off);
    }
    this.hide("ways", found.off !== "" || !found.open);
    for (const way of ["link", "person", "group"]) {
      this.hide(`storage-${way}`, !found.storage);
    }
    const choices = JSON.stringify([found.groups, found.lengths, found.mostPeople]);
    if (choices === this.choices) {
      return;
    }
    this.choices = choices;
    const people = find('input[name="people"]', HTMLInputElement, this.dialog);
    if (people) {
      people.max = String(found.mostPeople);
    }
    const until = found.lengths.map(
      ({ hours, words }) => new Option(words, String(hours ?? ""), hours === DEFAULT_HOURS),
    );
    for (const select of findAll('select[name="length"]', HTMLSelectElement, this.dialog)) {
      const chosen = select.value;
      select.replaceChildren(...until.map((option) => option.cloneNode(true)));
      select.value = chosen || String(DEFAULT_HOURS);
      if (select.selectedIndex < 0) {
        select.selectedIndex = select.options.length - 1;
      }
    }
    const groups = find('select[name="group"]', HTMLSelectElement, this.dialog);
    groups?.replaceChildren(...found.groups.map((group) => new Option(group, group)));
    const none = found.groups.length === 0;
    this.hide("no-groups", !none);
    const fields = find('[data-way="group"] .share-fields', HTMLElement, this.dialog);
    if (fields) {
      fields.hidden = none;
    }
  }

  /** What happened, where somebody looks at it. */
  private async tell(): Promise<void> {
    const audit = find('details[data-part="audit"]', HTMLDetailsElement, this.dialog);
    const list = find("ol", HTMLElement, audit ?? this.dialog);
    if (!audit?.open || !list) {
      return;
    }
    const lines = await v1<Line[]>("GET", `${this.path}/audit`).catch(() => null);
    if (!lines || this.listeners.signal.aborted) {
      return;
    }
    const items = lines.reverse().map((line) => {
      const item = document.createElement("li");
      const time = document.createElement("time");
      time.dateTime = line.at;
      item.append(time, ` ${line.text}`);
      return item;
    });
    list.replaceChildren(...items);
    showTimes(list);
    this.hide("nothing", items.length > 0);
  }
}

export function enhanceShare(): void {
  const dialog = find("#share-dialog", HTMLDialogElement);
  if (!dialog || !v1Known()) {
    return;
  }
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[data-share]") : null;
    // A new tab stays a new tab.
    if (!(link instanceof HTMLElement) || event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    event.preventDefault();
    new Sharing(dialog, link.dataset.share ?? "", link.dataset.name ?? "");
  });
}
