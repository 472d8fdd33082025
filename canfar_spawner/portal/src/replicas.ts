/** Batch jobs that were asked for together, as one. */
import { isOver, type Row } from "./rows";

export interface Group {
  /** The id of its first job: it stays the same while the list changes. */
  readonly key: string;
  readonly name: string;
  readonly jobs: Row[];
}

/** What of a group's jobs is in which state. */
export interface Tally {
  readonly done: number;
  readonly failed: number;
  readonly running: number;
  readonly waiting: number;
  readonly total: number;
}

/** Group jobs; the newest group first.
 *
 * Those with the same name, container and version belong together. Where a number comes again,
 * somebody has asked for the same once more, and another group begins.
 */
export function grouped(rows: readonly Row[]): Group[] {
  const groups: Group[] = [];
  const open = new Map<string, { group: Group; numbers: Set<number> }>();
  for (const row of [...rows].sort((one, other) => one.asked.localeCompare(other.asked))) {
    const number = row.replica ?? 0;
    const alike =
      row.replicaOf === undefined ? row.id : [row.replicaOf, row.title, row.version].join("\n");
    const found = open.get(alike);
    if (found && !found.numbers.has(number)) {
      found.group.jobs.push(row);
      found.numbers.add(number);
    } else {
      const group = { key: row.id, name: row.replicaOf ?? row.name, jobs: [row] };
      groups.push(group);
      open.set(alike, { group, numbers: new Set([number]) });
    }
  }
  for (const group of groups) {
    group.jobs.sort((one, other) => (one.replica ?? 0) - (other.replica ?? 0));
  }
  return groups.reverse();
}

export function tally(jobs: readonly Row[]): Tally {
  const count = (is: (row: Row) => boolean): number => jobs.filter(is).length;
  return {
    done: count((row) => row.state === "Completed"),
    failed: count((row) => row.state === "Failed"),
    running: count((row) => row.state === "Running" || row.state === "Terminating"),
    waiting: count((row) => !isOver(row) && row.state !== "Running" && row.state !== "Terminating"),
    total: jobs.length,
  };
}
