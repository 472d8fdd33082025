/** The platform in JupyterLab: a panel on this session, its sharing and all storage. */
import {
  ILabStatus,
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin,
} from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { ILauncher } from "@jupyterlab/launcher";
import { ISettingRegistry } from "@jupyterlab/settingregistry";
import { IStateDB } from "@jupyterlab/statedb";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";

import { addCommands } from "./commands";
import { PANEL, PLUGIN } from "./ids";
import { CanfarPanel } from "./panel";
import { Server } from "./server";
import { SessionModel } from "./session-model";
import { SharingModel } from "./sharing-model";
import { localeOf } from "./storage/words";
import { Warnings } from "./warnings";

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: "Shows this session, who may enter it, and all storage.",
  autoStart: true,
  optional: [
    ITranslator,
    ICommandPalette,
    ILauncher,
    ILayoutRestorer,
    ISettingRegistry,
    IStateDB,
    ILabStatus,
  ],
  activate: async (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null,
    registry: ISettingRegistry | null,
    state: IStateDB | null,
    status: ILabStatus | null,
  ) => {
    const speaks = translator ?? nullTranslator;
    const trans = speaks.load("canfar_hub");
    const language = localeOf(speaks.languageCode);
    const server = new Server(speaks, trans);
    const session = new SessionModel(server);
    const sharing = new SharingModel(server);
    const panel = new CanfarPanel({ app, trans, language, session, sharing, state });
    const settings = await registry?.load(PLUGIN).catch(() => null);
    const side = settings?.get("side").composite === "right" ? "right" : "left";
    app.shell.add(panel, side, { rank: 150, type: "CANFAR" });
    restorer?.add(panel, PANEL);
    addCommands({ app, trans, model: session, panel, palette, launcher, status });
    new Warnings(session, app.commands, trans, language, () => ({
      warn: settings?.get("warn").composite !== false,
      memory: Number(settings?.get("memoryWarning").composite ?? 90),
    }));
  },
};

export default plugin;
