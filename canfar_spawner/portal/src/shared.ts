/** Sessions of others on home: whose they are, until when, the way in and the way out. */
import { confirmThen } from "./confirm";
import { find, setText } from "./dom";
import { sharedLive } from "./known";
import type { SharedRow } from "./rows";
import { say } from "./say";
import { keyed, slot } from "./slots";
import { setTimed } from "./times";
import { v1 } from "./v1";

function leave(row: SharedRow): void {
  const { owner, name } = row;
  confirmThen(
    {
      title: say("Leave %(name)s?", { name }),
      text: say("You cannot enter it any more until %(owner)s shares it with you again.", {
        owner,
      }),
      yes: say("Leave"),
      no: say("Keep my access"),
      doing: say("Leaving…"),
    },
    async () => {
      const path = `${encodeURIComponent(owner)}/${encodeURIComponent(row.session)}`;
      await v1("DELETE", `shared/${path}`);
      await sharedLive.now();
    },
  );
}

function fill(element: HTMLElement, row: SharedRow): void {
  setText(slot(element, "name"), row.name);
  setText(slot(element, "container"), row.container);
  setTimed(slot(element, "words"), new Date(row.until), (until) =>
    say("Of %(owner)s, open to you until %(until)s. Whoever enters works as %(owner)s.", {
      owner: row.owner,
      until,
    }),
  );
  const open = slot(element, "open");
  const target = new URL(row.url, location.href);
  if (open instanceof HTMLAnchorElement && /^https?:$/.test(target.protocol)) {
    open.href = target.href;
  }
  setText(slot(element, "open-of"), ` ${row.name}`);
  setText(slot(element, "leave-of"), ` ${row.name}`);
  const button = slot(element, "leave");
  if (button) {
    button.onclick = (): void => leave(row);
  }
}

export function enhanceShared(): void {
  const section = find("#shared", HTMLElement);
  const list = find("#shared-list", HTMLElement);
  if (section && list) {
    sharedLive.subscribe(({ value }) => {
      if (value) {
        section.hidden = value.length === 0;
        keyed(list, "shared-template", value, (row) => `${row.owner}/${row.session}`, fill);
      }
    });
  }
}
