/** The panel's section on sharing: how the session is shared, and who may enter. */
import * as React from "react";
import { ReactWidget } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";

import { useChanges, useDeed, useNow } from "./hooks";
import { groupIcon, linkIcon, personIcon } from "./icons";
import { Button, Notice } from "./parts";
import { ShareForm } from "./share-form";
import type { Line, Person, Share } from "./shapes";
import type { SharingModel } from "./sharing-model";
import { moment } from "./words";

const ICONS = new Map([
  ["link", linkIcon],
  ["person", personIcon],
  ["group", groupIcon],
]);

interface Shown {
  model: SharingModel;
  trans: TranslationBundle;
  language: string;
}

export class SharingWidget extends ReactWidget {
  constructor(private readonly shown: Shown) {
    super();
    this.addClass("canfar-sharing");
    this.title.label = shown.trans.__("Sharing");
    shown.model.changed.connect(this.#count, this);
  }

  protected override render(): React.ReactElement {
    return <SharingView {...this.shown} />;
  }

  /** Say in the heading what is worth knowing while the section is closed. */
  #count(): void {
    const { trans, model } = this.shown;
    const { may, here } = model.count;
    const parts = [trans.__("Sharing")];
    if (may > 0 || here > 0) {
      parts.push(trans.__("%1 may enter, %2 here", may, here));
    }
    this.title.label = parts.join(" · ");
  }
}

function SharingView({ model, trans, language }: Shown): React.ReactElement {
  useChanges(model.changed);
  const now = useNow();
  const deed = useDeed();
  const [said, say] = React.useState("");
  const { sharing, trouble, at } = model;
  const time = (text: string): string => moment(trans, new Date(text), now, language);
  if (!sharing) {
    return trouble === "" ? (
      <p className="canfar-quiet">{trans.__("Asking who may enter …")}</p>
    ) : (
      <Notice kind="warn">{trouble}</Notice>
    );
  }
  const takeAway = (work: () => Promise<boolean>): void =>
    deed.act(async () => {
      const done = await work();
      say(
        done
          ? trans.__("Revoked. Whoever was in by it is out within seconds.")
          : trans.__(
              "It is revoked as soon as the hub answers; until then nobody new comes in by it.",
            ),
      );
    });
  const people = new Map(sharing.visitors.map((each) => [each.name, each]));
  const others = sharing.visitors.filter((each) => each.shares.length === 0 && each.here !== null);
  return (
    <>
      {trouble !== "" && (
        <Notice kind="warn" alert>
          {at && trans.__("Not known since %1.", moment(trans, at, now, language))} {trouble}
        </Notice>
      )}
      {sharing.off !== "" ? (
        <Notice kind="info">{sharing.off}</Notice>
      ) : sharing.open ? (
        <ShareForm model={model} sharing={sharing} trans={trans} time={time} />
      ) : (
        <p className="canfar-quiet">
          {trans.__("The session is stopping, and all sharing of it with it.")}
        </p>
      )}
      {deed.refused !== "" && (
        <Notice kind="bad" alert>
          {deed.refused}
        </Notice>
      )}
      <p className="canfar-quiet canfar-said" role="status">
        {said}
      </p>
      <div className="canfar-row">
        <h3>{trans.__("Who may enter")}</h3>
        {sharing.shares.length > 0 && (
          <Button
            look="quiet"
            disabled={deed.busy}
            onClick={() => takeAway(() => model.revokeAll())}
          >
            {trans.__("Revoke all")}
          </Button>
        )}
      </div>
      {sharing.shares.length === 0 ? (
        <p className="canfar-quiet">{trans.__("Nobody: the session is yours alone.")}</p>
      ) : (
        <ul className="canfar-shares" aria-label={trans.__("Who may enter")}>
          {sharing.shares.map((share) => (
            <ShareItem
              key={share.id}
              share={share}
              people={people}
              trans={trans}
              time={time}
              busy={deed.busy}
              revoke={() => takeAway(() => model.revoke(share.id))}
              remove={(name) => takeAway(() => model.remove(name))}
            />
          ))}
        </ul>
      )}
      {others.map((each) => (
        <Notice kind="info" key={each.name}>
          {trans.__(
            "%1 is here without a share: an administrator, or somebody whose share has just ended.",
            each.name,
          )}
        </Notice>
      ))}
      <Audit model={model} trans={trans} time={time} />
    </>
  );
}

