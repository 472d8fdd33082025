/** What this page uses of noVNC, which comes without types. */
declare module "@novnc/novnc" {
  export interface Events {
    clipboard: CustomEvent<{ text: string }>;
    connect: CustomEvent<unknown>;
    desktopname: CustomEvent<{ name: string }>;
    disconnect: CustomEvent<{ clean: boolean }>;
    securityfailure: CustomEvent<{ status: number; reason?: string }>;
  }

  export default class RFB {
    constructor(target: HTMLElement, url: string, options?: { shared?: boolean });
    background: string;
    compressionLevel: number;
    qualityLevel: number;
    resizeSession: boolean;
    scaleViewport: boolean;
    addEventListener<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): void;
    blur(): void;
    clipboardPasteFrom(text: string): void;
    disconnect(): void;
    focus(): void;
    toDataURL(type?: string, quality?: number): string;
  }
}
