/** How the panel's components follow their models. */
import * as React from "react";
import type { ISignal } from "@lumino/signaling";

/** Draw again whenever a model says that it changed. */
export function useChanges<S>(signal: ISignal<S, void>): void {
  const [, again] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    const slot = (): void => again();
    signal.connect(slot);
    // What changed between drawing and now was told to nobody.
    again();
    return () => void signal.disconnect(slot);
  }, [signal]);
}

/** The time, often enough for minutes. */
export function useNow(): Date {
  const [now, set] = React.useState(() => new Date());
  React.useEffect(() => {
    const timer = setInterval(() => set(new Date()), 15_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

export interface Deed {
  /** Why it failed, in a sentence; empty where it did not. */
  refused: string;
  busy: boolean;
  /** Do something, unless something is being done. */
  act: (work: () => Promise<void>) => void;
  clear: () => void;
}

/** Something that a person starts, which takes a while and may fail. */
export function useDeed(): Deed {
  const [refused, refuse] = React.useState("");
  const [busy, setBusy] = React.useState(false);
  const mounted = React.useRef(true);
  React.useEffect(() => {
    mounted.current = true;
    return () => {
      mounted.current = false;
    };
  }, []);
  const act = (work: () => Promise<void>): void => {
    if (busy) {
      return;
    }
    setBusy(true);
    refuse("");
    work()
      .catch((error: unknown) => {
        if (mounted.current) {
          refuse(error instanceof Error ? error.message : String(error));
        }
      })
      .finally(() => {
        if (mounted.current) {
          setBusy(false);
        }
      });
  };
  return { refused, busy, act, clear: () => refuse("") };
}
