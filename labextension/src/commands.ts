/** What the panel can do, as commands: for the palette, for shortcuts, for whoever scripts JupyterLab. */
import type { ILabStatus, JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, Notification, showDialog, type ICommandPalette } from "@jupyterlab/apputils";
import type { ILauncher } from "@jupyterlab/launcher";
import type { TranslationBundle } from "@jupyterlab/translation";

import { ids, PANEL, storageIds } from "./ids";
import { panelIcon } from "./icons";
import type { CanfarPanel } from "./panel";
import type { SessionModel } from "./session-model";

const NO_ARGUMENTS = {
  args: { type: "object", properties: {}, additionalProperties: false },
} as const;

export interface Around {
  app: JupyterFrontEnd;
  trans: TranslationBundle;
  model: SessionModel;
  panel: CanfarPanel;
  palette: ICommandPalette | null;
  launcher: ILauncher | null;
  status: ILabStatus | null;
}

function failed(error: unknown): void {
  Notification.error(error instanceof Error ? error.message : String(error));
}

export function addCommands({ app, status, trans, model, panel, palette, launcher }: Around): void {
  const { commands, shell } = app;
  const known = (): boolean => model.session !== null;
  const own = (): boolean => known() && !model.visitor;
  const open = (): void => shell.activateById(PANEL);
  const goHome = (): void => {
    if (model.here) {
      window.location.assign(model.here.home);
    }
  };

  commands.addCommand(ids.open, {
    label: (args) =>
      args.launcher === true ? trans.__("Session and storage") : trans.__("Show the session panel"),
    caption: trans.__("This session, who may enter, and all storage"),
    icon: panelIcon,
    execute: open,
    describedBy: {
      args: {
        type: "object",
        properties: {
          launcher: { type: "boolean", description: trans.__("Whether it stands in the launcher") },
        },
      },
    },
  });
  commands.addCommand(ids.home, {
    label: trans.__("Open the hub's home page"),
    caption: trans.__("All sessions, in a new tab"),
    isEnabled: () => model.here !== null,
    execute: () => void window.open(model.here?.home, "_blank", "noopener"),
    describedBy: NO_ARGUMENTS,
  });
  commands.addCommand(ids.share, {
    label: trans.__("Share this session …"),
    isVisible: own,
    execute: () => {
      open();
      panel.openSharing();
    },
    describedBy: NO_ARGUMENTS,
  });
  commands.addCommand(ids.extend, {
    label: trans.__("Extend this session"),
    isVisible: own,
    execute: async () => {
      try {
        const longer = await model.extend();
        const words = longer
          ? trans.__("The session is extended.")
          : trans.__("The session lasts as long as the site allows already.");
        Notification.info(words, { autoClose: 5_000 });
      } catch (error) {
        failed(error);
      }
    },
    describedBy: NO_ARGUMENTS,
  });
  commands.addCommand(ids.stop, {
    label: trans.__("Stop this session …"),
    isVisible: own,
    execute: async () => {
      const wiped = await model.wiped();
      const unsaved = status?.isDirty
        ? trans.__("Documents with changes that are not saved are open.")
        : "";
      const kept = trans.__("Home and projects stay.");
      const answer = await showDialog({
        title: trans.__("Stop %1?", model.session?.name ?? ""),
        body: [unsaved, wiped, kept].filter((each) => each !== "").join(" "),
        buttons: [
          Dialog.cancelButton({ label: trans.__("Keep it running") }),
          Dialog.warnButton({ label: trans.__("Stop") }),
        ],
        defaultButton: 0,
      });
      if (answer.button.accept) {
        await model.stop().then(goHome, failed);
      }
    },
    describedBy: NO_ARGUMENTS,
  });
  commands.addCommand(ids.leave, {
    label: trans.__("Leave this session …"),
    isVisible: () => known() && model.visitor,
    execute: async () => {
      const owner = model.session?.owner ?? "";
      const answer = await showDialog({
        title: trans.__("Leave %1?", model.session?.name ?? ""),
        body: trans.__("You cannot come back unless %1 shares it with you again.", owner),
        buttons: [
          Dialog.cancelButton({ label: trans.__("Stay") }),
          Dialog.warnButton({ label: trans.__("Leave") }),
        ],
        defaultButton: 0,
      });
      if (answer.button.accept) {
        await model.leave().then(goHome, failed);
      }
    },
    describedBy: NO_ARGUMENTS,
  });

  const category = trans.__("Session");
  for (const command of [...Object.values(ids), ...Object.values(storageIds)]) {
    palette?.addItem({ command, category });
  }
  launcher?.add({
    command: ids.open,
    args: { launcher: true },
    category: trans.__("Other"),
    rank: 4,
  });
  model.changed.connect(() => commands.notifyCommandChanged());
}
