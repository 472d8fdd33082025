/** What can be done with files and folders, each with its questions and its answers. */
import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Clipboard, Dialog, InputDialog, Notification, showDialog } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";

import { StorageError } from "./api";
import { askConflict, askDestination, askRemoval, type Choice, type Question } from "./dialogs";
import type { StorageModel } from "./model";
import type { Previews } from "./preview";
import {
  below,
  inside,
  isFile,
  isFolder,
  nameOf,
  type Area,
  type Conflict,
  type Place,
  type Row,
} from "./shapes";
import type { Transfers } from "./transfers";
import { encoded, takenOf } from "./wire";
import { readerOf, snippetOf } from "./words";

/** An application that a file is opened in, in a session of its own. */
export type Application = "CARTA" | "Firefly";

const SHORTLY = 3_000;

export interface Services {
  app: JupyterFrontEnd;
  model: StorageModel;
  transfers: Transfers;
  previews: Previews;
  trans: TranslationBundle;
  locale: string;
  /** Where the hub's pages are; null: there is no hub. */
  hub: string | null;
}

export class Acts {
  readonly #app: JupyterFrontEnd;
  readonly #model: StorageModel;
  readonly #transfers: Transfers;
  readonly #previews: Previews;
  readonly #trans: TranslationBundle;
  readonly #locale: string;
  readonly #hub: string | null;

  constructor(services: Services) {
    this.#app = services.app;
    this.#model = services.model;
    this.#transfers = services.transfers;
    this.#previews = services.previews;
    this.#trans = services.trans;
    this.#locale = services.locale;
    this.#hub = services.hub;
  }

  /** Enter a folder, open a file with what JupyterLab has for it, or show what is in it. */
  open(row: Row): void {
    const place = this.#model.at(row.name);
    if (!place) {
      return;
    }
    if (isFolder(row.kind)) {
      this.#model.go(place);
    } else if (isFile(row.kind)) {
      const known = this.#app.docRegistry.getFileTypesForPath(row.name).length > 0;
      if (readerOf(row.name) === "fits" && !known) {
        this.preview("header");
      } else {
        this.openInLab(place);
      }
    } else {
      Notification.warning(this.whyNotOpened(row), { autoClose: SHORTLY });
    }
  }

