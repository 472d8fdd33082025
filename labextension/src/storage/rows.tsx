/** The rows of a folder: a grid of which only what is seen is in the document. */
import type { LabIcon } from "@jupyterlab/ui-components";
import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";

import type { Folder } from "./folder";
import { ROW, stepOf, useSignal, useWindow } from "./hooks";
import type { StorageModel } from "./model";
import { isFile, type Column, type Row } from "./shapes";
import { countOf, sizeOf, type Calendar } from "./words";

export interface RowsProps {
  model: StorageModel;
  trans: TranslationBundle;
  calendar: Calendar;
  locale: string;
  iconOf: (row: Row) => LabIcon;
  /** Enter a folder, open a file. */
  open: (row: Row) => void;
  menu: (x: number, y: number) => void;
  /** A key with a meaning that is not moving about; true: it had one. */
  onKey: (event: React.KeyboardEvent) => boolean;
}

export function Rows(props: RowsProps): React.JSX.Element {
  const { model, trans, locale } = props;
  const opened = model.folder;
  useSignal(opened?.changed);
  const id = React.useId();
  // The rows of before stay until there are others: a folder that is narrowed does not flicker.
  const drawnLast = React.useRef<Folder | null>(null);
  if (opened && (opened.total !== null || opened.error)) {
    drawnLast.current = opened;
  }
  const folder = drawnLast.current ?? opened;
  const old = folder !== opened;
  const cursor = old ? -1 : model.cursor;
  const total = folder?.total ?? 0;
  const { scroller, view, page, onScroll } = useWindow(total, cursor, folder, ROW);

  React.useEffect(() => {
    if (!old) {
      model.see(view.first, Math.max(view.end, view.first + 1));
    }
  });

  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.target !== event.currentTarget) {
      return;
    }
    const row = folder?.row(cursor);
    const to = stepOf(event, cursor, page, total);
    if (to !== null) {
      model.move(to, event.shiftKey);
    } else if (event.key === " ") {
      model.toggle(cursor);
    } else if (event.key === "Enter" && row) {
      props.open(row);
    } else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) {
      const box = scroller.current?.querySelector(".canfar-mod-current");
      const at = (box ?? event.currentTarget).getBoundingClientRect();
      props.menu(at.left + ROW, at.bottom);
    } else if (!props.onKey(event)) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const today = new Date().toDateString();
  const drawn: React.JSX.Element[] = [];
  for (let index = view.first; index < view.end; index += 1) {
    const row = folder?.row(index);
    const marked = row !== undefined && model.marked.has(row.name);
    drawn.push(
      <RowView
        key={index}
        id={`${id}-${index}`}
        index={index}
        top={view.offset + (index - view.first) * ROW}
        row={row}
        current={index === cursor}
        selected={marked || (index === cursor && model.marked.size === 0)}
        today={today}
        model={model}
        trans={trans}
        calendar={props.calendar}
        iconOf={props.iconOf}
        open={props.open}
        menu={props.menu}
      />,
    );
  }

  if (folder?.total === 0) {
    drawn.push(<Empty key="empty" model={model} trans={trans} />);
  }

  const here = cursor >= view.first && cursor < view.end && total > 0;
  return (
    <div className="canfar-storage-list">
      <div
        ref={scroller}
        className={old ? "canfar-storage-rows canfar-mod-old" : "canfar-storage-rows"}
        role="grid"
        tabIndex={0}
        aria-label={trans.__("Files and folders")}
        aria-rowcount={total + 1}
        aria-colcount={6}
        aria-multiselectable
        aria-busy={old || folder?.total === null}
        aria-activedescendant={here ? `${id}-${cursor}` : undefined}
        onScroll={onScroll}
        onKeyDown={onKeyDown}
      >
        <Heading model={model} trans={trans} />
        <div className="canfar-storage-body" role="rowgroup" style={{ height: view.height }}>
          {drawn}
        </div>
      </div>
      <div className="canfar-storage-count" role="status">
        {old || folder?.total === undefined || folder.total === null
          ? trans.__("Reading the folder")
          : trans._n("%2 item", "%2 items", total, countOf(total, locale))}
        {model.marked.size > 0
          ? ` · ${trans._n("%2 marked", "%2 marked", model.marked.size, countOf(model.marked.size, locale))}`
          : ""}
      </div>
    </div>
  );
}

/** What stands in place of rows where there are none. */
function Empty({ model, trans }: HeadingProps): React.JSX.Element {
  const { filter } = model.look;
  let words = trans.__("This folder is empty.");
  if (filter !== "") {
    words = trans.__("No name here has “%1”. Enter searches all folders below.", filter);
  } else if (model.folder?.writable) {
    words = trans.__("This folder is empty. Files that are dropped here are uploaded.");
  }
  return (
    <div role="row" aria-rowindex={2} className="canfar-storage-empty">
      <div role="gridcell">{words}</div>
    </div>
  );
}

