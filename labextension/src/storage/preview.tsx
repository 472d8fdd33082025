/** What is in a file, in a tab of JupyterLab's main area: header, thumbnail, first rows. */
import type { JupyterFrontEnd } from "@jupyterlab/application";
import { MainAreaWidget, ReactWidget } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import { imageIcon, spreadsheetIcon } from "@jupyterlab/ui-components";
import * as React from "react";

import type { StorageApi } from "./api";
import { worthSeeing, type Sight } from "./cards";
import { HeaderView } from "./header";
import { inside, nameOf, type Area, type Header, type Hdu, type Place } from "./shapes";
import { PictureView, TableView } from "./sights";
import { readerOf } from "./words";

/** HDUs that are offered by name; others are asked for by their number. */
const HDUS_LISTED = 200;

type Draw = (sight: Sight, choose: (sight: Sight) => void) => React.JSX.Element;

class Tab extends ReactWidget {
  readonly #draw: Draw;
  #sight: Sight;

  constructor(sight: Sight, draw: Draw) {
    super();
    this.#sight = sight;
    this.#draw = draw;
    this.addClass("canfar-preview");
  }

  choose(sight: Sight): void {
    this.#sight = sight;
    this.update();
  }

  protected override render(): React.JSX.Element {
    return this.#draw(this.#sight, (sight) => this.choose(sight));
  }
}

/** Opens previews, one tab for each file. */
export class Previews {
  readonly #app: JupyterFrontEnd;
  readonly #api: StorageApi;
  readonly #trans: TranslationBundle;
  readonly #areas: () => readonly Area[];
  readonly #open = new Map<string, MainAreaWidget<Tab>>();

  constructor(
    app: JupyterFrontEnd,
    api: StorageApi,
    trans: TranslationBundle,
    areas: () => readonly Area[],
  ) {
    this.#app = app;
    this.#api = api;
    this.#trans = trans;
    this.#areas = areas;
  }

