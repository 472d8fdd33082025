/** A folder is chosen: the areas, and the folders of one below the other. */
import { folderIcon } from "@jupyterlab/ui-components";
import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";

import type { StorageApi } from "./api";
import { Folder } from "./folder";
import { ROW, stepOf, useSignal, useWindow } from "./hooks";
import { AreaSelect } from "./place";
import { below, inside, isFolder, parentOf, type Area, type Look, type Place } from "./shapes";

const LOOK: Look = { sort: "name", descending: false, filter: "", hidden: false };

export interface PickerProps {
  api: StorageApi;
  areas: readonly Area[];
  trans: TranslationBundle;
  begin: Place;
  changed: (place: Place) => void;
}

export function Picker({ api, areas, trans, begin, changed }: PickerProps): React.JSX.Element {
  const [place, setPlace] = React.useState(begin);
  const [cursor, setCursor] = React.useState(0);
  const folder = React.useMemo(() => new Folder(api, place, LOOK), [api, place]);
  React.useEffect(() => {
    folder.ensure(0, 1);
    return () => folder.dispose();
  }, [folder]);
  useSignal(folder.changed);
  const id = React.useId();
  // Folders come first in every order, and what is below the last of them cannot be gone into.
  const folders = foldersOf(folder);
  const { scroller, view, page, onScroll } = useWindow(folders, cursor, folder, 0);
  React.useEffect(() => folder.ensure(view.first, Math.max(view.end, view.first + 1)));

  const go = (to: Place): void => {
    setPlace(to);
    setCursor(0);
    changed(to);
  };
  const enter = (index: number): void => {
    const row = folder.row(index);
    if (row) {
      go({ area: place.area, path: below(place.path, row.name) });
    }
  };
  const up = (): void => {
    if (place.path !== "") {
      go({ area: place.area, path: parentOf(place.path) });
    }
  };
  const area = areas.find((one) => one.id === place.area);

  const onKeyDown = (event: React.KeyboardEvent): void => {
    const to = stepOf(event, cursor, page, folders);
    if (to !== null) {
      setCursor(to);
    } else if (event.key === "ArrowRight" || event.key === " ") {
      enter(cursor);
    } else if (event.key === "ArrowLeft" || event.key === "Backspace") {
      up();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const drawn: React.JSX.Element[] = [];
  for (let index = view.first; index < view.end; index += 1) {
    const row = folder.row(index);
    drawn.push(
      <div
        key={index}
        id={`${id}-${index}`}
        role="option"
        aria-selected={index === cursor}
        aria-setsize={folders}
        aria-posinset={index + 1}
        className={`canfar-picker-row${index === cursor ? " canfar-mod-current" : ""}`}
        style={{ top: view.offset + (index - view.first) * ROW }}
        onClick={() => setCursor(index)}
        onDoubleClick={() => enter(index)}
      >
        <folderIcon.react tag="span" elementSize="normal" />
        <span className="canfar-storage-text">{row?.name ?? ""}</span>
      </div>,
    );
  }

  return (
    <div className="canfar-picker">
      <div className="canfar-picker-place">
        <AreaSelect
          areas={areas}
          chosen={place.area}
          label={trans.__("Area")}
          choose={(chosen) => go({ area: chosen, path: "" })}
        />
        <button type="button" className="canfar-button" disabled={place.path === ""} onClick={up}>
          {trans.__("Up")}
        </button>
      </div>
      <p className="canfar-picker-path" aria-live="polite">
        {area ? inside(area.path, place.path) : ""}
      </p>
      <div
        ref={scroller}
        className="canfar-picker-list"
        role="listbox"
        tabIndex={0}
        aria-label={trans.__("Folders; the right arrow enters one, the left goes back")}
        aria-activedescendant={folders > 0 ? `${id}-${cursor}` : undefined}
        onScroll={onScroll}
        onKeyDown={onKeyDown}
      >
        <div role="presentation" style={{ height: view.height }}>
          {drawn}
        </div>
      </div>
      <p className="canfar-picker-note" role="status">
        {noteOf(folder, folders, trans)}
      </p>
    </div>
  );
}

/** Count the folders that are loaded; more are when the last of them comes into view. */
function foldersOf(folder: Folder): number {
  let count = 0;
  const total = folder.total ?? 0;
  while (count < total) {
    const row = folder.row(count);
    if (row && !isFolder(row.kind)) {
      return count;
    }
    if (!row) {
      // One row that is not there yet is drawn, and with that asked for.
      return Math.min(total, count + 1);
    }
    count += 1;
  }
  return count;
}

function noteOf(folder: Folder, folders: number, trans: TranslationBundle): string {
  if (folder.error) {
    return folder.error.message;
  }
  if (folder.total === null) {
    return trans.__("Reading the folder");
  }
  if (!folder.writable) {
    return trans.__("Nothing can be put here; choose a folder in it, or another area.");
  }
  return folders === 0 ? trans.__("There are no folders in this one.") : "";
}