  openInLab(place: Place): void {
    const contents = this.#areaOf(place)?.contents ?? null;
    if (contents === null) {
      Notification.warning(
        this.#trans.__("JupyterLab does not show this area. Copy the path and open it in code."),
      );
      return;
    }
    const path = contents === "" ? place.path : below(contents, place.path);
    void this.#app.commands.execute("docmanager:open", { path }).catch((error: unknown) => {
      this.#failed(error);
    });
  }

  whyNotOpened(row: Row): string {
    switch (row.kind) {
      case "broken link":
        return this.#trans.__(
          "%1 is a link to %2, which is not there or lies outside of your storage.",
          row.name,
          row.leads,
        );
      case "gone":
        return this.#trans.__("%1 is not there any more.", row.name);
      default:
        return this.#trans.__("%1 is neither a file nor a folder, and cannot be read.", row.name);
    }
  }

  preview(what: "header" | "picture" | "rows"): void {
    const [name] = this.#model.chosen();
    const place = name === undefined ? null : this.#model.at(name);
    if (place) {
      this.#previews.open(place, what);
    }
  }

  /** Say why an application cannot open a file; empty: it can. */
  whyNotIn(application: Application, row: Row | undefined): string {
    const arc = this.#model.area?.arc ?? null;
    if (this.#hub === null) {
      return this.#trans.__("no hub started this session");
    }
    if (arc === null) {
      return this.#trans.__("other sessions do not see this area");
    }
    if (row && !isFile(row.kind)) {
      return this.#trans.__("not a file");
    }
    const name = row?.name ?? "";
    const read = application === "CARTA" ? CARTA_READS : FIREFLY_READS;
    return read.test(name) ? "" : this.#trans.__("it does not read such files");
  }

  /** Lead to the hub's page, which offers a session with the application at this file. */
  openIn(): void {
    const [name] = this.#model.chosen();
    const arc = this.#model.area?.arc ?? null;
    const place = name === undefined ? null : this.#model.at(name);
    if (place && arc !== null && this.#hub !== null) {
      const path = encoded(inside(arc, place.path));
      window.open(`${this.#hub}home?open=${path}`, "_blank", "noopener");
    }
  }

  copyPath(): void {
    this.#copy(this.#paths().join("\n"), this.#trans.__("The path was copied."));
  }

  copySnippet(): void {
    const row = this.#chosenRow();
    const [path] = this.#paths();
    if (path !== undefined) {
      const folder = row !== undefined && isFolder(row.kind);
      this.#copy(snippetOf(path, folder), this.#trans.__("The lines of Python were copied."));
    }
  }

  /** Hand files to the browser, which shows how far they are and goes on after an interruption. */
  download(): void {
    for (const name of this.#model.chosen()) {
      const place = this.#model.at(name);
      const row = this.#rowOf(name);
      if (place && (!row || isFile(row.kind))) {
        const link = document.createElement("a");
        link.href = this.#model.api.address(place);
        link.download = name;
        document.body.append(link);
        link.click();
        link.remove();
      }
    }
  }

  /** Let somebody choose files of this computer, and upload them. */
  chooseFiles(): void {
    const chooser = document.createElement("input");
    chooser.type = "file";
    chooser.multiple = true;
    chooser.addEventListener("change", () => void this.upload([...(chooser.files ?? [])]));
    chooser.click();
  }

  /** Upload files into the folder that is open. */
  async upload(files: readonly File[]): Promise<void> {
    const to = this.#model.place;
    if (!to) {
      return;
    }
    let always: Choice | null = null;
    for (const [at, file] of files.entries()) {
      let conflict: Conflict = always === null || always === "skip" ? "refuse" : always;
      for (;;) {
        try {
          await this.#transfers.upload(to, file, conflict);
          break;
        } catch (error) {
          if (!(error instanceof StorageError) || error.code !== "exists") {
            this.#failed(error);
            return;
          }
          // Where replacing was refused, a folder has the name, and the server says so.
          const replaceable: boolean = conflict !== "replace";
          const answer: { choice: Choice; all: boolean } | null =
            always === "skip"
              ? { choice: "skip", all: true }
              : await askConflict(this.#trans, {
                  taken: replaceable ? { names: [file.name], more: 0 } : null,
                  message: error.message,
                  replaceable,
                  several: files.length - at > 1,
                });
          if (answer === null) {
            return;
          }
          always = answer.all ? answer.choice : always;
          if (answer.choice === "skip") {
            break;
          }
          conflict = answer.choice;
        }
      }
    }
  }

  async newFolder(): Promise<void> {
    const name = await this.#askName(
      this.#trans.__("New folder"),
      this.#trans.__("Name"),
      this.#trans.__("Make folder"),
      "",
      async (text) => {
        const place = this.#model.at(text);
        if (place) {
          await this.#model.api.makeFolder(place);
        }
      },
    );
    if (name !== null) {
      await this.#model.changedHere(name);
    }
  }

  async rename(): Promise<void> {
    const [old] = this.#model.chosen();
    const place = old === undefined ? null : this.#model.at(old);
    if (old === undefined || !place) {
      return;
    }
    const name = await this.#askName(
      this.#trans.__("Rename %1", old),
      this.#trans.__("New name"),
      this.#trans.__("Rename"),
      old,
      (text) => this.#model.api.rename(place, text),
    );
    if (name !== null) {
      await this.#model.changedHere(name);
    }
  }

  /** Copy or move what is chosen to a folder that is asked for. */
  async transfer(kind: "copy" | "move"): Promise<void> {
    const names = this.#model.chosen();
    const place = this.#model.place;
    if (!place || names.length === 0) {
      return;
    }
    const from = { area: place.area, paths: names.map((name) => below(place.path, name)) };
    const folders = new Set(names.filter((name) => this.#rowOf(name)?.kind === "folder"));
    const to = await askDestination(this.#model, this.#trans, kind, names);
    if (!to) {
      return;
    }
    let conflict: Conflict = "refuse";
    for (;;) {
      try {
        await this.#transfers.copy(kind, from, to, conflict);
        return;
      } catch (error) {
        // Whoever keeps both and is refused is not helped by any other answer.
        if (
          !(error instanceof StorageError) ||
          error.code !== "exists" ||
          conflict === "keep_both"
        ) {
          this.#failed(error);
          return;
        }
        const answer = await askConflict(
          this.#trans,
          questionOf(error, conflict, names.length, folders),
        );
        if (answer === null || answer.choice === "skip") {
          return;
        }
        conflict = answer.choice;
      }
    }
  }

  /** Delete what is chosen, once it was said what and how much that is. */
  async remove(): Promise<void> {
    const names = this.#model.chosen();
    const place = this.#model.place;
    if (!place || names.length === 0) {
      return;
    }
    const paths = names.map((name) => below(place.path, name));
    const question = { api: this.#model.api, trans: this.#trans, locale: this.#locale };
    if (!(await askRemoval(question, place.area, paths))) {
      return;
    }
    const note = Notification.emit(
      this.#trans._n("Deleting %1 item", "Deleting %1 items", names.length, names.length),
      "in-progress",
      { autoClose: false },
    );
    try {
      let task = await this.#model.api.remove(place.area, paths);
      while (task.state === "running") {
        task = await this.#model.api.task(task.id, task.next);
      }
      if (task.state === "failed") {
        throw new StorageError(task.why, "failed");
      }
      Notification.dismiss(note);
    } catch (error) {
      Notification.dismiss(note);
      this.#failed(error);
    }
    await this.#model.changedHere();
  }

  #areaOf(place: Place): Area | undefined {
    return this.#model.areas?.find((one) => one.id === place.area);
  }

  #rowOf(name: string): Row | undefined {
    return this.#model.folder?.row(this.#model.folder.find(name));
  }

  #chosenRow(): Row | undefined {
    return this.#model.folder?.row(this.#model.cursor);
  }

  #paths(): string[] {
    const area = this.#model.area;
    const place = this.#model.place;
    if (!area || !place) {
      return [];
    }
    return this.#model.chosen().map((name) => inside(area.path, below(place.path, name)));
  }

  #copy(text: string, done: string): void {
    Clipboard.copyToSystem(text);
    Notification.success(done, { autoClose: SHORTLY });
  }

  /** Ask for a name until what is done with it succeeds, or the question is taken back. */
  async #askName(
    title: string,
    label: string,
    okLabel: string,
    text: string,
    act: (name: string) => Promise<void>,
  ): Promise<string | null> {
    for (;;) {
      const dot = text.lastIndexOf(".");
      const answer = await InputDialog.getText({
        title,
        label,
        okLabel,
        text,
        selectionRange: dot > 0 ? dot : text.length,
      });
      const name = answer.value ?? "";
      if (!answer.button.accept || name === "" || name === text) {
        return null;
      }
      try {
        await act(name);
        return nameOf(name);
      } catch (error) {
        await showDialog({
          title,
          body: error instanceof Error ? error.message : String(error),
          buttons: [Dialog.okButton({ label: this.#trans.__("OK") })],
        });
        text = name;
      }
    }
  }

  #failed(error: unknown): void {
    Notification.error(error instanceof Error ? error.message : String(error), {
      autoClose: false,
    });
  }
}

/** Make the question of a refused copy or move; it replaces nothing that it does not name. */
function questionOf(
  error: StorageError,
  conflict: Conflict,
  asked: number,
  folders: ReadonlySet<string>,
): Question {
  const { message } = error;
  if (conflict === "replace") {
    // It would be refused again: a folder has the name, say, and the server's sentence tells.
    return { taken: null, message, replaceable: false };
  }
  const taken = takenOf(error.body);
  const known = taken !== null || asked === 1;
  const hasFolder = taken?.names.some((name) => folders.has(name)) ?? false;
  return { taken, message, replaceable: known && !hasFolder };
}

const CARTA_READS = /\.(fits|fit|fts)(\.gz|\.fz)?$|\.(hdf5|h5|image|mir)$/i;
const FIREFLY_READS = /\.(fits|fit|fts)(\.gz|\.fz)?$|\.(csv|tsv|tbl|vot|xml|parquet|reg)$/i;
