import type { StorageApi } from "../api";
import type { From } from "../folder";
import { StorageModel, type Remembered } from "../model";
import type { Area, Entry, Look, Page, Place, Row, Task, Usage } from "../shapes";

const AREAS: Area[] = [
  {
    id: "home",
    title: "Home",
    path: "/arc/home/ada",
    arc: "/arc/home/ada",
    contents: "home",
    persistence: "kept",
    writable: true,
  },
  {
    id: "projects",
    title: "Projects",
    path: "/arc/projects",
    arc: "/arc/projects",
    contents: "projects",
    persistence: "kept",
    writable: true,
  },
];

/** A session's server with a few folders. */
class Server {
  readonly folders: Record<string, string[]> = {
    "home/": ["cal", "m31"],
    "home/m31": ["a.fits", "b.fits", "c.fits"],
    "projects/": ["demo"],
    "projects/demo": [],
  };
  readonly usages: string[] = [];
  counted: Promise<Usage> = Promise.resolve({
    used: 1,
    limit: 2,
    free: 1,
    of: "quota",
    complete: true,
  });

  get api(): StorageApi {
    return {
      areas: () => Promise.resolve(AREAS),
      usage: (place: Place) => {
        this.usages.push(`${place.area}/${place.path}`);
        return this.counted;
      },
      entry: (place: Place): Promise<Entry> =>
        `${place.area}/${place.path}` in this.folders
          ? Promise.resolve({ ...place, kind: "folder" })
          : Promise.reject(new Error("There is no such folder.")),
      entryAt: (at: string): Promise<Entry> => {
        const path = at.replace("/arc/home/ada", "").replace(/^\//, "");
        const kind = `home/${path}` in this.folders ? "folder" : "file";
        return Promise.resolve({ area: "home", path, kind });
      },
      page: (place: Place, look: Look, from: From) => Promise.resolve(this.page(place, look, from)),
      search: (): Promise<Task> =>
        Promise.resolve({
          id: "t",
          state: "done",
          why: "",
          files: 5,
          folders: 2,
          bytes: 0,
          complete: true,
          hits: [{ path: "m31/a.fits", kind: "file", size: 1, modified: 0 }],
          next: 1,
          more: false,
        }),
    } as unknown as StorageApi;
  }

  page(place: Place, look: Look, from: From): Page {
    const all = this.folders[`${place.area}/${place.path}`] ?? [];
    const names = all.filter((name) => name.includes(look.filter));
    const rows = names.map((name): Row => ({
      name,
      kind: name.includes(".") ? "file" : "folder",
      size: 1,
      modified: 0,
      owner: "",
      group: "",
      leads: "",
    }));
    const found = from.around === undefined ? null : names.indexOf(from.around);
    const { length: total } = rows;
    return { generation: names.join(), changed: false, writable: true, total, found, rows };
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe("StorageModel", () => {
  let server: Server;
  let model: StorageModel;
  let kept: Remembered[];

  beforeEach(() => {
    server = new Server();
    kept = [];
    model = new StorageModel(server.api, (now) => kept.push(now));
    model.show(true);
  });

  afterEach(() => model.dispose());

  async function begun(last: Remembered | null = null): Promise<void> {
    model.begin(last);
    await vi.waitFor(() => expect(model.folder?.total).not.toBeNull());
    await vi.waitFor(() => expect(model.folder).not.toBeNull());
  }

  it("begins where one was, and at the first area where that is gone", async () => {
    await begun({ area: "home", path: "m31", sort: "size", descending: true });
    expect(model.place).toEqual({ area: "home", path: "m31" });
    expect(model.look).toMatchObject({ sort: "size", descending: true });
    model.dispose();
    model = new StorageModel(server.api, () => undefined);
    model.show(true);
    await begun({ area: "home", path: "gone", sort: "name", descending: false });
    expect(model.place).toEqual({ area: "home", path: "" });
  });

  it("goes into folders and out again, with the cursor where one came from", async () => {
    await begun();
    model.go({ area: "home", path: "m31" });
    await settled();
    expect(kept.at(-1)).toMatchObject({ area: "home", path: "m31" });
    model.up();
    await settled();
    expect(model.chosen()).toEqual(["m31"]);
    model.up();
    expect(model.place).toEqual({ area: "home", path: "" });
  });

  it("goes to what was typed: a folder, or the folder of a file", async () => {
    await begun();
    await model.goTo("/arc/home/ada/m31/b.fits");
    await settled();
    expect(model.place).toEqual({ area: "home", path: "m31" });
    expect(model.chosen()).toEqual(["b.fits"]);
  });

  it("marks rows one by one, in a stretch, and all", async () => {
    await begun();
    model.go({ area: "home", path: "m31" });
    await settled();
    model.toggle(0);
    model.toggle(2);
    expect(model.chosen()).toEqual(["a.fits", "c.fits"]);
    model.move(1);
    expect(model.chosen()).toEqual(["b.fits"]);
    model.move(2, true);
    expect(model.chosen()).toEqual(["b.fits", "c.fits"]);
    await model.markAll();
    expect(model.chosen()).toHaveLength(3);
  });

  it("narrows a folder and forgets that in the next", async () => {
    await begun();
    model.go({ area: "home", path: "m31" });
    model.filter("b");
    await settled();
    expect(model.folder?.total).toBe(1);
    model.up();
    expect(model.look.filter).toBe("");
  });

  it("asks how full a project is, and not the whole of them", async () => {
    await begun();
    model.go({ area: "projects", path: "demo" });
    await settled();
    expect(server.usages).toContain("projects/demo");
    expect(model.usage).toMatchObject({ limit: 2 });
  });

  it("asks how full an area is once, however long that takes", async () => {
    await begun();
    const before = server.usages.length;
    let answer: (usage: Usage) => void = () => undefined;
    server.counted = new Promise((resolve) => {
      answer = resolve;
    });
    model.go({ area: "projects", path: "demo" });
    model.go({ area: "projects", path: "demo" });
    await settled();
    expect(server.usages.slice(before)).toEqual(["projects/demo"]);
    answer({ used: 1, limit: 2, free: 1, of: "quota", complete: true });
    await settled();
    expect(model.usage).toMatchObject({ limit: 2 });
  });

  it("searches until it is told to go back", async () => {
    await begun();
    model.find("a.fits");
    await settled();
    expect(model.search?.hits).toHaveLength(1);
    expect(model.search?.done).toBe(true);
    model.find("");
    expect(model.search).toBeNull();
  });
});
