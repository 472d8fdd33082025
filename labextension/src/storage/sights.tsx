/** A picture of an image, and the first rows of a table. */
import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";

import type { StorageApi } from "./api";
import { nameOf, type Place, type Table } from "./shapes";

/** Pixels of a thumbnail's longer side. */
const PICTURE = 512;

/** Rows that are read of a table, and columns that are shown of them. */
const ROWS = 100;
const COLUMNS = 200;

interface SightProps {
  api: StorageApi;
  trans: TranslationBundle;
  place: Place;
  hdu: number;
}

/** Ask for something whenever what it is of changes; what came too late is dropped. */
function useAnswer<T>(ask: () => Promise<T>, of: readonly unknown[]): [T | null, string] {
  const [answer, setAnswer] = React.useState<T | null>(null);
  const [problem, setProblem] = React.useState("");
  React.useEffect(() => {
    let old = false;
    setAnswer(null);
    setProblem("");
    ask().then(
      (got) => {
        if (!old) {
          setAnswer(() => got);
        }
      },
      (error: unknown) => {
        if (!old) {
          setProblem(error instanceof Error ? error.message : String(error));
        }
      },
    );
    return () => {
      old = true;
    };
    // What is asked for is given by what it is of.
  }, of);
  return [answer, problem];
}

export function PictureView({ api, trans, place, hdu }: SightProps): React.JSX.Element {
  const [picture, problem] = useAnswer(
    () => api.thumbnail(place, hdu, PICTURE),
    [api, place.area, place.path, hdu],
  );
  const address = React.useMemo(() => (picture ? URL.createObjectURL(picture) : ""), [picture]);
  React.useEffect(() => () => URL.revokeObjectURL(address), [address]);
  if (problem !== "") {
    return (
      <p className="canfar-note canfar-mod-bad" role="alert">
        {problem}
      </p>
    );
  }
  return address === "" ? (
    <p className="canfar-note">{trans.__("Making the thumbnail")}</p>
  ) : (
    <img
      className="canfar-picture"
      src={address}
      alt={trans.__("Thumbnail of HDU %1 of %2", hdu, nameOf(place.path))}
    />
  );
}

export function TableView({ api, trans, place, hdu }: SightProps): React.JSX.Element {
  const [table, problem] = useAnswer(
    () => api.table(place, hdu, ROWS),
    [api, place.area, place.path, hdu],
  );
  if (problem !== "") {
    return (
      <p className="canfar-note canfar-mod-bad" role="alert">
        {problem}
      </p>
    );
  }
  if (table === null) {
    return <p className="canfar-note">{trans.__("Reading the first rows")}</p>;
  }
  const columns = table.columns.slice(0, COLUMNS);
  const left = table.columns_total - columns.length;
  return (
    <>
      <p className="canfar-note" role="status">
        {amountOf(table, trans)}
      </p>
      <table className="canfar-table">
        <thead>
          <tr>
            {columns.map(({ name, type, unit }, at) => (
              <th key={at} scope="col" title={type}>
                {name}
                {unit === null || unit === "" ? null : <small>{unit}</small>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row, at) => (
            <tr key={at}>
              {columns.map((_column, of) => (
                <td key={of} className={typeof row[of] === "number" ? "canfar-mod-number" : ""}>
                  {cellOf(row[of])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {left > 0 ? (
        <p className="canfar-note">{trans._n("%1 more column", "%1 more columns", left, left)}</p>
      ) : null}
    </>
  );
}

function amountOf(table: Table, trans: TranslationBundle): string {
  const shown = table.rows.length;
  if (table.total !== null) {
    return trans.__("%1 of %2 rows, %3 columns", shown, table.total, table.columns_total);
  }
  return table.more
    ? trans.__("The first %1 rows, %2 columns", shown, table.columns_total)
    : trans.__("%1 rows, %2 columns", shown, table.columns_total);
}

function cellOf(value: unknown): string {
  if (value === null || value === undefined) {
    return "";
  }
  if (Array.isArray(value)) {
    return value.map(cellOf).join(", ");
  }
  return typeof value === "string" ? value : JSON.stringify(value);
}
