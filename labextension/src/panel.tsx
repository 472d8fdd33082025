/** The panel in JupyterLab's side bar: the session above, sharing and storage below it. */
import * as React from "react";
import type { JupyterFrontEnd } from "@jupyterlab/application";
import { ReactWidget } from "@jupyterlab/apputils";
import type { IStateDB } from "@jupyterlab/statedb";
import type { TranslationBundle } from "@jupyterlab/translation";
import { SidePanel } from "@jupyterlab/ui-components";
import { MessageLoop } from "@lumino/messaging";
import { Signal } from "@lumino/signaling";
import { Widget, type AccordionPanel } from "@lumino/widgets";

import { PANEL } from "./ids";
import { panelIcon } from "./icons";
import { SessionWidget } from "./session";
import type { SessionModel } from "./session-model";
import { SharingWidget } from "./sharing";
import type { SharingModel } from "./sharing-model";
import { StoragePanel } from "./storage";

const REMEMBERED = "canfar:panel";

export interface PanelOptions {
  app: JupyterFrontEnd;
  trans: TranslationBundle;
  language: string;
  session: SessionModel;
  sharing: SharingModel;
  state: IStateDB | null;
}

/** A section that knows whether it can be seen. */
class StorageWidget extends ReactWidget {
  #shown = false;

  constructor(private readonly options: PanelOptions) {
    super();
    this.addClass("canfar-storage-section");
    this.title.label = options.trans.__("Storage");
  }

  set shown(shown: boolean) {
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.update();
    }
  }

  protected override render(): React.ReactElement {
    const { app, trans, language, session, state } = this.options;
    const home = session.here?.home ?? null;
    const owner = session.here?.owner ?? "";
    return (
      <StoragePanel
        app={app}
        trans={trans}
        language={language}
        shown={this.#shown}
        hub={home?.replace(/home$/, "") ?? null}
        lentBy={session.visitor ? owner : null}
        // What a visitor has open is nothing for the owner's browser to come back to.
        state={session.visitor ? null : state}
      />
    );
  }
}

export class CanfarPanel extends SidePanel {
  readonly #options: PanelOptions;
  readonly #sharing: SharingWidget;
  // The head grows and shrinks by what it has to say, of which Lumino's layouts do not hear.
  readonly #observer = new ResizeObserver(() =>
    MessageLoop.postMessage(this.content, Widget.ResizeMessage.UnknownSize),
  );
  #storage: StorageWidget | null = null;
  #seen = false;
  /** Which sections are closed, by their place. */
  #closed: boolean[] = [true, false];

  constructor(options: PanelOptions) {
    super();
    this.#options = options;
    const { trans, session, sharing, app, language } = options;
    this.id = PANEL;
    this.addClass("canfar-panel");
    this.title.icon = panelIcon;
    this.title.caption = trans.__("CANFAR: this session and storage");
    this.node.setAttribute("role", "region");
    this.node.setAttribute("aria-label", trans.__("CANFAR"));
    this.header.addWidget(
      new SessionWidget({ model: session, trans, language, commands: app.commands }),
    );
    this.#sharing = new SharingWidget({ model: sharing, trans, language });
    session.changed.connect(this.#arrange, this);
    this.accordion.expansionToggled.connect(this.#remember, this);
    this.#observer.observe(this.content.node);
    void this.#restore();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.#observer.disconnect();
      Signal.clearData(this);
      super.dispose();
    }
  }

  /** Open the section on sharing. */
  openSharing(): void {
    const at = this.widgets.indexOf(this.#sharing);
    if (at >= 0) {
      this.accordion.expand(at);
      this.#sharing.node.querySelector<HTMLElement>("button")?.focus();
    }
  }

  protected override onAfterShow(): void {
    this.#see(true);
  }

  protected override onAfterHide(): void {
    this.#see(false);
  }

  private get accordion(): AccordionPanel {
    // `SidePanel` makes one where it is given no other content, and tells no more of it.
    const content: unknown = this.content;
    return content as AccordionPanel;
  }

  /** Show the sections that are for whoever looks, once it is known who does. */
  #arrange(): void {
    const { session } = this.#options;
    if (!session.here) {
      return;
    }
    // Others' files are a visitor's to see only as long as her share says so.
    const storage = !session.visitor || session.session?.visitStorage === true;
    if (storage && this.#storage === null) {
      this.#storage = new StorageWidget(this.#options);
      const widgets: Widget[] = session.visitor ? [] : [this.#sharing];
      for (const widget of [...widgets, this.#storage]) {
        this.addWidget(widget);
      }
      if (!session.visitor) {
        this.#closed.forEach((closed, at) =>
          closed ? this.accordion.collapse(at) : this.accordion.expand(at),
        );
      }
      this.#watch();
    } else if (!storage && this.#storage !== null && session.session) {
      this.#storage.dispose();
      this.#storage = null;
    }
  }

  #see(seen: boolean): void {
    this.#seen = seen;
    this.#options.session.watched = seen;
    this.#watch();
  }

  #watch(): void {
    if (this.#storage) {
      this.#options.sharing.watched = this.#seen && !this.#options.session.visitor;
      this.#storage.shown = this.#seen && !this.#storage.isHidden;
    }
  }

  #remember(): void {
    if (this.#options.session.visitor) {
      // What a visitor sees is no choice of hers between sections.
      this.#watch();
      return;
    }
    this.#closed = this.widgets.map((widget) => widget.isHidden);
    if (this.#closed.length > 1 && !this.#closed.includes(true)) {
      // One that was closed is otherwise opened with no height.
      this.accordion.setRelativeSizes([2, 3]);
    }
    this.#watch();
    void this.#options.state?.save(REMEMBERED, { closed: this.#closed });
  }

  async #restore(): Promise<void> {
    const kept = (await this.#options.state?.fetch(REMEMBERED).catch(() => undefined)) as
      { closed?: unknown } | undefined;
    if (Array.isArray(kept?.closed) && this.#storage === null) {
      this.#closed = kept.closed.map((each) => each === true);
    }
  }
}
