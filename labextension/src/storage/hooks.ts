/** How components follow models, and which rows of a long list they draw. */
import * as React from "react";
import type { ISignal } from "@lumino/signaling";

import { scrollTo, viewAt, type View } from "./window";

/** Height of a row and of a heading, px; the style sheet has the same. */
export const ROW = 28;

/** Draw again whenever a model says that it changed. */
export function useSignal<S, A>(signal: ISignal<S, A> | undefined): void {
  const [, again] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    if (!signal) {
      return;
    }
    const slot = (): void => again();
    signal.connect(slot);
    // What changed between drawing and now was told to nobody.
    again();
    return () => void signal.disconnect(slot);
  }, [signal]);
}

export interface Windowed {
  scroller: React.RefObject<HTMLDivElement>;
  view: View;
  /** Rows that are seen at once. */
  page: number;
  onScroll: (event: React.UIEvent<HTMLDivElement>) => void;
}

/**
 * Draw of a long list what is seen.
 *
 * @param total how many rows there are
 * @param cursor the row that is followed when it moves
 * @param list what the rows are of; another one is looked at from its beginning
 * @param heading px above the rows that stay where they are
 */
export function useWindow(total: number, cursor: number, list: unknown, heading: number): Windowed {
  const scroller = React.useRef<HTMLDivElement>(null);
  const [top, setTop] = React.useState(0);
  const [room, setRoom] = React.useState(ROW * 10);

  React.useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) {
      return;
    }
    const measure = (): void => setRoom(Math.max(ROW, element.clientHeight - heading));
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, [heading]);

  React.useLayoutEffect(() => {
    if (scroller.current) {
      scroller.current.scrollTop = 0;
    }
    setTop(0);
  }, [list]);

  // Only a cursor that moved is followed: somebody may look elsewhere meanwhile.
  const known = total > 0;
  const followed = React.useRef<{ list: unknown; cursor: number; known: boolean } | null>(null);
  React.useLayoutEffect(() => {
    const element = scroller.current;
    const before = followed.current;
    followed.current = { list, cursor, known };
    if (!element || !known || cursor < 0) {
      return;
    }
    if (before && before.list === list && before.cursor === cursor && before.known) {
      return;
    }
    const wanted = scrollTo(cursor, element.scrollTop, room, ROW, total);
    if (Math.abs(wanted - element.scrollTop) >= 1) {
      element.scrollTop = wanted;
      setTop(element.scrollTop);
    }
  }, [list, cursor, known, room, total]);

  return {
    scroller,
    view: viewAt(top, room, ROW, total),
    page: Math.max(1, Math.floor(room / ROW) - 1),
    onScroll: (event) => setTop(event.currentTarget.scrollTop),
  };
}

/** Where keys move a cursor in a list. */
const STEPS: Readonly<Record<string, (at: number, page: number, total: number) => number>> = {
  ArrowDown: (at) => at + 1,
  ArrowUp: (at) => at - 1,
  PageDown: (at, page) => at + page,
  PageUp: (at, page) => at - page,
  Home: () => 0,
  End: (_at, _page, total) => total - 1,
};

/** Give the row that a key moves the cursor to; null: the key moves nothing. */
export function stepOf(
  event: React.KeyboardEvent,
  at: number,
  page: number,
  total: number,
): number | null {
  const step = STEPS[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) {
    return null;
  }
  return Math.max(0, Math.min(step(at, page, total), total - 1));
}
