/** The list of copies, moves, uploads and downloads. */
import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";

import { useSignal } from "./hooks";
import { stateOf } from "./sentences";
import { inside, type Area, type Job } from "./shapes";
import { goesOn, hasEnded, type Transfers } from "./transfers";

/** Jobs that are listed; the server keeps no more than it needs either. */
const MOST_JOBS = 50;

interface JobsProps {
  transfers: Transfers;
  areas: readonly Area[];
  trans: TranslationBundle;
}

export function Jobs({ transfers, areas, trans }: JobsProps): React.JSX.Element | null {
  useSignal(transfers.changed);
  const [open, setOpen] = React.useState(false);
  const jobs = transfers.jobs.filter((job) => job.kind !== "checksum");
  const going = jobs.filter((job) => !hasEnded(job));
  const failed = jobs.filter((job) => job.state === "failed").length;
  const attention = going.length > 0 || failed > 0 || jobs.some((job) => job.notes.length > 0);
  // It opens when there is something to see, and stays as it is left after that.
  React.useEffect(() => {
    if (attention) {
      setOpen(true);
    }
  }, [attention]);
  if (jobs.length === 0 && !transfers.error) {
    return null;
  }
  const ended = jobs.length - going.length;
  return (
    <details
      className="canfar-storage-jobs"
      open={open}
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary>
        {trans.__("Transfers")}
        <span role="status">{summaryOf(going.length, ended - failed, failed, trans)}</span>
      </summary>
      {transfers.error ? (
        <p className="canfar-note canfar-mod-bad" role="alert">
          {transfers.error.message}
        </p>
      ) : null}
      <ul>
        {jobs.slice(0, MOST_JOBS).map((job) => (
          <JobView key={job.id} job={job} transfers={transfers} areas={areas} trans={trans} />
        ))}
      </ul>
      {ended > 0 ? (
        <button type="button" className="canfar-button" onClick={() => void transfers.clear()}>
          {trans.__("Clear what has ended")}
        </button>
      ) : null}
    </details>
  );
}

function summaryOf(going: number, done: number, failed: number, trans: TranslationBundle): string {
  const parts: string[] = [];
  if (going > 0) {
    parts.push(trans.__("%1 running", going));
  }
  if (failed > 0) {
    parts.push(trans.__("%1 failed", failed));
  }
  if (done > 0) {
    parts.push(trans.__("%1 ended", done));
  }
  return parts.join(", ");
}

interface JobProps extends JobsProps {
  job: Job;
}

function JobView({ job, transfers, areas, trans }: JobProps): React.JSX.Element {
  const [problem, setProblem] = React.useState("");
  const chooser = React.useRef<HTMLInputElement>(null);
  const { done, total } = job.bytes;
  const share = total === null || total === 0 ? (job.state === "done" ? 1 : 0) : done / total;
  const attempt = (act: () => Promise<void>): void => {
    setProblem("");
    act().catch((error: unknown) => {
      setProblem(error instanceof Error ? error.message : String(error));
    });
  };
  const give = async (file: File | undefined): Promise<void> => {
    if (file && !(await transfers.give(job, file))) {
      setProblem(
        trans.__("This is not the file that was being uploaded. Choose it again, or cancel."),
      );
    }
  };
  const needsFile = transfers.needsFile(job);
  const inBrowser = job.kind === "download";
  const shown = problem === "" && job.state !== "failed" ? transfers.problemOf(job) : problem;
  const target = areas.find((one) => one.id === job.to?.area);
  return (
    <li className="canfar-storage-job">
      <div className="canfar-storage-job-name" title={job.name}>
        {job.name}
      </div>
      {job.to && target ? (
        <div className="canfar-storage-job-to" title={inside(target.path, job.to.path)}>
          {trans.__("to %1", inside(target.path, job.to.path))}
        </div>
      ) : null}
      {inBrowser ? (
        <div className="canfar-storage-job-to">{trans.__("to this computer")}</div>
      ) : null}
      {hasEnded(job) ? null : (
        <div
          className="canfar-meter"
          role="progressbar"
          aria-label={trans.__("Progress of %1", job.name)}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(share * 100)}
        >
          <div className="canfar-meter-part" style={{ width: `${share * 100}%` }} />
        </div>
      )}
      <div className={job.state === "failed" ? "canfar-mod-bad" : "canfar-storage-job-state"}>
        {stateOf(job, needsFile, trans)}
      </div>
      {shown === "" ? null : (
        <p className="canfar-mod-bad" role="alert">
          {shown}
        </p>
      )}
      {job.notes.length === 0 ? null : (
        <div className="canfar-note canfar-mod-warn" role="note">
          {job.notes.map((note, at) => (
            <p key={at}>{note}</p>
          ))}
        </div>
      )}
      <div className="canfar-storage-job-acts">
        {needsFile ? (
          <>
            <input
              ref={chooser}
              type="file"
              hidden
              onChange={(event) => {
                const file = event.currentTarget.files?.[0];
                event.currentTarget.value = "";
                attempt(() => give(file));
              }}
            />
            <Act
              label={trans.__("Choose the file")}
              of={job}
              act={() => chooser.current?.click()}
            />
          </>
        ) : null}
        {goesOn(job) && !needsFile && !inBrowser ? (
          <Act label={trans.__("Pause")} of={job} act={() => attempt(() => transfers.pause(job))} />
        ) : null}
        {job.state === "paused" && !needsFile ? (
          <Act
            label={trans.__("Resume")}
            of={job}
            act={() => attempt(() => transfers.resume(job))}
          />
        ) : null}
        {job.state === "failed" && !inBrowser ? (
          <Act
            label={trans.__("Try again")}
            of={job}
            act={() => attempt(() => transfers.resume(job))}
          />
        ) : null}
        {hasEnded(job) ? (
          <Act
            label={trans.__("Clear")}
            of={job}
            act={() => attempt(() => transfers.forget(job))}
          />
        ) : (
          <Act
            label={trans.__("Cancel")}
            of={job}
            act={() => attempt(() => transfers.cancel(job))}
          />
        )}
      </div>
    </li>
  );
}

function Act({ label, of, act }: { label: string; of: Job; act: () => void }): React.JSX.Element {
  return (
    <button
      type="button"
      className="canfar-button"
      aria-label={`${label}: ${of.name}`}
      onClick={act}
    >
      {label}
    </button>
  );
}
