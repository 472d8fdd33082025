/** What is found in the headers of a FITS file. */
import type { Header } from "./shapes";

/** What is shown of a file. */
export type Sight = "header" | "picture" | "rows";

/** Give the cards that have a text in keyword, value or comment. */
export function matching(cards: Header["cards"], text: string): Header["cards"] {
  const wanted = text.trim().toLowerCase();
  return wanted === ""
    ? cards
    : cards.filter(([keyword, value, comment]) =>
        `${keyword} ${value} ${comment}`.toLowerCase().includes(wanted),
      );
}

/** Give the HDU to show until one is chosen: the first with an image, or with a table. */
export function worthSeeing(header: Header | null, sight: Sight): number {
  const found = header?.hdus.find((hdu) =>
    sight === "picture"
      ? hdu.rows === null && hdu.shape.length >= 2
      : sight === "rows" && hdu.rows !== null,
  );
  return found?.index ?? 0;
}
