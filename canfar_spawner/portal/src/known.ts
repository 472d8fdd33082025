/** The person's sessions and batch jobs as the session manager tells them, shared by this page. */
import type { Row, SharedRow } from "./rows";
import { Live, v1 } from "./v1";

const EVERY_MS = 10_000;
const SHARED_EVERY_MS = 30_000;

export const sessionsLive = new Live<readonly Row[]>(() => v1("GET", "session"), EVERY_MS);
export const sharedLive = new Live<readonly SharedRow[]>(
  () => v1("GET", "shared"),
  SHARED_EVERY_MS,
);
