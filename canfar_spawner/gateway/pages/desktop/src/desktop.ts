/** The page of a desktop session: its screen, a bar, and a panel for the clipboard. */
import { applyTheme, storedTheme, systemDark } from "../../../../portal/src/themes";
import { Clipboard } from "./clipboard";
import { Connection, type Told } from "./connection";
import { element } from "./dom";

const title = element("title", HTMLElement);
const state = element("state", HTMLElement);
const message = element("message", HTMLElement);
const messageTitle = element("message-title", HTMLElement);
const messageText = element("message-text", HTMLElement);
const again = element("again", HTMLButtonElement);
const last = element("last", HTMLImageElement);
const bar = element("bar", HTMLElement);
const handle = element("handle", HTMLButtonElement);
const full = element("full-screen", HTMLButtonElement);

applyTheme(storedTheme());
systemDark().addEventListener("change", () => applyTheme(storedTheme()));

function say(heading: string, text: string, retry: boolean): void {
  messageTitle.textContent = heading;
  messageText.textContent = text;
  again.hidden = !retry;
  message.hidden = false;
}

let countdown: ReturnType<typeof setInterval> | undefined;

function told(what: Told): void {
  clearInterval(countdown);
  document.documentElement.dataset.state = what.state;
  switch (what.state) {
    case "connected":
      state.textContent = "";
      message.hidden = true;
      last.hidden = true;
      break;
    case "connecting":
      state.textContent = "Connecting";
      if (what.lost) {
        say("The connection was lost", "Connecting again. Nothing in the desktop is lost.", false);
      } else {
        say("Connecting to the desktop", "It appears in a moment.", false);
      }
      break;
    case "waiting": {
      state.textContent = what.lost ? "Not connected" : "Connecting";
      const heading = what.lost ? "The connection was lost" : "The desktop does not answer yet";
      const kept = what.lost ? " Your programs go on in the desktop." : "";
      const cause = what.offline ? "The network is not there." : "The session cannot be reached.";
      const tick = (): void => {
        const left = Math.max(1, Math.ceil((what.until - Date.now()) / 1000));
        say(heading, `${cause} Next try in ${left} s.${kept}`, true);
      };
      tick();
      countdown = setInterval(tick, 1000);
      break;
    }
    case "refused":
      state.textContent = "Closed";
      say(
        "You cannot enter this session any more",
        "Whoever owns it can share it with you again.",
        false,
      );
  }
}

const address = new URL("stream", location.href);
address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
address.search = "";
address.hash = "";

const connection = new Connection(element("screen", HTMLElement), address.href, {
  told,
  copied: (text) => clipboard.copied(text),
  named: (name) => {
    title.textContent = name;
    document.title = name;
  },
  last: (picture) => {
    last.src = picture;
    last.hidden = false;
  },
});
const clipboard = new Clipboard(
  (text) => connection.paste(text),
  () => connection.focus(),
);

again.addEventListener("click", () => connection.now());
full.addEventListener("click", () => {
  const done = document.fullscreenElement
    ? document.exitFullscreen()
    : document.documentElement.requestFullscreen();
  done.then(
    () => connection.focus(),
    () => undefined, // The person or the browser did not want it.
  );
});
document.addEventListener("fullscreenchange", () => {
  const now = document.fullscreenElement !== null;
  document.body.classList.toggle("full", now);
  bar.classList.remove("shown");
  handle.hidden = !now;
  full.ariaPressed = String(now);
});
handle.addEventListener("click", () => {
  bar.classList.add("shown");
  handle.hidden = true;
});
element("screen", HTMLElement).addEventListener("pointerdown", () => {
  if (document.fullscreenElement) {
    bar.classList.remove("shown");
    handle.hidden = false;
  }
});
full.hidden = !document.fullscreenEnabled;

/** Show the way back, where the gateway knows it, and to a visitor whose session it is. */
async function showAbout(): Promise<void> {
  const answer = await fetch("session.json");
  const about: unknown = answer.ok ? await answer.json() : null;
  if (about && typeof about === "object" && "home" in about && typeof about.home === "string") {
    const home = element("home", HTMLAnchorElement);
    home.href = about.home;
    home.hidden = false;
  }
  if (about && typeof about === "object" && "owner" in about && typeof about.owner === "string") {
    const whose = element("whose", HTMLElement);
    whose.textContent = `${about.owner}’s session: you work as ${about.owner}`;
    whose.title = whose.textContent;
    whose.hidden = false;
  }
}

connection.now();
showAbout().catch(() => undefined); // Without it the page is as good.
