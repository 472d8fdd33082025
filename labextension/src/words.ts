/** Sizes, times and lengths as the panel writes them; the hub's pages write them alike. */
import type { TranslationBundle } from "@jupyterlab/translation";

import type { Session, Usage } from "./shapes";

const GIB = 2 ** 30;
const GB = 1e9;
const MINUTE = 60_000;

/** A number without decimals that say nothing. */
export function plain(value: number, digits = 1): string {
  return String(Number(value.toFixed(digits)));
}

export function gibibytes(bytes: number): string {
  return plain(bytes / GIB, 1);
}

/** A length of time in its two largest units: *3 d 4 h*. */
export function duration(trans: TranslationBundle, ms: number): string {
  const minutes = Math.max(0, Math.floor(ms / MINUTE));
  const units: [number, string][] = [
    [Math.floor(minutes / 1440), trans.__("d")],
    [Math.floor(minutes / 60) % 24, trans.__("h")],
    [minutes % 60, trans.__("min")],
  ];
  const first = units.findIndex(([value]) => value > 0);
  if (first < 0) {
    return trans.__("less than a minute");
  }
  return units
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

/** A time in the viewer's zone: *today 14:02*, *Fri 27 Nov 14:02*. */
export function moment(trans: TranslationBundle, at: Date, now: Date, language: string): string {
  const clock = new Intl.DateTimeFormat(language, { timeStyle: "short" }).format(at);
  if (at.toDateString() === now.toDateString()) {
    return trans.__("today %1", clock);
  }
  const day = new Intl.DateTimeFormat(language, {
    weekday: "short",
    day: "numeric",
    month: "short",
  });
  return `${day.format(at).replace(",", "")} ${clock}`;
}

export function cores(trans: TranslationBundle, text: string): string {
  return text === "1" ? trans.__("1 core") : trans.__("%1 cores", text);
}

/** What a session has: *Fixed · 2 cores, 4 GB guaranteed*. */
export function size(trans: TranslationBundle, session: Session): string {
  const { cores_limit, memory_limit_gb, mode } = session;
  if (cores_limit === undefined || memory_limit_gb === undefined) {
    return "";
  }
  const most = cores(trans, cores_limit);
  if (mode === "fixed") {
    return session.qos === "Guaranteed" && session.enforced !== false
      ? trans.__("Fixed · %1, %2 GB guaranteed", most, memory_limit_gb)
      : trans.__("Fixed · %1, %2 GB", most, memory_limit_gb);
  }
  return mode === "flexible"
    ? trans.__("Flexible · up to %1, %2 GB", most, memory_limit_gb)
    : trans.__("Partly fixed · up to %1, %2 GB", most, memory_limit_gb);
}

/** What is guaranteed of a flexible session; empty where that is all of it, or unknown. */
export function promised(trans: TranslationBundle, session: Session): string {
  const { cores_request, memory_request_gb, mode, enforced } = session;
  if (mode === "fixed" || enforced === false) {
    return "";
  }
  return cores_request === undefined || memory_request_gb === undefined
    ? ""
    : trans.__("%1 and %2 GB are always yours", cores(trans, cores_request), memory_request_gb);
}

/** How much of something is in use. */
export interface Level {
  value: number;
  most: number;
}

/** Memory in use in bytes: as the kernel counts it, else as it was measured from outside. */
export function memoryLevel(session: Session | null, usage: Usage | null): Level | null {
  if (usage) {
    return { value: usage.memory, most: usage.memoryLimit };
  }
  if (session?.ramInUse === undefined || session.memory_limit_gb === undefined) {
    return null;
  }
  return { value: Number(session.ramInUse) * GB, most: session.memory_limit_gb * GIB };
}

export function coresLevel(session: Session | null, usage: Usage | null): Level | null {
  const most = Number(session?.cores_limit ?? Number.NaN);
  const value = usage?.cores ?? Number(session?.cpuCoresInUse ?? Number.NaN);
  return Number.isNaN(most) || Number.isNaN(value) ? null : { value, most };
}

/** Part of a level from 0 to 1. */
export function part({ value, most }: Level): number {
  return most > 0 ? Math.min(1, Math.max(0, value / most)) : 0;
}
