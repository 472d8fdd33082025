/** The field that narrows a folder, and what a search below it has found. */
import type { LabIcon } from "@jupyterlab/ui-components";
import { searchIcon } from "@jupyterlab/ui-components";
import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";

import { ROW, stepOf, useSignal, useWindow } from "./hooks";
import type { StorageModel } from "./model";
import type { Search } from "./search";
import { isFile, isFolder, nameOf, parentOf, type Hit, type Row } from "./shapes";
import { countOf, sizeOf, type Calendar } from "./words";

/** How long somebody types before the folder is narrowed. */
const PAUSE = 150;

interface FieldProps {
  model: StorageModel;
  trans: TranslationBundle;
}

export function FindField({ model, trans }: FieldProps): React.JSX.Element {
  const [text, setText] = React.useState("");
  const timer = React.useRef(0);
  const folder = model.folder?.place;
  React.useEffect(() => setText(""), [folder?.area, folder?.path]);
  React.useEffect(() => {
    if (text !== "" || model.search === null) {
      timer.current = window.setTimeout(() => model.filter(text), PAUSE);
    }
    return () => window.clearTimeout(timer.current);
  }, [model, text]);
  return (
    <form
      role="search"
      className="canfar-storage-find"
      onSubmit={(event) => {
        event.preventDefault();
        // The folder is not narrowed by what is searched below it.
        window.clearTimeout(timer.current);
        model.find(text.trim());
        setText("");
      }}
    >
      <input
        className="canfar-input"
        type="search"
        placeholder={trans.__("Filter")}
        aria-label={trans.__("Filter this folder; Enter searches all folders below it")}
        spellCheck={false}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            setText("");
            model.find("");
          }
        }}
      />
      <button
        type="submit"
        className="canfar-icon-button"
        title={trans.__("Search all folders below")}
        aria-label={trans.__("Search all folders below")}
        disabled={text.trim() === ""}
      >
        <searchIcon.react tag="span" elementSize="normal" />
      </button>
    </form>
  );
}

interface HitsProps extends FieldProps {
  search: Search;
  calendar: Calendar;
  locale: string;
  iconOf: (row: Pick<Row, "name" | "kind">) => LabIcon;
}

/** What was found: a list of which only what is seen is in the document. */
export function Hits(props: HitsProps): React.JSX.Element {
  const { model, search, trans, locale } = props;
  useSignal(search.changed);
  const [cursor, setCursor] = React.useState(0);
  const id = React.useId();
  const hits = search.hits;
  const { scroller, view, page, onScroll } = useWindow(hits.length, cursor, search, 0);
  const go = (hit: Hit): void => {
    const { area } = search.place;
    if (isFolder(hit.kind)) {
      model.go({ area, path: hit.path });
    } else {
      model.go({ area, path: parentOf(hit.path) }, nameOf(hit.path));
    }
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const to = stepOf(event, cursor, page, hits.length);
    const hit = hits[cursor];
    if (to !== null) {
      setCursor(to);
    } else if (event.key === "Enter" && hit) {
      go(hit);
    } else if (event.key === "Escape") {
      model.find("");
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const prefix = search.place.path === "" ? 0 : search.place.path.length + 1;
  const drawn: React.JSX.Element[] = [];
  for (let index = view.first; index < view.end; index += 1) {
    const hit = hits[index];
    if (!hit) {
      break;
    }
    const icon = props.iconOf({ name: nameOf(hit.path), kind: hit.kind });
    const folder = parentOf(hit.path.slice(prefix));
    drawn.push(
      <div
        key={index}
        id={`${id}-${index}`}
        role="option"
        aria-selected={index === cursor}
        aria-setsize={hits.length}
        aria-posinset={index + 1}
        className={`canfar-storage-hit${index === cursor ? " canfar-mod-current" : ""}`}
        style={{ top: view.offset + (index - view.first) * ROW }}
        title={hit.path}
        onClick={() => setCursor(index)}
        onDoubleClick={() => go(hit)}
      >
        <icon.react tag="span" className="canfar-storage-icon" elementSize="normal" />
        <span className="canfar-storage-text">{nameOf(hit.path)}</span>
        <span className="canfar-storage-hit-folder">{folder}</span>
        <span className="canfar-storage-size">
          {isFile(hit.kind) ? sizeOf(hit.size, trans) : ""}
        </span>
      </div>,
    );
  }
  return (
    <div className="canfar-storage-list">
      <div className="canfar-storage-hits-bar">
        <span role="status">{statusOf(search, trans, locale)}</span>
        {search.done ? null : (
          <button type="button" className="canfar-button" onClick={() => search.stop()}>
            {trans.__("Stop searching")}
          </button>
        )}
        <button type="button" className="canfar-button" onClick={() => model.find("")}>
          {trans.__("Back to the folder")}
        </button>
      </div>
      <div
        ref={scroller}
        className="canfar-storage-rows"
        role="listbox"
        tabIndex={0}
        aria-label={trans.__("Found; Enter goes there")}
        aria-busy={!search.done}
        aria-activedescendant={hits.length > 0 ? `${id}-${cursor}` : undefined}
        onScroll={onScroll}
        onKeyDown={onKeyDown}
      >
        <div className="canfar-storage-body" role="presentation" style={{ height: view.height }}>
          {drawn}
        </div>
      </div>
    </div>
  );
}

function statusOf(search: Search, trans: TranslationBundle, locale: string): string {
  if (search.error) {
    return search.error.message;
  }
  const found = countOf(search.hits.length, locale);
  const looked = countOf(search.looked, locale);
  if (search.more) {
    return trans.__("The first %1 of “%2”; there are more", found, search.text);
  }
  return search.done
    ? trans.__("%1 with “%2” of %3 looked at", found, search.text, looked)
    : trans.__("Searching: %1 with “%2” of %3 looked at", found, search.text, looked);
}
