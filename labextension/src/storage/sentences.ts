/** What is said of areas, of what would be deleted, and of what takes long. */
import type { TranslationBundle } from "@jupyterlab/translation";

import type { Job, Persistence, Task, Usage } from "./shapes";
import { countOf, durationOf, sizeOf } from "./words";

/** What happens to the files of an area, in the words of the portal. */
export function badgeOf(persistence: Persistence, trans: TranslationBundle): string {
  switch (persistence) {
    case "backed up":
      return trans.__("kept and backed up");
    case "kept":
      return trans.__("kept, no backup");
    case "wiped":
      return trans.__("wiped when the session ends");
    case "unknown":
      return trans.__("not known whether it is kept");
  }
}

/** Say how full it is, in the words of the home page. */
export function fullnessOf(usage: Usage, trans: TranslationBundle): string {
  const { used, limit, free } = usage;
  if (usage.of === "disk" && free !== null) {
    return trans.__("%1 left on its disk", sizeOf(free, trans));
  }
  if (used === null || usage.of === "unknown") {
    return trans.__("How full it is is not known");
  }
  const shown = sizeOf(used, trans);
  if (limit !== null) {
    return trans.__("%1 of %2", shown, sizeOf(limit, trans));
  }
  return usage.complete ? trans.__("%1 in use", shown) : trans.__("at least %1 in use", shown);
}

/** Say what there is in the items of a question, as far as it was counted. */
export function amountOf(task: Task | null, trans: TranslationBundle, locale: string): string {
  if (task === null) {
    return trans.__("Counting what is in it");
  }
  const files = trans._n("%2 file", "%2 files", task.files, countOf(task.files, locale));
  const size = sizeOf(task.bytes, trans);
  const folders = trans._n("%2 folder", "%2 folders", task.folders, countOf(task.folders, locale));
  const amount =
    task.folders === 0
      ? trans.__("%1, %2", files, size)
      : trans.__("%1 in %2, %3", files, folders, size);
  if (task.state === "running") {
    return trans.__("Counting: %1", amount);
  }
  return task.complete ? amount : trans.__("At least %1", amount);
}

/** Say how far a job is. */
export function stateOf(job: Job, needsFile: boolean, trans: TranslationBundle): string {
  const { done, total } = job.bytes;
  const amount =
    total === null
      ? sizeOf(done, trans)
      : trans.__("%1 of %2", sizeOf(done, trans), sizeOf(total, trans));
  if (needsFile) {
    return trans.__("%1 sent. Choose the file again to go on.", amount);
  }
  switch (job.state) {
    case "queued":
      return trans.__("Waits for its turn");
    case "counting":
      return trans.__("Counting: %1", sizeOf(total ?? 0, trans));
    case "waiting":
    case "running": {
      if (!job.speed) {
        return amount;
      }
      const speed = trans.__("%1 each second", sizeOf(job.speed, trans));
      return job.seconds_left === null
        ? `${amount} · ${speed}`
        : `${amount} · ${speed} · ${trans.__("%1 left", durationOf(job.seconds_left, trans))}`;
    }
    case "paused":
      return trans.__("Paused, %1", amount);
    case "checking":
      return trans.__("Comparing checksums");
    case "done":
      return trans.__("Done, %1", sizeOf(total ?? done, trans));
    case "cancelled":
      return trans.__("Cancelled; nothing of it was kept");
    case "failed":
      return job.error?.message ?? trans.__("It failed, and nothing says why.");
  }
}
