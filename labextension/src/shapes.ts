/** What the session's server tells, as it tells it. */

/** Who asks, and what the session uses by the kernel's own count. */
export interface Here {
  api: number;
  person: string;
  owner: string;
  visitor: boolean;
  session: string;
  home: string;
  usage: Usage | null;
}

export interface Usage {
  memory: number;
  memoryLimit: number;
  cores: number | null;
}

/** A session; of what has a question mark, a visitor is told what begins with `visit` alone. */
export interface Session {
  id: string;
  owner: string;
  name: string;
  title: string;
  version?: string;
  kind: string;
  state: string;
  ends: string;
  /** Until when a visitor may enter. */
  visitUntil?: string;
  /** Whether her share opens the owner's storage to her, for reading. */
  visitStorage?: boolean;
  mode?: string;
  qos?: string;
  enforced?: boolean;
  cores_request?: string;
  cores_limit?: string;
  memory_request_gb?: number;
  memory_limit_gb?: number;
  gpus?: number;
  projects?: string[];
  startTime?: string;
  warning?: string;
  shares?: number;
  sentence?: string;
  ramInUse?: string;
  cpuCoresInUse?: string;
}

export interface Share {
  id: string;
  how: string;
  title: string;
  until: string;
  letsIn: string[];
  linkUntil: string | null;
  storage?: boolean;
}

export interface Made extends Share {
  /** Of a link, this once. */
  url?: string;
}

export interface Person {
  name: string;
  until: string | null;
  shares: string[];
  here: string | null;
}

export interface Length {
  hours: number | null;
  words: string;
}

export interface Sharing {
  session: string;
  ends: string;
  open: boolean;
  off: string;
  means: string;
  warning: string;
  groups: string[];
  lengths: Length[];
  mostPeople: number;
  /** Whether a share may open storage; hubs older than that know of none. */
  storage?: boolean;
  shares: Share[];
  visitors: Person[];
}

export interface Line {
  at: string;
  text: string;
}

export interface Scratch {
  sentence: string;
}
