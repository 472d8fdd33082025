/** The panel's head: which session this is, what it uses, how long it lasts. */
import * as React from "react";
import { ReactWidget } from "@jupyterlab/apputils";
import type { CommandRegistry } from "@lumino/commands";
import type { TranslationBundle } from "@jupyterlab/translation";

import { ids } from "./ids";
import { useChanges, useDeed, useNow } from "./hooks";
import { Button, Gauge, NEARLY, Notice } from "./parts";
import type { SessionModel } from "./session-model";
import type { Session } from "./shapes";
import * as words from "./words";

const SOON_MS = 24 * 3_600_000;

interface Shown {
  model: SessionModel;
  trans: TranslationBundle;
  language: string;
  commands: CommandRegistry;
}

export class SessionWidget extends ReactWidget {
  constructor(private readonly shown: Shown) {
    super();
    this.addClass("canfar-session");
  }

  protected override render(): React.ReactElement {
    return <SessionView {...this.shown} />;
  }
}

function stateOf(trans: TranslationBundle, session: Session): [string, string] {
  switch (session.state) {
    case "Running":
      return ["good", trans.__("Running")];
    case "Terminating":
      return ["busy", trans.__("Stopping")];
    case "Pending":
      return ["busy", trans.__("Starting")];
    case "Completed":
      return ["neutral", trans.__("Ended")];
    case "Failed":
      return ["bad", trans.__("Failed")];
    default:
      return ["warn", trans.__("Unknown")];
  }
}

function SessionView({ model, trans, language, commands }: Shown): React.ReactElement {
  useChanges(model.changed);
  const now = useNow();
  const { here, session, trouble, at } = model;
  if (!session) {
    return (
      <div className="canfar-head">
        {trouble === "" ? (
          <p className="canfar-quiet canfar-waiting">{trans.__("Asking about this session …")}</p>
        ) : (
          <Notice kind={model.lost ? "info" : "warn"} alert>
            {trouble}
          </Notice>
        )}
      </div>
    );
  }
  const [meaning, word] = stateOf(trans, session);
  const known = at ? words.moment(trans, at, now, language) : "";
  return (
    <section className="canfar-head" aria-label={trans.__("This session")}>
      <header>
        <h2 title={session.name}>{session.name}</h2>
        <span className={`canfar-state canfar-mod-${meaning}`}>{word}</span>
      </header>
      <p className="canfar-what">
        {session.title} {session.version}
      </p>
      {trouble !== "" && (
        <Notice kind="warn" alert>
          {trans.__("Not known since %1.", known)} {trouble}
        </Notice>
      )}
      {here?.visitor ? (
        <Visit session={session} trans={trans} language={language} now={now} commands={commands} />
      ) : (
        <Own
          model={model}
          session={session}
          trans={trans}
          language={language}
          now={now}
          commands={commands}
        />
      )}
    </section>
  );
}

interface Part {
  session: Session;
  trans: TranslationBundle;
  language: string;
  now: Date;
  commands: CommandRegistry;
}

function left({ session, trans, language, now }: Part): React.ReactElement {
  const ends = new Date(session.ends);
  const ms = ends.getTime() - now.getTime();
  const at = words.moment(trans, ends, now, language);
  return (
    <span
      className={ms < SOON_MS ? "canfar-left canfar-soon" : "canfar-left"}
      title={trans.__("Ends %1", at)}
    >
      {ms < SOON_MS ? trans.__("Ends %1", at) : trans.__("%1 left", words.duration(trans, ms))}
    </span>
  );
}

function Own(shown: Part & { model: SessionModel }): React.ReactElement {
  const { session, trans, model, commands } = shown;
  const deed = useDeed();
  const [said, say] = React.useState("");
  const usage = model.here?.usage ?? null;
  const memory = words.memoryLevel(session, usage);
  const cores = words.coresLevel(session, usage);
  const unknown = trans.__("not known");
  const promised = words.promised(trans, session);
  const nearly = memory !== null && words.part(memory) >= NEARLY;
  return (
    <>
      <p className="canfar-quiet" title={promised}>
        {words.size(trans, session)}
      </p>
      <div className="canfar-gauges">
        <Gauge
          label={trans.__("cores")}
          level={cores}
          text={
            cores
              ? trans.__("%1 of %2", words.plain(cores.value), words.plain(cores.most))
              : unknown
          }
        />
        <Gauge
          label={trans.__("memory")}
          level={memory}
          text={
            memory
              ? trans.__("%1 of %2 GB", words.gibibytes(memory.value), words.gibibytes(memory.most))
              : unknown
          }
        />
      </div>
      {nearly && (
        <Notice kind="warn">
          {session.enforced === false
            ? trans.__("Nearly all of the session's memory is in use.")
            : trans.__(
                "Memory is nearly used up. A session that uses more is ended: close what is not needed.",
              )}
        </Notice>
      )}
      {session.warning !== undefined && <Notice kind="warn">{session.warning}</Notice>}
      {deed.refused !== "" && (
        <Notice kind="bad" alert>
          {deed.refused}
        </Notice>
      )}
      <div className="canfar-row">
        {left(shown)}
        <Button
          disabled={deed.busy}
          onClick={() =>
            deed.act(async () => {
              const longer = await model.extend();
              say(
                longer
                  ? trans.__("Extended.")
                  : trans.__("It lasts as long as the site allows already."),
              );
            })
          }
        >
          {trans.__("Extend")}
        </Button>
        <Button look="quiet" onClick={() => void commands.execute(ids.stop)}>
          {trans.__("Stop")}
        </Button>
      </div>
      <p className="canfar-quiet canfar-said" role="status">
        {said}
      </p>
    </>
  );
}

function Visit(shown: Part): React.ReactElement {
  const { session, trans, language, now, commands } = shown;
  const until = session.visitUntil === undefined ? null : new Date(session.visitUntil);
  return (
    <>
      <Notice kind="info">
        {trans.__(
          "This session belongs to %1. What you do in it is done as %1: in %1's files, under %1's name.",
          session.owner,
        )}
      </Notice>
      {until && (
        <p className="canfar-quiet">
          {trans.__("You may enter until %1.", words.moment(trans, until, now, language))}
        </p>
      )}
      <div className="canfar-row">
        {left(shown)}
        <Button look="quiet" onClick={() => void commands.execute(ids.leave)}>
          {trans.__("Leave")}
        </Button>
      </div>
    </>
  );
}
