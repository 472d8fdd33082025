/** How a session is shared: by a link, with a person, with a group. */
import * as React from "react";
import { Clipboard } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";

import { useDeed } from "./hooks";
import { groupIcon, linkIcon, personIcon } from "./icons";
import { Button, Notice } from "./parts";
import type { Made, Sharing } from "./shapes";
import type { SharingModel, Wanted } from "./sharing-model";

const HOUR = 3_600_000;
const USUAL_HOURS = 24;
const WAYS = ["link", "person", "group"] as const;
type Way = (typeof WAYS)[number];
const ICONS = { link: linkIcon, person: personIcon, group: groupIcon };

interface Shown {
  model: SharingModel;
  sharing: Sharing;
  trans: TranslationBundle;
  time: (text: string) => string;
}

export function ShareForm(shown: Shown): React.ReactElement {
  const { sharing, trans } = shown;
  const [open, setOpen] = React.useState(false);
  const [way, choose] = React.useState<Way>("link");
  const id = React.useId();
  const tabs = React.useRef<HTMLDivElement>(null);
  if (!open) {
    return (
      <div className="canfar-row">
        <Button look="main" onClick={() => setOpen(true)}>
          {trans.__("Share …")}
        </Button>
      </div>
    );
  }
  const titles: Record<Way, string> = {
    link: trans.__("Link"),
    person: trans.__("Person"),
    group: trans.__("Group"),
  };
  const move = (event: React.KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      const next = WAYS[(WAYS.indexOf(way) + step + WAYS.length) % WAYS.length] ?? "link";
      choose(next);
      tabs.current?.querySelector<HTMLElement>(`[data-way="${next}"]`)?.focus();
    }
  };
  return (
    <div className="canfar-share-form">
      <Notice kind="warn">
        <strong>{sharing.means}</strong> {trans.__("All sharing ends with the session.")}
      </Notice>
      {sharing.warning !== "" && <p className="canfar-quiet">{sharing.warning}</p>}
      <div
        className="canfar-tabs"
        role="tablist"
        aria-label={trans.__("How to share")}
        ref={tabs}
        onKeyDown={move}
      >
        {WAYS.map((each) => {
          const Icon = ICONS[each];
          return (
            <button
              key={each}
              type="button"
              role="tab"
              data-way={each}
              id={`${id}-tab-${each}`}
              aria-controls={`${id}-panel`}
              aria-selected={each === way}
              tabIndex={each === way ? 0 : -1}
              onClick={() => choose(each)}
            >
              <Icon.react className="canfar-icon" tag="span" aria-hidden="true" />
              {titles[each]}
            </button>
          );
        })}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-tab-${way}`}>
        <WayForm key={way} way={way} close={() => setOpen(false)} {...shown} />
      </div>
    </div>
  );
}

function WayForm({
  way,
  close,
  model,
  sharing,
  trans,
  time,
}: Shown & { way: Way; close: () => void }): React.ReactElement {
  const id = React.useId();
  const deed = useDeed();
  const [people, setPeople] = React.useState("1");
  const [name, setName] = React.useState("");
  const [group, setGroup] = React.useState(sharing.groups[0] ?? "");
  const usual = sharing.lengths.some((each) => each.hours === USUAL_HOURS);
  const [hours, setHours] = React.useState(usual ? String(USUAL_HOURS) : "");
  const [storage, setStorage] = React.useState(false);
  const [made, setMade] = React.useState<Made | null>(null);
  const [said, say] = React.useState("");
  const texts: Record<Way, [string, string]> = {
    link: [trans.__("For anybody with an account here who has it."), trans.__("Make a link")],
    person: [trans.__("By the exact name of the account."), trans.__("Share with this person")],
    group: [
      trans.__("For everyone who is in it, also who joins later."),
      trans.__("Share with this group"),
    ],
  };
  if (way === "group" && sharing.groups.length === 0) {
    return <p className="canfar-quiet">{trans.__("You are in no group with others.")}</p>;
  }
  const wanted = (): Wanted => {
    const terms = {
      ...(hours === "" ? {} : { until: new Date(Date.now() + Number(hours) * HOUR).toISOString() }),
      ...(storage ? { storage } : {}),
    };
    switch (way) {
      case "link":
        return { link: true, people: Number(people), ...terms };
      case "person":
        return { user: name.trim(), ...terms };
      case "group":
        return { group, ...terms };
    }
  };
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    deed.act(async () => {
      say("");
      const share = await model.share(wanted());
      setMade(share);
      setName("");
      say(
        way === "link" ? trans.__("The link is made.") : trans.__("%1 may enter now.", share.title),
      );
    });
  };
  return (
    <form onSubmit={submit} noValidate>
      <p className="canfar-quiet">{texts[way][0]}</p>
      {deed.refused !== "" && (
        <Notice kind="bad" alert>
          {deed.refused}
        </Notice>
      )}
      {way === "link" && (
        <>
          <label htmlFor={`${id}-people`}>{trans.__("How many may come in")}</label>
          <input
            className="canfar-input"
            id={`${id}-people`}
            type="number"
            min={1}
            max={sharing.mostPeople}
            value={people}
            onChange={(event) => setPeople(event.target.value)}
          />
        </>
      )}
      {way === "person" && (
        <>
          <label htmlFor={`${id}-name`}>{trans.__("Name")}</label>
          <input
            className="canfar-input"
            id={`${id}-name`}
            value={name}
            maxLength={255}
            autoComplete="off"
            autoCapitalize="off"
            spellCheck={false}
            onChange={(event) => setName(event.target.value)}
          />
        </>
      )}
      {way === "group" && (
        <>
          <label htmlFor={`${id}-group`}>{trans.__("Group")}</label>
          <select
            className="canfar-select"
            id={`${id}-group`}
            value={group}
            onChange={(event) => setGroup(event.target.value)}
          >
            {sharing.groups.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </>
      )}
      <label htmlFor={`${id}-until`}>{trans.__("Until")}</label>
      <select
        className="canfar-select"
        id={`${id}-until`}
        value={hours}
        onChange={(event) => setHours(event.target.value)}
      >
        {sharing.lengths.map(({ hours: length, words }) => (
          <option key={words} value={length ?? ""}>
            {words}
          </option>
        ))}
      </select>
      {sharing.storage === true && (
        <label className="canfar-check">
          <input
            type="checkbox"
            checked={storage}
            onChange={(event) => setStorage(event.target.checked)}
          />
          {trans.__("Show my storage in the panel, to read")}
        </label>
      )}
      <div className="canfar-row">
        <Button look="main" type="submit" disabled={deed.busy}>
          {texts[way][1]}
        </Button>
        <Button look="quiet" onClick={close}>
          {trans.__("Close")}
        </Button>
      </div>
      <p className="canfar-quiet canfar-said" role="status">
        {said}
      </p>
      {made?.url !== undefined && <NewLink id={id} made={made} trans={trans} time={time} />}
    </form>
  );
}

function NewLink({
  id,
  made,
  trans,
  time,
}: {
  id: string;
  made: Made;
  trans: TranslationBundle;
  time: (text: string) => string;
}): React.ReactElement {
  const [copied, setCopied] = React.useState(false);
  const field = React.useRef<HTMLInputElement>(null);
  const { url = "", linkUntil } = made;
  // It is shown this once, and may be below what is seen.
  React.useEffect(() => field.current?.focus(), [url]);
  return (
    <div className="canfar-link">
      <label htmlFor={`${id}-link`}>{trans.__("Your new link")}</label>
      <div className="canfar-row">
        <input
          className="canfar-input"
          id={`${id}-link`}
          readOnly
          ref={field}
          value={url}
          onFocus={(event) => event.target.select()}
        />
        <Button
          onClick={() => {
            Clipboard.copyToSystem(url);
            setCopied(true);
          }}
        >
          {copied ? trans.__("Copied") : trans.__("Copy")}
        </Button>
      </div>
      {linkUntil !== null && (
        <p className="canfar-quiet">
          {trans.__("It is shown this once. It can be taken up until %1.", time(linkUntil))}
        </p>
      )}
    </div>
  );
}
