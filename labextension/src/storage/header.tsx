/** The header of an HDU, and a search in it. */
import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";

import { matching } from "./cards";
import type { Header } from "./shapes";

/** Cards in the document at most; more are found by the search. */
const MOST_CARDS = 1_000;

/** Types whose values stand below each other by their last digit. */
const NUMBERS: ReadonlySet<string> = new Set(["i", "f"]);

/** Say what a value is, which its header tells by how it is written. */
function typeOf(type: string, trans: TranslationBundle): string {
  switch (type) {
    case "s":
      return trans.__("text");
    case "l":
      return trans.__("logical");
    case "i":
      return trans.__("integer");
    case "f":
      return trans.__("float");
    case "c":
      return trans.__("complex");
    case "?":
      return trans.__("nothing that can be read");
    default:
      return "";
  }
}

interface HeaderViewProps {
  header: Header | null;
  trans: TranslationBundle;
}

export function HeaderView({ header, trans }: HeaderViewProps): React.JSX.Element {
  const [text, setText] = React.useState("");
  if (header === null) {
    return <p className="canfar-note">{trans.__("Reading the header")}</p>;
  }
  const found = matching(header.cards, text);
  const cards = found.slice(0, MOST_CARDS);
  return (
    <>
      <div className="canfar-preview-find">
        <input
          className="canfar-input"
          type="search"
          placeholder={trans.__("Keyword, value or comment")}
          aria-label={trans.__("Search in the header")}
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        <span role="status">
          {text.trim() === ""
            ? trans._n("%1 card", "%1 cards", found.length, found.length)
            : trans.__("%1 of %2 cards", found.length, header.cards.length)}
        </span>
      </div>
      <table className="canfar-cards">
        <thead>
          <tr>
            <th scope="col">{trans.__("Keyword")}</th>
            <th scope="col">{trans.__("Value")}</th>
            <th scope="col">{trans.__("Comment")}</th>
          </tr>
        </thead>
        <tbody>
          {cards.map(([keyword, value, comment, type], at) => (
            <tr key={at}>
              <th scope="row">{keyword}</th>
              <td
                className={NUMBERS.has(type) ? "canfar-mod-number" : ""}
                title={typeOf(type, trans)}
              >
                {value}
              </td>
              <td>{comment}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {found.length > cards.length ? (
        <p className="canfar-note">
          {trans.__("%1 more; search to see them.", found.length - cards.length)}
        </p>
      ) : null}
    </>
  );
}
