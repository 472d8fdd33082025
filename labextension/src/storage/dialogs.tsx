/** The questions that are asked before files are copied, replaced or deleted. */
import { Dialog, ReactWidget, showDialog } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";

import type { StorageApi } from "./api";
import type { StorageModel } from "./model";
import { Picker } from "./picker";
import { amountOf } from "./sentences";
import { nameOf, type Conflict, type Place, type Taken, type Task } from "./shapes";

/** What to do with a file whose name is taken. */
export type Choice = Exclude<Conflict, "refuse"> | "skip";

/** Names that a question lists; of further ones it says how many there are. */
const NAMES_LISTED = 5;

/** What is asked where names are taken. */
export interface Question {
  /** Which these are; null: that is not known. */
  taken: Taken | null;
  /** What the server said, for where that is not known. */
  message: string;
  /** Whether what has these names can be replaced. */
  replaceable: boolean;
  /** Whether the answer may count for all that follow. */
  several?: boolean;
}

class Body<T> extends ReactWidget implements Dialog.IBodyWidget<T> {
  readonly #draw: () => React.JSX.Element;
  readonly #value: () => T;

  constructor(draw: () => React.JSX.Element, value: () => T) {
    super();
    this.addClass("canfar-dialog");
    this.#draw = draw;
    this.#value = value;
  }

  getValue(): T {
    return this.#value();
  }

  protected override render(): React.JSX.Element {
    return this.#draw();
  }
}

/** Ask what to do where names are taken; whoever replaces something has read what that is. */
export async function askConflict(
  trans: TranslationBundle,
  { taken, message, replaceable, several = false }: Question,
): Promise<{ choice: Choice; all: boolean } | null> {
  let all = false;
  const names = taken?.names ?? [];
  const count = taken === null ? 1 : names.length + taken.more;
  let text = message;
  if (taken !== null) {
    text =
      count === 1
        ? trans.__("There is %1 already.", names[0] ?? "")
        : trans._n("There is %1 of them already:", "There are %1 of them already:", count, count);
  }
  const body = new Body<null>(
    () => (
      <>
        <p>{text}</p>
        {count > 1 ? <Names names={names} count={count} trans={trans} /> : null}
        {replaceable || taken === null ? null : <p>{trans.__("Folders are not replaced.")}</p>}
        {several ? (
          <label className="canfar-check">
            <input type="checkbox" onChange={(event) => (all = event.currentTarget.checked)} />
            {trans.__("Do the same with all that follow")}
          </label>
        ) : null}
      </>
    ),
    () => null,
  );
  const buttons: [Dialog.IButton, Choice | null][] = [
    [Dialog.cancelButton({ label: trans.__("Cancel") }), null],
    [Dialog.okButton({ label: trans.__("Keep both"), actions: ["keep_both"] }), "keep_both"],
  ];
  if (several) {
    buttons.splice(1, 0, [
      Dialog.okButton({ label: trans.__("Skip"), actions: ["skip"], className: "canfar-plain" }),
      "skip",
    ]);
  }
  const defaultButton = buttons.length - 1;
  if (replaceable) {
    const label =
      count === 1
        ? trans.__("Replace")
        : trans._n("Replace %1 file", "Replace %1 files", count, count);
    buttons.push([Dialog.warnButton({ label, actions: ["replace"] }), "replace"]);
  }
  const result = await showDialog({
    title:
      count === 1
        ? trans.__("The name is taken")
        : trans._n("%1 name is taken", "%1 names are taken", count, count),
    body,
    buttons: buttons.map(([button]) => button),
    defaultButton,
  });
  const chosen = result.button.actions[0];
  const choice = buttons.find(([button]) => button.actions[0] === chosen)?.[1] ?? null;
  return result.button.accept && choice !== null ? { choice, all } : null;
}

