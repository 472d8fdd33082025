/** The menu of files and folders. */
import { CommandRegistry } from "@lumino/commands";
import { Menu } from "@lumino/widgets";
import type { TranslationBundle } from "@jupyterlab/translation";

import type { Acts, Application } from "./acts";
import type { StorageModel } from "./model";
import { isFile, isFolder, type Row } from "./shapes";
import { readerOf } from "./words";

const LINE = "-";

const ORDER = [
  "open",
  "header",
  "picture",
  "rows",
  "carta",
  "firefly",
  LINE,
  "path",
  "snippet",
  "download",
  LINE,
  "copy",
  "move",
  "rename",
  "delete",
];

/** What only the owner does. */
const OWN: ReadonlySet<string> = new Set(["download", "copy", "move", "rename", "delete"]);

/** Make the menu; it is for what is chosen when it opens. */
export function makeMenu(
  model: StorageModel,
  acts: Acts,
  trans: TranslationBundle,
  lent: boolean,
): Menu {
  const commands = new CommandRegistry();
  const row = (): Row | undefined => model.folder?.row(model.cursor);
  const single = (): boolean => model.chosen().length === 1;
  const writable = (): boolean => model.folder?.writable ?? false;
  const reader = (): string => {
    const at = row();
    return at && isFile(at.kind) ? readerOf(at.name) : "other";
  };
  const add = (
    name: string,
    label: string | (() => string),
    execute: () => unknown,
    isEnabled: () => boolean = () => true,
    isVisible: () => boolean = () => true,
  ): void => {
    commands.addCommand(name, { label, execute, isEnabled, isVisible });
  };

  add(
    "open",
    () => {
      const at = row();
      return at && isFolder(at.kind) ? trans.__("Open") : trans.__("Open in JupyterLab");
    },
    () => {
      const at = row();
      const place = at && model.at(at.name);
      if (at && place && isFile(at.kind)) {
        acts.openInLab(place);
      } else if (at) {
        acts.open(at);
      }
    },
    single,
  );
  add(
    "header",
    trans.__("Header"),
    () => acts.preview("header"),
    single,
    () => reader() === "fits",
  );
  add(
    "picture",
    trans.__("Thumbnail"),
    () => acts.preview("picture"),
    single,
    () => reader() === "fits",
  );
  add(
    "rows",
    trans.__("First rows"),
    () => acts.preview("rows"),
    single,
    () => reader() !== "other",
  );
  for (const [name, application] of [
    ["carta", "CARTA"],
    ["firefly", "Firefly"],
  ] as const) {
    const why = (): string => acts.whyNotIn(application, row());
    add(
      name,
      () => labelOf(application, why(), trans),
      () => acts.openIn(),
      () => single() && why() === "",
      () => {
        const at = row();
        return at !== undefined && isFile(at.kind);
      },
    );
  }
  add("path", trans.__("Copy path"), () => acts.copyPath());
  add("snippet", trans.__("Copy Python snippet"), () => acts.copySnippet(), single);
  add(
    "download",
    () => {
      const at = row();
      return at && isFolder(at.kind) && single()
        ? trans.__("Download: files only")
        : trans.__("Download");
    },
    () => acts.download(),
    () => {
      const at = row();
      return at !== undefined && (isFile(at.kind) || !single());
    },
  );
  add("copy", trans.__("Copy to…"), () => acts.transfer("copy"));
  add("move", trans.__("Move to…"), () => acts.transfer("move"), writable);
  add(
    "rename",
    trans.__("Rename…"),
    () => acts.rename(),
    () => single() && writable(),
  );
  add("delete", trans.__("Delete…"), () => acts.remove(), writable);

  // Somebody else's storage is there to be read.
  const order = lent ? ORDER.filter((name) => !OWN.has(name)) : ORDER;
  const menu = new Menu({ commands });
  menu.addClass("canfar-storage-menu");
  for (const name of order) {
    menu.addItem(name === LINE ? { type: "separator" } : { command: name });
  }
  return menu;
}

function labelOf(application: Application, why: string, trans: TranslationBundle): string {
  return why === ""
    ? trans.__("Open in %1", application)
    : trans.__("Open in %1: %2", application, why);
}
