/** Amounts as pages show them, and how much of something is taken as a bar. */
import { locale, say } from "./say";

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const STEP = 1_024;
const ONE = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const WHOLE = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });

/** A number with one place while it is small. */
export function few(value: number): string {
  return (value < 100 ? ONE : WHOLE).format(value);
}

function unitOf(bytes: number): number {
  const power = bytes < 1 ? 0 : Math.floor(Math.log(bytes) / Math.log(STEP));
  return Math.min(power, UNITS.length - 1);
}

/** *6.1 GB*, of 2³⁰ bytes. */
export function size(bytes: number): string {
  const unit = unitOf(bytes);
  return `${few(bytes / STEP ** unit)} ${UNITS[unit] ?? ""}`;
}

/** *6.1 of 10 GB*, both in the unit of what there is; *0* stays plain. */
export function sizeOf(used: number, whole: number): string {
  const unit = unitOf(whole);
  // What is far less than that unit would read as nothing.
  const shown = used > 0 && used < whole / 1_000 ? size(used) : few(used / STEP ** unit);
  return say("%(used)s of %(whole)s", { used: shown, whole: size(whole) });
}

/** A bar that says how much is taken; null hides how much, and keeps the room. */
export function showGauge(bar: HTMLElement, part: number | null, text: string, full = false): void {
  const percent = part === null ? 0 : Math.max(0, Math.min(100, 100 * part));
  bar.style.setProperty("--part", `${percent.toFixed(1)}%`);
  bar.classList.toggle("gauge-full", full);
  bar.classList.toggle("gauge-unknown", part === null);
  if (part === null) {
    // What is not known is no meter, and without a role nothing may have a name.
    for (const name of ["role", "aria-label", ...VALUES]) {
      bar.removeAttribute(name);
    }
    return;
  }
  bar.role = "meter";
  bar.ariaLabel = bar.dataset.label ?? "";
  bar.ariaValueMin = "0";
  bar.ariaValueMax = "100";
  bar.ariaValueNow = percent.toFixed(0);
  bar.ariaValueText = text;
}

const VALUES = ["aria-valuenow", "aria-valuemin", "aria-valuemax", "aria-valuetext"];
