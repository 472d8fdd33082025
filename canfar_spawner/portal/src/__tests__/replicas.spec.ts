import { describe, expect, it } from "vitest";
import type { Row } from "../rows";
import { grouped, tally } from "../replicas";

let made = 0;

function job(name: string, replica?: number, more: Partial<Row> = {}): Row {
  made += 1;
  return {
    id: `j${String(made).padStart(7, "0")}`,
    name: replica === undefined ? name : `${name}-${replica}`,
    type: "headless",
    status: "Running",
    state: "Running",
    title: "AstroML",
    version: "26.10",
    asked: `2026-11-30T00:00:${String(made % 60).padStart(2, "0")}Z`,
    expiryTime: "2026-12-14T00:00:00Z",
    connectURL: "",
    shares: 0,
    ...(replica === undefined ? {} : { replicaOf: name, replica }),
    ...more,
  };
}

describe("jobs that were asked for together", () => {
  it("are one group, in the order of their numbers whatever came first", () => {
    const rows = [job("sim", 10), job("sim", 2), job("sim", 1)];
    const [group, ...others] = grouped(rows);
    expect(others).toEqual([]);
    expect(group?.name).toBe("sim");
    expect(group?.jobs.map((row) => row.name)).toEqual(["sim-1", "sim-2", "sim-10"]);
  });

  it("are another group where somebody asked for the same once more, the newest first", () => {
    const first = [job("sim", 1), job("sim", 2), job("sim", 3)];
    const again = [job("sim", 1), job("sim", 2)];
    const groups = grouped([...again, ...first]);
    expect(groups.map((group) => group.jobs.length)).toEqual([2, 3]);
    expect(groups[1]?.key).toBe(first[0]?.id);
  });

  it("keep their key while more of them come", () => {
    const rows = [job("sim", 1)];
    const [before] = grouped(rows);
    rows.push(job("sim", 2));
    expect(grouped(rows)[0]?.key).toBe(before?.key);
  });

  it("are apart where name or version differ, and where a job is alone", () => {
    const rows = [job("a", 1), job("b", 1), job("a", 2, { version: "26.05" }), job("c"), job("c")];
    expect(grouped(rows)).toHaveLength(5);
  });
});

describe("the tally of a group", () => {
  it("counts each job once", () => {
    const states = [
      "Completed",
      "Completed",
      "Failed",
      "Running",
      "Terminating",
      "Pending",
      "Unknown",
    ];
    const found = tally(states.map((state, number) => job("sim", number + 1, { state })));
    expect(found).toEqual({ done: 2, failed: 1, running: 2, waiting: 2, total: 7 });
    expect(found.done + found.failed + found.running + found.waiting).toBe(found.total);
  });
});
