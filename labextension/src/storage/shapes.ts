/** What the storage section shows, as its parts pass it to each other. */

/** What happens to the files of an area when the session ends. */
export type Persistence = "kept" | "backed up" | "wiped" | "unknown";

/** One area of storage. */
export interface Area {
  id: string;
  title: string;
  /** Where it is in this session. */
  path: string;
  /** Where every other session of its owner finds it; null: nowhere. */
  arc: string | null;
  /** Its folder in JupyterLab's own file browser; null: not there. */
  contents: string | null;
  persistence: Persistence;
  writable: boolean;
}

/** How full something is; numbers of bytes, null where they are not known. */
export interface Usage {
  used: number | null;
  limit: number | null;
  free: number | null;
  /** What the numbers are of. */
  of: "quota" | "folder" | "disk" | "unknown";
  /** Otherwise `used` is the least there is. */
  complete: boolean;
}

/** A folder or a file: its area, and its path there without a slash at either end. */
export interface Place {
  area: string;
  path: string;
}

/** A link to nowhere or out of the areas is broken; other is a pipe, a socket, a device. */
export type Kind =
  "folder" | "file" | "folder link" | "file link" | "broken link" | "other" | "gone";

/** One row of a folder. */
export interface Row {
  name: string;
  kind: Kind;
  size: number;
  /** Seconds since 1970. */
  modified: number;
  owner: string;
  group: string;
  /** The text of a link, else empty. */
  leads: string;
}

export type Column = "name" | "size" | "modified";

/** How a folder is looked at. */
export interface Look {
  sort: Column;
  descending: boolean;
  /** Part of the names that are shown. */
  filter: string;
  /** Whether names that begin with a dot are shown. */
  hidden: boolean;
}

/** Some rows of a folder. */
export interface Page {
  /** Names the state of the folder that these rows are of. */
  generation: string;
  /** The folder is another by now. */
  changed: boolean;
  writable: boolean;
  total: number;
  /** Where the name is that was asked for, in the whole order. */
  found: number | null;
  rows: Row[];
}

/** One file or folder. */
export interface Entry extends Place {
  kind: Kind;
}

/** What a search, a count or a removal has come to until now. */
export interface Task {
  id: string;
  state: "running" | "done" | "cancelled" | "failed";
  /** Why it failed. */
  why: string;
  files: number;
  folders: number;
  bytes: number;
  /** Otherwise there is more than was counted. */
  complete: boolean;
  hits: Hit[];
  /** The number of the next hit. */
  next: number;
  /** There are more hits than are kept. */
  more: boolean;
}

export interface Hit {
  path: string;
  kind: Kind;
  size: number;
  modified: number;
}

/** What becomes of a file that is there under the same name. */
export type Conflict = "refuse" | "replace" | "keep_both";

/** Names of what shall be put into a folder that are taken there. */
export interface Taken {
  /** The first of them. */
  names: readonly string[];
  /** How many further ones there are. */
  more: number;
}

/** A copy, a move, an upload or a download, as the session's server reports it. */
export interface Job {
  id: string;
  /** A download goes on in the browser, which alone can pause it. */
  kind: "copy" | "move" | "upload" | "download" | "checksum";
  state:
    | "queued"
    | "counting"
    | "running"
    | "waiting"
    | "paused"
    | "checking"
    | "done"
    | "failed"
    | "cancelled";
  name: string;
  to: Place | null;
  bytes: { done: number; total: number | null };
  /** Bytes in a second. */
  speed: number | null;
  seconds_left: number | null;
  error: { code: string; message: string } | null;
  /** Sentences on what was left out, or stays where it was. */
  notes: string[];
  checksum: string | null;
  /** Bytes that the server likes to be sent at once. */
  chunk: number | null;
}

/** An HDU of a FITS file. */
export interface Hdu {
  index: number;
  type: string;
  name: string;
  version: number | null;
  shape: number[];
  rows: number | null;
  columns: number | null;
  bytes: number;
}

export interface Header {
  hdus: Hdu[];
  /** How many HDUs there are, as far as is known; `hdus` has some of them. */
  total: number;
  /** Otherwise there may be more. */
  complete: boolean;
  /** What is wrong with the file, else null. */
  problem: string | null;
  /** Values are as the file has them; a letter says of which type each is. */
  cards: [keyword: string, value: string, comment: string, type: string][];
}

export interface Table {
  columns: { name: string; type: string; unit: string | null }[];
  /** How many columns there are; `columns` has the first. */
  columns_total: number;
  rows: unknown[][];
  total: number | null;
  more: boolean;
}

/** Entering a link to a folder is entering that folder. */
export function isFolder(kind: Kind): boolean {
  return kind === "folder" || kind === "folder link";
}

/** Whether there are bytes to read. */
export function isFile(kind: Kind): boolean {
  return kind === "file" || kind === "file link";
}

/** The name of a path's last part. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The folder that a path is in. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** One path below another. */
export function below(folder: string, name: string): string {
  return folder === "" ? name : `${folder}/${name}`;
}

/** A path of an area from where the area is. */
export function inside(root: string, path: string): string {
  return path === "" ? root : `${root.replace(/\/$/, "")}/${path}`;
}
