/** What the extension calls itself and its commands. */
export const PLUGIN = "canfar-hub:panel";
export const PANEL = "canfar-panel";

export const ids = {
  open: "canfar:open-panel",
  home: "canfar:open-home",
  extend: "canfar:extend-session",
  share: "canfar:share-session",
  stop: "canfar:stop-session",
  leave: "canfar:leave-session",
} as const;

export const storageIds = {
  go: "canfar:open-storage",
  upload: "canfar:upload-files",
  newFolder: "canfar:make-folder",
  refresh: "canfar:refresh-storage",
} as const;
