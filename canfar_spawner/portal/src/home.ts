/** The home page: its parts, and the two things that they look at. */
import { enhanceCards } from "./cards";
import { enhanceConfirm } from "./confirm";
import { enhanceDeeds } from "./deeds";
import { enhanceDialogs } from "./dialogs";
import { find } from "./dom";
import { enhanceJobs } from "./jobs";
import { sessionsLive, sharedLive } from "./known";
import { enhanceCardMenus } from "./menus";
import { enhanceShared } from "./shared";
import { enhanceTexts } from "./texts";
import { v1Known } from "./v1";
import { enhanceWarnings } from "./warnings";

export function enhanceHome(): void {
  enhanceDialogs();
  enhanceConfirm();
  enhanceCards();
  enhanceCardMenus();
  enhanceDeeds();
  enhanceTexts();
  enhanceJobs();
  enhanceShared();
  enhanceWarnings();
  if (find(".home", HTMLElement) && v1Known()) {
    sessionsLive.start();
    sharedLive.start();
    // The dialog of sharing tells what it has done.
    document.addEventListener("canfar:shared", () => void sessionsLive.now());
  }
}
