/** Small things that the panel's sections have in common. */
import * as React from "react";

import { part, type Level } from "./words";

/** From here on a meter says that little is left. */
export const NEARLY = 0.9;

export function Notice({
  kind,
  children,
  alert = false,
}: {
  kind: "bad" | "info" | "warn";
  children: React.ReactNode;
  /** Read out at once by a screen reader. */
  alert?: boolean;
}): React.ReactElement {
  return (
    <div className={`canfar-note canfar-mod-${kind}`} role={alert ? "alert" : undefined}>
      {children}
    </div>
  );
}

/** A bar of what is in use, with its numbers in words beside it. */
export function Gauge({
  label,
  level,
  text,
}: {
  label: string;
  level: Level | null;
  text: string;
}): React.ReactElement {
  const share = level ? part(level) : 0;
  return (
    <div className="canfar-gauge">
      <span className="canfar-gauge-label">{label}</span>
      {level ? (
        <div
          className="canfar-meter"
          role="meter"
          aria-label={label}
          aria-valuemin={0}
          aria-valuemax={level.most}
          aria-valuenow={Math.min(level.value, level.most)}
          aria-valuetext={text}
        >
          <div
            className={`canfar-meter-part${share >= NEARLY ? " canfar-mod-bad" : ""}`}
            style={{ width: `${(share * 100).toFixed(1)}%` }}
          />
        </div>
      ) : (
        <div className="canfar-meter canfar-mod-unknown" />
      )}
      <span className="canfar-gauge-text">{text}</span>
    </div>
  );
}

export function Button({
  children,
  onClick,
  look = "plain",
  type = "button",
  label,
  disabled = false,
}: {
  children: React.ReactNode;
  onClick?: () => void;
  look?: "main" | "plain" | "quiet";
  type?: "button" | "submit";
  label?: string;
  disabled?: boolean;
}): React.ReactElement {
  return (
    <button
      className={look === "plain" ? "canfar-button" : `canfar-button canfar-mod-${look}`}
      type={type}
      aria-label={label}
      // Not `disabled`: whoever has pressed it must not lose her place.
      aria-disabled={disabled || undefined}
      onClick={disabled ? (event) => event.preventDefault() : onClick}
    >
      {children}
    </button>
  );
}
