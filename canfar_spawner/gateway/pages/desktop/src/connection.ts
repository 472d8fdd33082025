/** The connection to the desktop, which is made again whenever it is lost. */
import RFB from "@novnc/novnc";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8_000;
/** Below this many pixels a desktop is no use; it is shown smaller instead. */
const NARROWEST = 640;

export type Told =
  | { state: "connected" }
  | { state: "connecting"; lost: boolean }
  /** Connecting failed, and is tried again at that time. */
  | { state: "waiting"; lost: boolean; until: number; offline: boolean }
  | { state: "refused" };

export interface Listener {
  told(what: Told): void;
  /** What was copied in the desktop. */
  copied(text: string): void;
  /** What the desktop is called. */
  named(name: string): void;
  /** What the screen showed when the connection was lost, as the address of an image. */
  last(picture: string): void;
}

export class Connection {
  private rfb: RFB | null = null;
  private connected = false;
  private lost = false;
  private wait = FIRST_WAIT;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly screen: HTMLElement,
    private readonly address: string,
    private readonly listener: Listener,
  ) {
    addEventListener("online", () => this.now());
    addEventListener("resize", () => this.fit());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) {
        this.now();
      }
    });
  }

  /** Connect at once, unless there is a connection or one is being made. */
  now(): void {
    if (this.rfb) {
      return;
    }
    clearTimeout(this.timer);
    this.listener.told({ state: "connecting", lost: this.lost });
    const rfb = new RFB(this.screen, this.address);
    this.rfb = rfb;
    rfb.background = "transparent";
    rfb.scaleViewport = true;
    this.fit();
    rfb.addEventListener("connect", () => {
      this.connected = true;
      this.wait = FIRST_WAIT;
      this.listener.told({ state: "connected" });
      rfb.focus();
    });
    rfb.addEventListener("clipboard", (event) => this.listener.copied(event.detail.text));
    rfb.addEventListener("desktopname", (event) => this.listener.named(event.detail.name));
    rfb.addEventListener("disconnect", () => {
      this.rfb = null;
      void this.gone(rfb);
    });
  }

  /** Put a text where the desktop's programs paste from. */
  paste(text: string): void {
    if (this.connected) {
      this.rfb?.clipboardPasteFrom(text);
    }
  }

  focus(): void {
    this.rfb?.focus();
  }

  private fit(): void {
    if (this.rfb) {
      this.rfb.resizeSession = innerWidth >= NARROWEST;
    }
  }

  private async gone(rfb: RFB): Promise<void> {
    if (this.connected) {
      this.connected = false;
      this.lost = true;
      this.listener.last(rfb.toDataURL("image/png"));
      // The first time at once: most often a connection is only renewed somewhere on the way.
      this.now();
      return;
    }
    const found = await look();
    if (found === "elsewhere") {
      // To sign in, or to read that the session has ended: the hub's pages say it better.
      location.reload();
      return;
    }
    if (found === "refused") {
      this.listener.told({ state: "refused" });
      return;
    }
    if (this.rfb) {
      return; // Somebody was quicker.
    }
    const until = Date.now() + this.wait;
    this.listener.told({ state: "waiting", lost: this.lost, until, offline: found === "offline" });
    this.timer = setTimeout(() => this.now(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }
}

type Found = "here" | "elsewhere" | "refused" | "offline";

/** Ask for this page once more: a WebSocket does not say why it was refused. */
async function look(): Promise<Found> {
  try {
    const answer = await fetch(location.pathname, { cache: "no-store", redirect: "manual" });
    if (answer.type === "opaqueredirect") {
      return "elsewhere";
    }
    if (answer.status === 401) {
      return "elsewhere";
    }
    return answer.status === 403 ? "refused" : "here";
  } catch {
    return "offline";
  }
}
