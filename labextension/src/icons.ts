/** Our own icons: 20 px, drawn in the theme's colours. */
import { LabIcon } from "@jupyterlab/ui-components";

function icon(name: string, drawing: string): LabIcon {
  return new LabIcon({
    name: `canfar-hub:${name}`,
    svgstr:
      '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20" width="20">' +
      `<g class="jp-icon3" fill="none" stroke="#616161" stroke-width="1.6"` +
      ` stroke-linecap="round" stroke-linejoin="round">${drawing}</g></svg>`,
  });
}

/** The panel itself: a dish that listens to the sky. */
export const panelIcon = icon(
  "panel",
  '<path d="M3.2 4.8a8.2 8.2 0 0 0 11 11.6z"/><path d="m8.7 10.6 4.4-4.4"/>' +
    '<circle cx="14" cy="5.3" r="1.3"/><path d="m7.4 14.6-1.6 3.2h7"/>',
);
export const linkIcon = icon(
  "link",
  '<path d="M8.4 11.6a3 3 0 0 0 4.3 0l2.9-2.9a3 3 0 0 0-4.3-4.3l-.9.9"/>' +
    '<path d="M11.6 8.4a3 3 0 0 0-4.3 0l-2.9 2.9a3 3 0 0 0 4.3 4.3l.9-.9"/>',
);
export const personIcon = icon(
  "person",
  '<circle cx="10" cy="6.8" r="3"/><path d="M4 16.5c.6-3.2 3-4.8 6-4.8s5.400 1.600 6 4.800"/>',
);
export const groupIcon = icon(
  "group",
  '<circle cx="7.500" cy="7.200" r="2.600"/><path d="M2.500 16c.4-2.800 2.400-4.200 5-4.200s4.600 1.400 5 4.200"/>' +
    '<path d="M12.700 4.900a2.600 2.600 0 0 1 0 4.700M15 12.400c1.400.6 2.300 1.800 2.500 3.600"/>',
);
