/** What the palette, the keyboard and other extensions can ask the storage section for. */
import type { JupyterFrontEnd } from "@jupyterlab/application";
import { DisposableSet, type IDisposable } from "@lumino/disposable";
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from "@lumino/coreutils";
import type { TranslationBundle } from "@jupyterlab/translation";

import { PANEL, storageIds } from "../ids";
import type { Acts } from "./acts";
import type { StorageModel } from "./model";

const NOTHING: ReadonlyJSONObject = { type: "object", properties: {} };

/** Add the commands, for as long as the section is there. */
export function addStorageCommands(
  app: JupyterFrontEnd,
  trans: TranslationBundle,
  model: StorageModel,
  acts: Acts,
): IDisposable {
  const added = new DisposableSet();
  const writable = (): boolean => model.folder?.writable ?? false;
  const add = (
    id: string,
    label: string,
    execute: (args: ReadonlyPartialJSONObject) => unknown,
    isEnabled: () => boolean = () => true,
    args: ReadonlyJSONObject = NOTHING,
  ): void => {
    added.add(
      app.commands.addCommand(id, {
        label,
        isEnabled,
        execute: (given) => {
          app.shell.activateById(PANEL);
          return execute(given);
        },
        describedBy: { args },
      }),
    );
  };
  add(
    storageIds.go,
    trans.__("Open a folder of your storage …"),
    async ({ path }) => {
      if (typeof path === "string") {
        await model.goTo(path);
      } else {
        model.typePath();
      }
    },
    () => model.areas !== null,
    {
      type: "object",
      properties: {
        path: {
          type: "string",
          description: trans.__("An absolute path, or one from the folder that is open"),
        },
      },
    },
  );
  add(
    storageIds.upload,
    trans.__("Upload files to the open folder …"),
    () => acts.chooseFiles(),
    writable,
  );
  add(
    storageIds.newFolder,
    trans.__("Make a folder in the open folder …"),
    () => acts.newFolder(),
    writable,
  );
  add(storageIds.refresh, trans.__("Look again at the open folder"), () => model.changedHere());
  return added;
}
