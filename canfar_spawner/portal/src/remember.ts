/** What was chosen last time for each container: kept in this browser, and nothing secret in it. */
const KEY = "canfar-launch";
const MOST = 50;

export interface Choice {
  version: string;
  mode: string;
  cores: string;
  memory: string;
  gpus: string;
  /** The projects that were not wanted: those that are new are wanted until somebody says no. */
  without: readonly string[];
}

/** By container, the last launched first. */
type Choices = readonly (readonly [string, Choice])[];

function key(owner: string): string {
  return `${KEY}:${owner}`;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function choice(value: unknown): Choice {
  const given = (value !== null && typeof value === "object" ? value : {}) as Record<
    string,
    unknown
  >;
  return {
    version: text(given.version),
    mode: text(given.mode),
    cores: text(given.cores),
    memory: text(given.memory),
    gpus: text(given.gpus),
    without: Array.isArray(given.without) ? given.without.map(text) : [],
  };
}

export function remembered(owner: string): Choices {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(key(owner)) ?? "[]");
    return Array.isArray(kept)
      ? kept.filter(Array.isArray).map((pair) => [text(pair[0]), choice(pair[1])] as const)
      : [];
  } catch {
    return []; // Storage may be forbidden, or hold what is not ours.
  }
}

export function remember(owner: string, container: string, chosen: Choice): void {
  const others = remembered(owner).filter(([name]) => name !== container);
  try {
    localStorage.setItem(
      key(owner),
      JSON.stringify([[container, chosen], ...others].slice(0, MOST)),
    );
  } catch {
    // The next form then begins anew.
  }
}
