/** Runs in the head, before anything is drawn: the theme, and that there is JavaScript at all. */
import { holdAnnouncements } from "./announcements";
import { applyTheme, storedTheme } from "./themes";

document.documentElement.classList.add("js");
applyTheme(storedTheme());
holdAnnouncements();
