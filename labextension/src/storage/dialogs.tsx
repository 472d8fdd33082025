/** The questions that are asked before files are copied, replaced or deleted. */
import { Dialog, ReactWidget, showDialog } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";

import type { StorageApi } from "./api";
import type { StorageModel } from "./model";
import { Picker } from "./picker";
import { amountOf } from "./sentences";
import { nameOf, type Conflict, type Place, type Task } from "./shapes";

/** What to do with a file whose name is taken. */
export type Choice = Exclude<Conflict, "refuse"> | "skip";

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

/**
 * Ask what to do with a name that is taken.
 *
 * @param several whether the answer may count for all that follow
 * @param message what the server said, where it knows more than the name
 */
export async function askConflict(
  trans: TranslationBundle,
  name: string,
  several: boolean,
  message = "",
): Promise<{ choice: Choice; all: boolean } | null> {
  let all = false;
  const text = message === "" ? trans.__("There is %1 already.", name) : message;
  const body = new Body<null>(
    () => (
      <>
        <p>{text}</p>
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
    [Dialog.warnButton({ label: trans.__("Replace"), actions: ["replace"] }), "replace"],
  ];
  if (several) {
    buttons.splice(1, 0, [
      Dialog.okButton({ label: trans.__("Skip"), actions: ["skip"], className: "canfar-plain" }),
      "skip",
    ]);
  }
  const result = await showDialog({
    title: trans.__("The name is taken"),
    body,
    buttons: buttons.map(([button]) => button),
    defaultButton: buttons.length - 2,
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
        <ul className="canfar-dialog-names">
          {paths.slice(0, 5).map((path) => (
            <li key={path}>{nameOf(path)}</li>
          ))}
          {paths.length > 5 ? <li>{trans.__("and %1 more", paths.length - 5)}</li> : null}
        </ul>
      ) : null}
      <p role="status">{problem === "" ? amountOf(task, trans, locale) : problem}</p>
      <p>{trans.__("What is deleted cannot be brought back.")}</p>
    </>
  );
}
