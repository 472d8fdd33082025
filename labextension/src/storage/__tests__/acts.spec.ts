import { Dialog, Notification } from "@jupyterlab/apputils";
import { nullTranslator } from "@jupyterlab/translation";

import { Acts, type Services } from "../acts";
import { StorageError } from "../api";
import type { Conflict, Kind, Place } from "../shapes";

vi.hoisted(() => {
  // JupyterLab's dialogs want these, and jsdom has none.
  vi.stubGlobal("DragEvent", MouseEvent);
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener: () => undefined }));
  vi.stubGlobal("requestIdleCallback", (act: () => void) => setTimeout(act));
});

vi.mock("../dialogs", async (original) => ({
  ...(await original<typeof import("../dialogs")>()),
  askDestination: () => Promise.resolve({ area: "home", path: "cal" }),
}));

/** A panel in which something is chosen, and whose server answers what tests want it to. */
class Panel {
  readonly asked: Conflict[] = [];
  /** How one attempt after the other is refused; null: it is not. */
  refusals: (StorageError | null)[] = [];
  readonly acts: Acts;

  constructor(chosen: Readonly<Record<string, Kind>>) {
    const names = Object.keys(chosen);
    const attempt = (conflict: Conflict): Promise<void> => {
      this.asked.push(conflict);
      const refusal = this.refusals.shift() ?? null;
      return refusal ? Promise.reject(refusal) : Promise.resolve();
    };
    this.acts = new Acts({
      model: {
        place: { area: "home", path: "m31" },
        chosen: () => names,
        folder: {
          find: (name: string) => names.indexOf(name),
          row: (at: number) => ({ name: names[at], kind: Object.values(chosen)[at] }),
        },
      },
      transfers: {
        copy: (_kind: string, _from: unknown, _to: Place, conflict: Conflict) => attempt(conflict),
        upload: (_to: Place, _file: File, conflict: Conflict) => attempt(conflict),
      },
      trans: nullTranslator.load("canfar_lab"),
    } as unknown as Services);
  }
}

/** Milliseconds in which a dialog opens or closes also on a busy machine. */
const SOON = 4_000;

function exists(message: string, body: Record<string, unknown> = {}): StorageError {
  return new StorageError(message, "exists", body);
}

/** A question that is open: its title, its sentences and names, and what may be answered. */
interface Asked {
  title: string;
  sentences: string[];
  names: string[];
  answers: string[];
}

function texts(dialog: Element, what: string): string[] {
  return [...dialog.querySelectorAll(what)].map((one) => one.textContent);
}

async function question(): Promise<Asked> {
  return vi.waitFor(() => {
    const dialog = document.querySelector(".jp-Dialog");
    if (!dialog?.querySelector(".canfar-dialog p")) {
      throw new Error("Nothing is asked.");
    }
    return {
      title: texts(dialog, ".jp-Dialog-header")[0] ?? "",
      sentences: texts(dialog, ".canfar-dialog p"),
      names: texts(dialog, ".canfar-dialog li"),
      answers: texts(dialog, "button .jp-Dialog-buttonLabel"),
    };
  }, SOON);
}

/** Answer a question, and wait until it is closed. */
async function answer(label: string): Promise<void> {
  const dialog = document.querySelector(".jp-Dialog");
  const buttons = [...(dialog?.querySelectorAll("button") ?? [])];
  const button = buttons.find((one) => one.textContent === label);
  expect(button).toBeDefined();
  button?.click();
  await vi.waitFor(() => expect(dialog?.isConnected).toBe(false), SOON);
}

afterEach(() => {
  Dialog.flush();
});