function HereSince({
  person,
  trans,
  time,
}: {
  person: Person | undefined;
  trans: TranslationBundle;
  time: (text: string) => string;
}): React.ReactElement | null {
  return person?.here ? (
    <span className="canfar-state canfar-mod-good">
      {trans.__("here since %1", time(person.here))}
    </span>
  ) : null;
}

function ShareItem({
  share,
  people,
  trans,
  time,
  busy,
  revoke,
  remove,
}: {
  share: Share;
  people: Map<string, Person>;
  trans: TranslationBundle;
  time: (text: string) => string;
  busy: boolean;
  revoke: () => void;
  remove: (name: string) => void;
}): React.ReactElement {
  const Icon = ICONS.get(share.how) ?? linkIcon;
  const opens = share.linkUntil !== null && new Date(share.linkUntil) > new Date();
  return (
    <li>
      <div className="canfar-share">
        <Icon.react className="canfar-icon" tag="span" aria-hidden="true" />
        <div>
          <strong>{share.title}</strong>
          <span className="canfar-quiet">{trans.__("until %1", time(share.until))}</span>
          {share.storage === true && (
            <span className="canfar-quiet">{trans.__("with storage to read")}</span>
          )}
          {opens && share.linkUntil !== null && (
            <span className="canfar-quiet">
              {trans.__("can be taken up until %1", time(share.linkUntil))}
            </span>
          )}
          {share.how === "person" && (
            <HereSince person={people.get(share.letsIn[0] ?? "")} trans={trans} time={time} />
          )}
        </div>
        <Button
          look="quiet"
          disabled={busy}
          label={trans.__("Revoke %1", share.title)}
          onClick={revoke}
        >
          {trans.__("Revoke")}
        </Button>
      </div>
      {share.how !== "person" && (
        <ul className="canfar-guests">
          {share.letsIn.map((name) => (
            <li key={name}>
              <span className="canfar-guest">{name}</span>
              <HereSince person={people.get(name)} trans={trans} time={time} />
              <Button
                look="quiet"
                disabled={busy}
                label={trans.__("Remove %1", name)}
                onClick={() => remove(name)}
              >
                {trans.__("Remove")}
              </Button>
            </li>
          ))}
          {share.letsIn.length === 0 && (
            <li className="canfar-quiet">
              {share.how === "link"
                ? trans.__("Nobody has come by it yet.")
                : trans.__("Nobody else is in this group now.")}
            </li>
          )}
        </ul>
      )}
    </li>
  );
}

function Audit({
  model,
  trans,
  time,
}: {
  model: SharingModel;
  trans: TranslationBundle;
  time: (text: string) => string;
}): React.ReactElement {
  const [lines, show] = React.useState<Line[] | null>(null);
  const [open, setOpen] = React.useState(false);
  const deed = useDeed();
  const { act } = deed;
  const at = model.at?.getTime();
  React.useEffect(() => {
    if (open) {
      act(async () => show(await model.audit()));
    }
  }, [open, at, model]);
  return (
    <details className="canfar-audit" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{trans.__("What happened")}</summary>
      {deed.refused !== "" && <Notice kind="warn">{deed.refused}</Notice>}
      {lines?.length === 0 && <p className="canfar-quiet">{trans.__("Nothing yet.")}</p>}
      <ol>
        {lines?.map((line) => (
          <li key={`${line.at} ${line.text}`}>
            <span className="canfar-quiet">{time(line.at)}</span> {line.text}
          </li>
        ))}
      </ol>
    </details>
  );
}
