/** The storage section of the panel. */
import type { JupyterFrontEnd } from "@jupyterlab/application";
import type { IStateDB } from "@jupyterlab/statedb";
import type { TranslationBundle } from "@jupyterlab/translation";
import {
  fileIcon,
  fileUploadIcon,
  folderIcon,
  newFolderIcon,
  refreshIcon,
  type LabIcon,
} from "@jupyterlab/ui-components";
import type { Menu } from "@lumino/widgets";
import * as React from "react";

import { Acts } from "./acts";
import { StorageApi } from "./api";
import { addStorageCommands } from "./commands";
import { FindField, Hits } from "./finding";
import { useSignal } from "./hooks";
import { Jobs } from "./jobs";
import { makeMenu } from "./menu";
import { StorageModel, type Remembered } from "./model";
import { AreaChooser, Path } from "./place";
import { Previews } from "./preview";
import { Rows } from "./rows";
import { isFolder, type Row } from "./shapes";
import { Transfers } from "./transfers";
import { Calendar, localeOf } from "./words";

const REMEMBERED = "canfar:storage";

export interface StorageProps {
  app: JupyterFrontEnd;
  trans: TranslationBundle;
  /** The language of the words, in which numbers and days are written too. */
  language: string;
  /** Whether anybody can see it; nothing is asked for while nobody can. */
  shown: boolean;
  /** Where the hub's pages are, with the slash; null: no hub started this session. */
  hub: string | null;
  /** Where it is kept what was open. */
  state: IStateDB | null;
  /** Whose storage it is, where that is not whoever looks, who then may only read. */
  lentBy: string | null;
}

/** What there is once for each panel. */
interface Parts {
  model: StorageModel;
  transfers: Transfers;
  acts: Acts;
  menu: Menu;
}

function partsOf({ app, trans, language, hub, state, lentBy }: StorageProps): Parts {
  const api = new StorageApi(trans);
  const model = new StorageModel(api, (now) => {
    void state?.save(REMEMBERED, { ...now });
  });
  const transfers = new Transfers(api, trans);
  const previews = new Previews(app, api, trans, () => model.areas ?? []);
  const acts = new Acts({
    app,
    model,
    transfers,
    previews,
    trans,
    locale: localeOf(language),
    hub,
  });
  transfers.ended.connect((_transfers, job) => {
    // What was put into the folder that is open is shown there at once.
    if (job.state === "done") {
      void model.changedHere();
    }
  });
  return { model, transfers, acts, menu: makeMenu(model, acts, trans, lentBy !== null) };
}

/** Read what was open when the page was last there. */
async function remembered(state: IStateDB | null): Promise<Remembered | null> {
  const kept = (await state?.fetch(REMEMBERED).catch(() => undefined)) as
    Partial<Remembered> | undefined;
  const { area, path, sort, descending } = kept ?? {};
  if (typeof area !== "string" || typeof path !== "string") {
    return null;
  }
  const known = sort === "size" || sort === "modified" ? sort : "name";
  return { area, path, sort: known, descending: descending === true };
}

export function StoragePanel(props: StorageProps): React.JSX.Element {
  const { app, trans, language, shown, state, lentBy } = props;
  const [parts, setParts] = React.useState<Parts | null>(null);
  // The parts live as long as the panel, whatever is handed to it anew.
  const first = React.useRef(props);
  React.useEffect(() => {
    const made = partsOf(first.current);
    const commands = addStorageCommands(
      first.current.app,
      first.current.trans,
      made.model,
      made.acts,
    );
    setParts(made);
    void remembered(first.current.state).then((last) => {
      if (!made.model.isDisposed) {
        made.model.begin(last);
      }
    });
    return () => {
      commands.dispose();
      made.menu.dispose();
      made.transfers.dispose();
      made.model.dispose();
    };
  }, [state]);
  React.useEffect(() => {
    parts?.model.show(shown);
    parts?.transfers.show(shown && lentBy === null);
  }, [parts, shown, lentBy]);
  return (
    <div className="canfar-storage">
      {parts ? (
        <Inside {...parts} app={app} trans={trans} language={language} lentBy={lentBy} />
      ) : null}
    </div>
  );
}

type InsideProps = Parts & Pick<StorageProps, "app" | "trans" | "language" | "lentBy">;

/** Keys that act on what is chosen. */
const KEYS: Readonly<Record<string, (acts: Acts, model: StorageModel) => unknown>> = {
  Backspace: (_acts, model) => model.up(),
  Delete: (acts) => acts.remove(),
  F2: (acts) => acts.rename(),
};