describe("a copy of what has names that are taken", () => {
  it("says of several which they are, and replaces these", async () => {
    const panel = new Panel({ "a.fits": "file", "b.fits": "file", "c.fits": "file" });
    const names = ["a.fits", "c.fits"];
    panel.refusals = [exists("a.fits and 1 other exist already; choose other names.", { names })];
    const copied = panel.acts.transfer("copy");
    expect(await question()).toEqual({
      title: "2 names are taken",
      sentences: ["There are 2 of them already:"],
      names: ["a.fits", "c.fits"],
      answers: ["Cancel", "Keep both", "Replace 2 files"],
    });
    await answer("Replace 2 files");
    await copied;
    expect(panel.asked).toEqual(["refuse", "replace"]);
  });

  it("names the first of many, and counts the others", async () => {
    const all = Array.from({ length: 100 }, (_, at) => `${at}.fits`);
    const panel = new Panel(Object.fromEntries(all.map((name) => [name, "file" as const])));
    panel.refusals = [exists("0.fits and 119 others exist already.", { names: all, more: 20 })];
    const moved = panel.acts.transfer("move");
    expect(await question()).toEqual({
      title: "120 names are taken",
      sentences: ["There are 120 of them already:"],
      names: ["0.fits", "1.fits", "2.fits", "3.fits", "4.fits", "and 115 more"],
      answers: ["Cancel", "Keep both", "Replace 120 files"],
    });
    await answer("Cancel");
    await moved;
    expect(panel.asked).toEqual(["refuse"]);
  });

  it("replaces one by its name, of one and of several", async () => {
    for (const chosen of [["a.fits"], ["a.fits", "b.fits"]]) {
      const panel = new Panel(Object.fromEntries(chosen.map((name) => [name, "file" as const])));
      panel.refusals = [exists("a.fits exists already.", { names: ["a.fits"], more: 0 })];
      const copied = panel.acts.transfer("copy");
      expect(await question()).toEqual({
        title: "The name is taken",
        sentences: ["There is a.fits already."],
        names: [],
        answers: ["Cancel", "Keep both", "Replace"],
      });
      await answer("Keep both");
      await copied;
      expect(panel.asked).toEqual(["refuse", "keep_both"]);
    }
  });

  it("replaces nothing where a server names one of several at most", async () => {
    const panel = new Panel({ "a.fits": "file", "b.fits": "file" });
    panel.refusals = [exists("a.fits exists already; choose another name.")];
    const copied = panel.acts.transfer("copy");
    expect(await question()).toEqual({
      title: "The name is taken",
      sentences: ["a.fits exists already; choose another name."],
      names: [],
      answers: ["Cancel", "Keep both"],
    });
    await answer("Keep both");
    await copied;
    expect(panel.asked).toEqual(["refuse", "keep_both"]);
  });

  it("replaces the one that was asked for, also where its name is not repeated", async () => {
    const panel = new Panel({ "a.fits": "file" });
    panel.refusals = [exists("a.fits exists already; choose another name.")];
    const copied = panel.acts.transfer("copy");
    expect((await question()).answers).toEqual(["Cancel", "Keep both", "Replace"]);
    await answer("Replace");
    await copied;
    expect(panel.asked).toEqual(["refuse", "replace"]);
  });

  it("does not offer to replace folders", async () => {
    const panel = new Panel({ "a.fits": "file", raw: "folder" });
    panel.refusals = [exists("2 exist already.", { names: ["a.fits", "raw"], more: 0 })];
    const copied = panel.acts.transfer("copy");
    expect(await question()).toEqual({
      title: "2 names are taken",
      sentences: ["There are 2 of them already:", "Folders are not replaced."],
      names: ["a.fits", "raw"],
      answers: ["Cancel", "Keep both"],
    });
    await answer("Cancel");
    await copied;
  });

  it("says why a folder is not replaced by a file, and does not offer it again", async () => {
    const panel = new Panel({ "a.fits": "file" });
    const message = "a.fits exists already, and folders are not replaced; choose another name.";
    const names = ["a.fits"];
    panel.refusals = [exists("a.fits exists already.", { names }), exists(message, { names })];
    const copied = panel.acts.transfer("copy");
    await question();
    await answer("Replace");
    const again = await question();
    expect(again.sentences).toEqual([message]);
    expect(again.answers).toEqual(["Cancel", "Keep both"]);
    await answer("Keep both");
    await copied;
    expect(panel.asked).toEqual(["refuse", "replace", "keep_both"]);
  });

  it("does not ask again what keeping both was refused with", async () => {
    const failed = vi.spyOn(Notification, "error").mockReturnValue("");
    const panel = new Panel({ "a.fits": "file" });
    const there = exists("a.fits is in this folder already.");
    panel.refusals = [there, there];
    const moved = panel.acts.transfer("move");
    await question();
    await answer("Keep both");
    await moved;
    expect(failed).toHaveBeenCalledWith(there.message, { autoClose: false });
    failed.mockRestore();
  });
});

describe("an upload of what has a name that is taken", () => {
  it("replaces a file, but no folder", async () => {
    const panel = new Panel({});
    const message = "a.fits exists already, and folders are not replaced; choose another name.";
    panel.refusals = [exists("a.fits exists already.", { names: ["a.fits"] }), exists(message)];
    const uploaded = panel.acts.upload([new File([], "a.fits"), new File([], "b.fits")]);
    expect(await question()).toEqual({
      title: "The name is taken",
      sentences: ["There is a.fits already."],
      names: [],
      answers: ["Cancel", "Skip", "Keep both", "Replace"],
    });
    await answer("Replace");
    const again = await question();
    expect(again.sentences).toEqual([message]);
    expect(again.answers).toEqual(["Cancel", "Skip", "Keep both"]);
    await answer("Skip");
    await uploaded;
    expect(panel.asked).toEqual(["refuse", "replace", "refuse"]);
  });
});
