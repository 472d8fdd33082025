/** Sessions and batch jobs as the session manager writes them. */

/** One of them; what is not known of it is left out. */
export interface Row {
  readonly id: string;
  readonly name: string;
  /** The kind. */
  readonly type: string;
  readonly status: string;
  /** As `status`, which has no word for what is not known. */
  readonly state: string;
  readonly title: string;
  readonly version: string;
  readonly sentence?: string;
  readonly detail?: string;
  readonly asked: string;
  readonly ended?: string;
  readonly startTime?: string;
  readonly expiryTime: string;
  /** That its end is near, what is wiped then and what can be done; its time is in UTC. */
  readonly warning?: string;
  readonly connectURL: string;
  readonly cpuCoresInUse?: string;
  /** In GB of 10⁹ bytes, as the public client reads it. */
  readonly ramInUse?: string;
  readonly shares: number;
  readonly guests?: readonly string[];
  readonly replicaOf?: string;
  readonly replica?: number;
}

/** A session of somebody else's. */
export interface SharedRow {
  readonly owner: string;
  readonly session: string;
  readonly name: string;
  readonly container: string;
  readonly until: string;
  readonly url: string;
}

export const OVER: readonly string[] = ["Completed", "Failed"];

export function isJob(row: Row): boolean {
  return row.type === "headless";
}

export function isOver(row: Row): boolean {
  return OVER.includes(row.state);
}
