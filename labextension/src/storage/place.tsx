/** Where one is: the area with its badge and how full it is, and the path. */
import { editIcon } from "@jupyterlab/ui-components";
import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";

import type { StorageModel } from "./model";
import { badgeOf, fullnessOf } from "./sentences";
import { inside, type Area, type Place, type Usage } from "./shapes";

interface PlaceProps {
  model: StorageModel;
  trans: TranslationBundle;
}

/** The areas, the badge of the one that is open, and how full it is. */
export function AreaChooser({ model, trans }: PlaceProps): React.JSX.Element {
  const area = model.area;
  return (
    <div className="canfar-storage-area">
      <AreaSelect
        areas={model.areas ?? []}
        chosen={area?.id ?? ""}
        label={trans.__("Area")}
        choose={(id) => model.go({ area: id, path: "" })}
      />
      {area ? (
        <span
          className={`canfar-storage-badge canfar-mod-${area.persistence.replace(" ", "-")}`}
          title={inside(area.path, "")}
        >
          {badgeOf(area.persistence, trans)}
        </span>
      ) : null}
      <Fullness usage={model.usage} trans={trans} />
    </div>
  );
}

interface AreaSelectProps {
  areas: readonly Area[];
  chosen: string;
  label: string;
  choose: (id: string) => void;
}

export function AreaSelect({ areas, chosen, label, choose }: AreaSelectProps): React.JSX.Element {
  return (
    <select
      className="canfar-select"
      aria-label={label}
      value={chosen}
      onChange={(event) => choose(event.currentTarget.value)}
    >
      {areas.map((one) => (
        <option key={one.id} value={one.id}>
          {one.title}
        </option>
      ))}
    </select>
  );
}

/** Say how full something is, and draw it where there is a whole to compare with. */
function Fullness({
  usage,
  trans,
}: {
  usage: Usage | null;
  trans: TranslationBundle;
}): React.JSX.Element {
  if (usage === null) {
    return <span className="canfar-storage-usage canfar-storage-blank" />;
  }
  const words = fullnessOf(usage, trans);
  const { used, limit } = usage;
  if (used === null || limit === null || limit <= 0) {
    return <span className="canfar-storage-usage">{words}</span>;
  }
  const share = Math.min(1, used / limit);
  return (
    <div className="canfar-storage-usage">
      <div
        className="canfar-meter"
        role="meter"
        aria-label={trans.__("Storage in use")}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(share * 100)}
        aria-valuetext={words}
      >
        <div
          className={share > 0.9 ? "canfar-meter-part canfar-mod-bad" : "canfar-meter-part"}
          style={{ width: `${Math.max(1, share * 100)}%` }}
        />
      </div>
      <span className={share > 0.9 ? "canfar-mod-bad" : ""}>{words}</span>
    </div>
  );
}

interface Crumb extends Place {
  text: string;
}

/** Parts of a path that are shown beside each other; what is between is behind an ellipsis. */
const CRUMBS = 4;

/** The path, each part of which can be gone to, and a field to type one. */
export function Path({ model, trans }: PlaceProps): React.JSX.Element {
  const pencil = React.useRef<HTMLButtonElement>(null);
  const place = model.place;
  const area = model.area;
  if (!place || !area) {
    return <div className="canfar-storage-path" />;
  }
  const stop = (): void => {
    model.typePath(false);
    // The field is gone; the keyboard goes on where it came from.
    window.setTimeout(() => pencil.current?.focus());
  };
  if (model.typing) {
    return (
      <PathField model={model} trans={trans} from={inside(area.path, place.path)} stop={stop} />
    );
  }
  const crumbs: Crumb[] = [{ area: area.id, path: "", text: area.title }];
  const parts = place.path === "" ? [] : place.path.split("/");
  parts.forEach((text, at) => {
    crumbs.push({ area: area.id, path: parts.slice(0, at + 1).join("/"), text });
  });
  const shown =
    crumbs.length <= CRUMBS
      ? crumbs
      : [
          ...crumbs.slice(0, 1),
          ...crumbs.slice(-3, -2).map((crumb) => ({ ...crumb, text: "…" })),
          ...crumbs.slice(-2),
        ];
  return (
    <div className="canfar-storage-path">
      <nav aria-label={trans.__("Folders above this one")} title={inside(area.path, place.path)}>
        <ol>
          {shown.map((crumb, at) => (
            <li key={crumb.path}>
              <button
                type="button"
                aria-label={crumb.text === "…" ? crumb.path : undefined}
                aria-current={at === shown.length - 1 ? "location" : undefined}
                onClick={() => model.go(crumb)}
              >
                {crumb.text}
              </button>
            </li>
          ))}
        </ol>
      </nav>
      <button
        ref={pencil}
        type="button"
        className="canfar-icon-button"
        title={trans.__("Type a path")}
        aria-label={trans.__("Type a path")}
        onClick={() => model.typePath()}
      >
        <editIcon.react tag="span" elementSize="normal" />
      </button>
    </div>
  );
}

interface PathFieldProps extends PlaceProps {
  from: string;
  stop: () => void;
}

function PathField({ model, trans, from, stop }: PathFieldProps): React.JSX.Element {
  const [text, setText] = React.useState(from);
  const [problem, setProblem] = React.useState("");
  const id = React.useId();
  const go = async (): Promise<void> => {
    try {
      await model.goTo(text.trim());
      stop();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <form
      className="canfar-storage-path"
      onSubmit={(event) => {
        event.preventDefault();
        void go();
      }}
    >
      <input
        className="canfar-input"
        aria-label={trans.__("Path")}
        aria-describedby={problem === "" ? undefined : id}
        aria-invalid={problem !== ""}
        autoFocus
        spellCheck={false}
        value={text}
        onFocus={(event) => event.currentTarget.select()}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setProblem("");
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            stop();
          }
        }}
      />
      <button type="submit" className="canfar-button">
        {trans.__("Go")}
      </button>
      {problem === "" ? null : (
        <p id={id} className="canfar-storage-problem canfar-mod-bad" role="alert">
          {problem}
        </p>
      )}
    </form>
  );
}