/** Ask for the folder that something is copied or moved to. */
export async function askDestination(
  model: StorageModel,
  trans: TranslationBundle,
  kind: "copy" | "move",
  names: readonly string[],
): Promise<Place | null> {
  let place = model.place ?? { area: "", path: "" };
  const body = new Body<Place>(
    () => (
      <Picker
        api={model.api}
        areas={model.areas ?? []}
        trans={trans}
        begin={place}
        changed={(now) => (place = now)}
      />
    ),
    () => place,
  );
  const count = names.length;
  const what = count === 1 ? (names[0] ?? "") : trans._n("%1 item", "%1 items", count, count);
  const result = await showDialog({
    title: kind === "copy" ? trans.__("Copy %1 to", what) : trans.__("Move %1 to", what),
    body,
    buttons: [
      Dialog.cancelButton({ label: trans.__("Cancel") }),
      Dialog.okButton({ label: kind === "copy" ? trans.__("Copy here") : trans.__("Move here") }),
    ],
    focusNodeSelector: ".canfar-picker-list",
  });
  return result.button.accept ? result.value : null;
}

/** Ask whether to delete, counting meanwhile what would be. */
export async function askRemoval(
  { api, trans, locale }: { api: StorageApi; trans: TranslationBundle; locale: string },
  area: string,
  paths: readonly string[],
): Promise<boolean> {
  const counting = new AbortController();
  const count = paths.length;
  const [first = ""] = paths;
  const result = await showDialog({
    title:
      count === 1
        ? trans.__("Delete %1?", nameOf(first))
        : trans._n("Delete %1 item?", "Delete %1 items?", count, count),
    body: new Body<null>(
      () => (
        <Counted
          api={api}
          trans={trans}
          locale={locale}
          area={area}
          paths={paths}
          signal={counting.signal}
        />
      ),
      () => null,
    ),
    buttons: [
      Dialog.cancelButton({ label: trans.__("Cancel") }),
      Dialog.warnButton({ label: trans.__("Delete") }),
    ],
    // Who presses Enter without reading loses nothing.
    defaultButton: 0,
  });
  counting.abort();
  return result.button.accept;
}

interface NamesProps {
  names: readonly string[];
  /** How many there are, of which these are the first. */
  count: number;
  trans: TranslationBundle;
}

/** The first of some names, and how many further ones there are. */
function Names({ names, count, trans }: NamesProps): React.JSX.Element {
  const listed = names.slice(0, NAMES_LISTED);
  return (
    <ul className="canfar-dialog-names">
      {listed.map((name) => (
        <li key={name}>{name}</li>
      ))}
      {count > listed.length ? <li>{trans.__("and %1 more", count - listed.length)}</li> : null}
    </ul>
  );
}

interface CountedProps {
  api: StorageApi;
  trans: TranslationBundle;
  locale: string;
  area: string;
  paths: readonly string[];
  signal: AbortSignal;
}

/** What would be deleted, as it is counted. */
function Counted({ api, trans, locale, area, paths, signal }: CountedProps): React.JSX.Element {
  const [task, setTask] = React.useState<Task | null>(null);
  const [problem, setProblem] = React.useState("");
  React.useEffect(() => {
    const count = async (): Promise<void> => {
      let now = await api.measure(area, paths);
      while (now.state === "running" && !signal.aborted) {
        setTask(now);
        now = await api.task(now.id, now.next, signal);
      }
      setTask(now);
    };
    count().catch((error: unknown) => {
      if (!signal.aborted) {
        setProblem(error instanceof Error ? error.message : String(error));
      }
    });
  }, [api, area, paths, signal]);
  return (
    <>
      {paths.length > 1 ? (
        <Names names={paths.map(nameOf)} count={paths.length} trans={trans} />
      ) : null}
      <p role="status">{problem === "" ? amountOf(task, trans, locale) : problem}</p>
      <p>{trans.__("What is deleted cannot be brought back.")}</p>
    </>
  );
}
