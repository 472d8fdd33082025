import { Folder, PAGE_ROWS, type From, type Pages } from "../folder";
import type { Look, Page, Row } from "../shapes";

const LOOK: Look = { sort: "name", descending: false, filter: "", hidden: false };
const PLACE = { area: "home", path: "m31" };

function row(index: number): Row {
  return {
    name: `f${index}`,
    kind: "file",
    size: index,
    modified: 0,
    owner: "",
    group: "",
    leads: "",
  };
}

/** A folder of numbered files, whose state and length tests change. */
class Numbered implements Pages {
  generation = "1";
  total = 100_000;
  broken: Error | null = null;
  readonly asked: { offset: number; generation: string }[] = [];

  page(_place: unknown, _look: unknown, from: From, signal?: AbortSignal): Promise<Page> {
    this.asked.push({ offset: from.offset, generation: from.generation });
    if (this.broken) {
      return Promise.reject(this.broken);
    }
    const end = Math.min(this.total, from.offset + from.limit);
    const rows: Row[] = [];
    for (let index = from.offset; index < end; index += 1) {
      rows.push(row(index));
    }
    const found = from.around === undefined ? null : Number(from.around.slice(1));
    const { generation, total } = this;
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(new Error("aborted")));
      queueMicrotask(() =>
        resolve({ generation, total, rows, found, changed: false, writable: true }),
      );
    });
  }
}

async function settled(folder: Folder): Promise<void> {
  for (let turn = 0; turn < 20 && folder.busy; turn += 1) {
    await Promise.resolve();
  }
}

describe("Folder", () => {
  let source: Numbered;
  let folder: Folder;

  beforeEach(() => {
    source = new Numbered();
    folder = new Folder(source, PLACE, LOOK);
  });

  it("fetches what is looked at, once", async () => {
    folder.ensure(60_000, 60_030);
    folder.ensure(60_001, 60_031);
    await settled(folder);
    expect(source.asked).toEqual([{ offset: 60_000, generation: "" }]);
    expect(folder.total).toBe(100_000);
    expect(folder.row(60_010)?.name).toBe("f60010");
    expect(folder.row(0)).toBeUndefined();
    expect(folder.find("f60010")).toBe(60_010);
    expect(await folder.locate("f99999")).toBe(99_999);
  });

  it("asks for the state of the folder that it shows", async () => {
    folder.ensure(0, 1);
    await settled(folder);
    folder.ensure(PAGE_ROWS, PAGE_ROWS + 1);
    expect(source.asked[1]).toEqual({ offset: PAGE_ROWS, generation: "1" });
  });

  it("does not put rows of two states beside each other", async () => {
    folder.ensure(0, 1);
    await settled(folder);
    source.generation = "2";
    source.total = 10;
    await folder.refresh(0, 10);
    expect(folder.total).toBe(10);
    expect(folder.row(11)).toBeUndefined();
    expect(folder.row(9)?.name).toBe("f9");
  });

  it("gives up pages that were scrolled past", async () => {
    folder.ensure(0, 30);
    folder.ensure(50_000, 50_030);
    await settled(folder);
    expect(folder.row(0)).toBeUndefined();
    expect(folder.row(50_000)?.name).toBe("f50000");
    expect(folder.error).toBeNull();
  });

  it("keeps what it has and says why it has no more; it asks again when it is told to", async () => {
    folder.ensure(0, 1);
    await settled(folder);
    source.broken = new Error("The session does not answer.");
    folder.ensure(PAGE_ROWS, PAGE_ROWS + 1);
    await settled(folder);
    expect(folder.error?.message).toBe("The session does not answer.");
    expect(folder.row(0)?.name).toBe("f0");
    folder.ensure(PAGE_ROWS, PAGE_ROWS + 1);
    expect(source.asked).toHaveLength(2);
    source.broken = null;
    await folder.refresh(PAGE_ROWS, PAGE_ROWS + 1);
    expect(folder.error).toBeNull();
    expect(folder.row(PAGE_ROWS)?.name).toBe(`f${PAGE_ROWS}`);
  });

  it("forgets what was looked at long ago", async () => {
    for (let page = 0; page < 60; page += 1) {
      folder.ensure(page * PAGE_ROWS, page * PAGE_ROWS + 1);
      await settled(folder);
    }
    expect(folder.row(0)).toBeUndefined();
    expect(folder.row(59 * PAGE_ROWS)).toBeDefined();
  });

  it("says nothing once it is closed", async () => {
    const told = vi.fn();
    folder.changed.connect(told);
    folder.ensure(0, 1);
    folder.dispose();
    await settled(folder);
    expect(told).not.toHaveBeenCalled();
  });
});
