/** Which rows of a long list are in the document: pure arithmetic. */

/** Rows in the document at most, whatever the height of the panel. */
export const MOST_ROWS = 90;

/** Rows kept ready above and below what is seen. */
const SPARE = 8;

/** Browsers draw no element higher than some ten million pixels; lists beyond are compressed. */
export const HIGHEST = 8_000_000;

export interface View {
  /** The first row in the document. */
  first: number;
  /** One after the last. */
  end: number;
  /** Where the first is drawn, from the top of the whole list. */
  offset: number;
  /** Height of the whole list. */
  height: number;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), Math.max(low, high));
}

/** Say how far a list's scroll bar reaches, and how far its rows do. */
function ratio(total: number, row: number, room: number): number {
  const real = total * row;
  return real <= HIGHEST ? 1 : (real - room) / (HIGHEST - room);
}

/**
 * Give the rows for a place of the scroll bar.
 *
 * @param top where the scroll bar is, px
 * @param room height that is seen, px
 */
export function viewAt(top: number, room: number, row: number, total: number): View {
  const scale = ratio(total, row, room);
  const seen = Math.ceil(room / row) + 1;
  const spare = Math.max(0, Math.min(SPARE, Math.floor((MOST_ROWS - seen) / 2)));
  const atTop = clamp(Math.floor((top * scale) / row), 0, total - 1);
  const first = clamp(atTop - spare, 0, total);
  const end = clamp(atTop + Math.min(seen, MOST_ROWS) + spare, first, total);
  // What is at the top of the view is drawn there; without compression it is where it belongs.
  const offset = scale === 1 ? first * row : top - (top * scale - first * row);
  return { first, end, offset, height: Math.min(total * row, HIGHEST) };
}

/** Give the place of the scroll bar at which a row is seen, moving it no further than needed. */
export function scrollTo(
  index: number,
  top: number,
  room: number,
  row: number,
  total: number,
): number {
  const scale = ratio(total, row, room);
  const real = top * scale;
  const begin = index * row;
  let wanted = real;
  if (begin < real) {
    wanted = begin;
  } else if (begin + row > real + room) {
    wanted = begin + row - room;
  }
  return wanted / scale;
}