interface HeadingProps {
  model: StorageModel;
  trans: TranslationBundle;
}

function Heading({ model, trans }: HeadingProps): React.JSX.Element {
  const { sort, descending } = model.look;
  const column = (of: Column, title: string): React.JSX.Element => {
    const here = sort === of;
    return (
      <div
        className={`canfar-storage-cell canfar-storage-${of}`}
        role="columnheader"
        aria-sort={here ? (descending ? "descending" : "ascending") : "none"}
      >
        <button type="button" onClick={() => model.sortBy(of)}>
          {title}
          <span aria-hidden className="canfar-storage-sorted">
            {here ? (descending ? "▾" : "▴") : ""}
          </span>
        </button>
      </div>
    );
  };
  return (
    <div role="rowgroup" className="canfar-storage-heading">
      <div role="row" aria-rowindex={1}>
        {column("name", trans.__("Name"))}
        {column("size", trans.__("Size"))}
        {column("modified", trans.__("Changed"))}
        <div className="canfar-storage-cell canfar-storage-owner" role="columnheader">
          {trans.__("Owner")}
        </div>
        <div className="canfar-storage-cell canfar-storage-group" role="columnheader">
          {trans.__("Group")}
        </div>
        <div className="canfar-storage-cell canfar-storage-more" role="columnheader">
          <span className="canfar-hidden">{trans.__("Actions")}</span>
        </div>
      </div>
    </div>
  );
}

interface RowViewProps extends Omit<RowsProps, "locale" | "onKey"> {
  id: string;
  index: number;
  top: number;
  row: Row | undefined;
  /** The cursor is here. */
  current: boolean;
  selected: boolean;
  /** The day it is: what was written yesterday is then shown with its day. */
  today: string;
}

const RowView = React.memo(function RowView(props: RowViewProps): React.JSX.Element {
  const { id, index, row, model, trans, calendar, selected } = props;
  const shared = { id, role: "row", "aria-rowindex": index + 2, style: { top: props.top } };
  if (!row) {
    return (
      <div {...shared} className="canfar-storage-row">
        <div className="canfar-storage-cell canfar-storage-name" role="gridcell">
          <span className="canfar-storage-blank" />
        </div>
      </div>
    );
  }
  const icon = props.iconOf(row);
  const menu = (x: number, y: number): void => {
    if (!model.marked.has(row.name)) {
      model.move(index);
    }
    props.menu(x, y);
  };
  return (
    <div
      {...shared}
      className={`canfar-storage-row${props.current ? " canfar-mod-current" : ""}`}
      aria-selected={selected}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey) {
          model.toggle(index);
        } else {
          model.move(index, event.shiftKey);
        }
      }}
      onDoubleClick={() => props.open(row)}
      onContextMenu={(event) => {
        event.preventDefault();
        // JupyterLab's own menu listens further out.
        event.nativeEvent.stopPropagation();
        menu(event.clientX, event.clientY);
      }}
    >
      <div className="canfar-storage-cell canfar-storage-name" role="gridcell" title={row.name}>
        <icon.react tag="span" className="canfar-storage-icon" elementSize="normal" />
        <span className="canfar-storage-text">{row.name}</span>
        {row.leads === "" ? null : (
          <span className="canfar-storage-link" title={trans.__("A link to %1", row.leads)}>
            <span aria-hidden>↗</span>
            <span className="canfar-hidden">{trans.__("A link to %1", row.leads)}</span>
          </span>
        )}
      </div>
      <div className="canfar-storage-cell canfar-storage-size" role="gridcell">
        {isFile(row.kind) ? sizeOf(row.size, trans) : ""}
      </div>
      <div
        className="canfar-storage-cell canfar-storage-modified"
        role="gridcell"
        title={calendar.full(row.modified)}
      >
        {calendar.short(row.modified, new Date())}
      </div>
      <div className="canfar-storage-cell canfar-storage-owner" role="gridcell">
        {row.owner}
      </div>
      <div className="canfar-storage-cell canfar-storage-group" role="gridcell">
        {row.group}
      </div>
      <div className="canfar-storage-cell canfar-storage-more" role="gridcell">
        <button
          type="button"
          tabIndex={-1}
          aria-haspopup="menu"
          aria-label={trans.__("Actions for %1", row.name)}
          onClick={(event) => {
            event.stopPropagation();
            const at = event.currentTarget.getBoundingClientRect();
            menu(at.left, at.bottom);
          }}
          onDoubleClick={(event) => event.stopPropagation()}
        >
          ⋯
        </button>
      </div>
    </div>
  );
});