  open(place: Place, sight: Sight): void {
    const key = `${place.area}/${place.path}`;
    const area = this.#areas().find((one) => one.id === place.area);
    const path = area ? inside(area.path, place.path) : place.path;
    let widget = this.#open.get(key);
    if (widget) {
      widget.content.choose(sight);
    } else {
      const content = new Tab(sight, (shown, choose) => (
        <Preview
          api={this.#api}
          trans={this.#trans}
          place={place}
          path={path}
          sight={shown}
          choose={choose}
        />
      ));
      widget = new MainAreaWidget({ content });
      widget.id = `canfar-preview-${key}`;
      widget.title.label = nameOf(place.path);
      widget.title.caption = path;
      widget.title.closable = true;
      widget.title.icon = readerOf(place.path) === "fits" ? imageIcon : spreadsheetIcon;
      widget.toolbar.hide();
      widget.disposed.connect(() => this.#open.delete(key));
      this.#open.set(key, widget);
      this.#app.shell.add(widget, "main");
    }
    this.#app.shell.activateById(widget.id);
  }
}

interface PreviewProps {
  api: StorageApi;
  trans: TranslationBundle;
  place: Place;
  path: string;
  sight: Sight;
  choose: (sight: Sight) => void;
}

function Preview(props: PreviewProps): React.JSX.Element {
  const { api, trans, place, path, sight, choose } = props;
  const fits = readerOf(place.path) === "fits";
  const [chosen, setHdu] = React.useState<number | null>(null);
  const [header, setHeader] = React.useState<Header | null>(null);
  const [problem, setProblem] = React.useState("");
  const hdu = chosen ?? worthSeeing(header, sight);
  // The header is of the first HDU until one is chosen.
  const asked = sight === "header" || chosen !== null ? hdu : 0;
  React.useEffect(() => {
    if (!fits) {
      return;
    }
    let old = false;
    api
      .header(place, asked, Math.max(0, asked - HDUS_LISTED / 2))
      .then((got) => {
        if (!old) {
          setHeader(got);
          setProblem("");
        }
      })
      .catch((error: unknown) => {
        if (!old) {
          setProblem(error instanceof Error ? error.message : String(error));
        }
      });
    return () => {
      old = true;
    };
  }, [api, place, asked, fits]);

  const id = React.useId();
  const sights: [Sight, string][] = fits
    ? [
        ["header", trans.__("Header")],
        ["picture", trans.__("Thumbnail")],
        ["rows", trans.__("First rows")],
      ]
    : [["rows", trans.__("First rows")]];
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const at = sights.findIndex(([one]) => one === sight) + step;
    const next = sights[(at + sights.length) % sights.length];
    if (step !== 0 && next) {
      event.preventDefault();
      choose(next[0]);
      const tabs = event.currentTarget.querySelectorAll<HTMLElement>("[role=tab]");
      tabs[(at + sights.length) % sights.length]?.focus();
    }
  };

  return (
    <div className="canfar-preview-inside">
      <p className="canfar-preview-path">{path}</p>
      <div className="canfar-preview-bar">
        <div
          role="tablist"
          tabIndex={-1}
          aria-label={trans.__("What is shown of the file")}
          onKeyDown={onKeyDown}
        >
          {sights.map(([one, title]) => (
            <button
              key={one}
              id={`${id}-${one}`}
              type="button"
              role="tab"
              aria-selected={one === sight}
              aria-controls={`${id}-panel`}
              tabIndex={one === sight ? 0 : -1}
              onClick={() => choose(one)}
            >
              {title}
            </button>
          ))}
        </div>
        {header && (header.total > 1 || !header.complete) ? (
          <HduChooser header={header} hdu={hdu} trans={trans} choose={setHdu} />
        ) : null}
      </div>
      {header?.problem ? (
        <p className="canfar-note canfar-mod-warn" role="alert">
          {header.problem}
        </p>
      ) : null}
      <div
        id={`${id}-panel`}
        className="canfar-preview-panel"
        role="tabpanel"
        aria-labelledby={`${id}-${sight}`}
        tabIndex={0}
      >
        {problem !== "" && fits ? (
          <p className="canfar-note canfar-mod-bad" role="alert">
            {problem}
          </p>
        ) : sight === "header" || (fits && header === null) ? (
          <HeaderView header={header} trans={trans} />
        ) : sight === "picture" ? (
          <PictureView api={api} trans={trans} place={place} hdu={hdu} />
        ) : (
          <TableView api={api} trans={trans} place={place} hdu={hdu} />
        )}
      </div>
    </div>
  );
}

interface HduChooserProps {
  header: Header;
  hdu: number;
  trans: TranslationBundle;
  choose: (hdu: number) => void;
}

/** The HDUs of a file by name; where there are very many, also by number. */
function HduChooser({ header, hdu, trans, choose }: HduChooserProps): React.JSX.Element {
  const listed = header.hdus.slice(0, HDUS_LISTED);
  return (
    <div className="canfar-preview-hdus">
      <select
        className="canfar-select"
        aria-label={trans.__("HDU")}
        value={hdu}
        onChange={(event) => choose(Number(event.currentTarget.value))}
      >
        {listed.map((one) => (
          <option key={one.index} value={one.index}>
            {titleOf(one, trans)}
          </option>
        ))}
      </select>
      {!header.complete || header.total > listed.length ? (
        <label>
          {header.complete
            ? trans.__("of %1, number", header.total)
            : trans.__("of at least %1, number", header.total)}
          <input
            className="canfar-input"
            type="number"
            min={0}
            max={header.complete ? header.total - 1 : undefined}
            defaultValue={hdu}
            onChange={(event) => {
              const wanted = event.currentTarget.valueAsNumber;
              const known = !header.complete || wanted < header.total;
              if (Number.isInteger(wanted) && wanted >= 0 && known) {
                choose(wanted);
              }
            }}
          />
        </label>
      ) : null}
    </div>
  );
}

function titleOf(hdu: Hdu, trans: TranslationBundle): string {
  const name = hdu.name === "" ? hdu.type : hdu.name;
  if (hdu.rows !== null) {
    return trans.__("%1 %2, %3 rows", hdu.index, name, hdu.rows);
  }
  return hdu.shape.length === 0
    ? trans.__("%1 %2", hdu.index, name)
    : trans.__("%1 %2, %3", hdu.index, name, hdu.shape.join(" × "));
}