function Inside(props: InsideProps): React.JSX.Element {
  const { app, trans, model, transfers, acts, menu, lentBy } = props;
  useSignal(model.changed);
  const locale = localeOf(props.language);
  const calendar = React.useMemo(() => new Calendar(locale), [locale]);
  const iconOf = React.useMemo(() => iconsOf(app), [app]);
  const open = React.useCallback((row: Row) => acts.open(row), [acts]);
  const files = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    // The keyboard goes on where the menu was opened from.
    const back = (): void => {
      files.current?.querySelector<HTMLElement>(".canfar-storage-rows")?.focus();
    };
    menu.aboutToClose.connect(back);
    return () => void menu.aboutToClose.disconnect(back);
  }, [menu]);
  const showMenu = React.useCallback((x: number, y: number) => menu.open(x, y), [menu]);
  const [over, setOver] = React.useState(false);
  const folder = model.folder;
  const writable = folder?.writable ?? false;
  const problem = model.areasError ?? folder?.error ?? null;

  if (model.areas === null) {
    return (
      <p className="canfar-note" role={problem ? "alert" : "status"}>
        {problem ? problem.message : trans.__("Looking for your storage")}
      </p>
    );
  }
  if (model.areas.length === 0) {
    return (
      <p className="canfar-note">{trans.__("This session has neither a home nor projects.")}</p>
    );
  }

  const onKey = (event: React.KeyboardEvent): boolean => {
    const act = KEYS[event.key];
    if (act && (lentBy === null || event.key === "Backspace")) {
      void act(acts, model);
    } else if (event.key === "ArrowUp" && event.altKey) {
      model.up();
    } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      void model.markAll().catch(() => undefined);
    } else {
      return false;
    }
    return true;
  };
  const drop = (event: React.DragEvent): void => {
    setOver(false);
    if (event.dataTransfer.files.length > 0) {
      event.preventDefault();
      event.stopPropagation();
      if (writable) {
        void acts.upload([...event.dataTransfer.files]);
      }
    }
  };
  const isDrop = (event: React.DragEvent): boolean => event.dataTransfer.types.includes("Files");

  return (
    <>
      {lentBy === null ? null : (
        <p className="canfar-note">
          {trans.__("The storage of %1, which is open to you to read.", lentBy)}
        </p>
      )}
      <AreaChooser model={model} trans={trans} />
      <Path model={model} trans={trans} />
      <Tools model={model} acts={acts} trans={trans} writable={writable} own={lentBy === null} />
      {problem ? (
        <p className="canfar-note canfar-mod-bad" role="alert">
          {problem.message}
        </p>
      ) : null}
      <div
        ref={files}
        className={over ? "canfar-storage-drop canfar-mod-over" : "canfar-storage-drop"}
        onDragOver={(event) => {
          if (isDrop(event)) {
            event.preventDefault();
            event.dataTransfer.dropEffect = writable ? "copy" : "none";
            setOver(true);
          }
        }}
        onDragLeave={(event) => {
          if (!event.currentTarget.contains(event.relatedTarget as Node | null)) {
            setOver(false);
          }
        }}
        onDrop={drop}
      >
        {model.search ? (
          <Hits
            model={model}
            search={model.search}
            trans={trans}
            calendar={calendar}
            locale={locale}
            iconOf={iconOf}
          />
        ) : (
          <Rows
            model={model}
            trans={trans}
            calendar={calendar}
            locale={locale}
            iconOf={iconOf}
            open={open}
            menu={showMenu}
            onKey={onKey}
          />
        )}
        {over ? (
          <p className="canfar-storage-over">
            {writable ? trans.__("Upload here") : trans.__("Nothing can be put into this folder")}
          </p>
        ) : null}
      </div>
      {lentBy === null ? <Jobs transfers={transfers} areas={model.areas} trans={trans} /> : null}
    </>
  );
}

interface ToolsProps {
  model: StorageModel;
  acts: Acts;
  trans: StorageProps["trans"];
  writable: boolean;
  /** Whether the storage is of whoever looks. */
  own: boolean;
}

function Tools({ model, acts, trans, writable, own }: ToolsProps): React.JSX.Element {
  const hidden = model.look.hidden;
  return (
    <div className="canfar-storage-tools">
      <FindField model={model} trans={trans} />
      <button
        type="button"
        className="canfar-icon-button canfar-storage-dots"
        title={trans.__("Show hidden files")}
        aria-label={trans.__("Show hidden files")}
        aria-pressed={hidden}
        onClick={() => model.toggleHidden()}
      >
        <span aria-hidden>.*</span>
      </button>
      {own ? (
        <>
          <Tool
            icon={newFolderIcon}
            label={trans.__("New folder")}
            disabled={!writable}
            act={() => acts.newFolder()}
          />
          <Tool
            icon={fileUploadIcon}
            label={trans.__("Upload files")}
            disabled={!writable}
            act={() => acts.chooseFiles()}
          />
        </>
      ) : null}
      <Tool icon={refreshIcon} label={trans.__("Look again")} act={() => model.changedHere()} />
    </div>
  );
}

interface ToolProps {
  icon: LabIcon;
  label: string;
  disabled?: boolean;
  act: () => unknown;
}

function Tool({ icon, label, disabled = false, act }: ToolProps): React.JSX.Element {
  return (
    <button
      type="button"
      className="canfar-icon-button"
      title={label}
      aria-label={label}
      disabled={disabled}
      onClick={() => void act()}
    >
      <icon.react tag="span" elementSize="normal" />
    </button>
  );
}

/** Give the icons that JupyterLab has for files; names that end alike look alike. */
function iconsOf(app: JupyterFrontEnd): (row: Pick<Row, "name" | "kind">) => LabIcon {
  const known = new Map<string, LabIcon>();
  return ({ name, kind }) => {
    if (isFolder(kind)) {
      return folderIcon;
    }
    const dot = name.indexOf(".", 1);
    const ending = dot < 0 ? "" : name.slice(dot).toLowerCase();
    let icon = known.get(ending);
    if (!icon) {
      icon = app.docRegistry.getFileTypesForPath(`x${ending}`)[0]?.icon ?? fileIcon;
      if (known.size < 500) {
        known.set(ending, icon);
      }
    }
    return icon;
  };
}
