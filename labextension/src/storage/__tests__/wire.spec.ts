import { encoded, kindOf, pageOf, queryOf, takenOf, taskOf } from "../wire";

describe("addresses", () => {
  it("write any name of Linux, also one that is no UTF-8", () => {
    expect(encoded("a b/ü&=#?%")).toBe("a%20b%2F%C3%BC%26%3D%23%3F%25");
    expect(encoded("🔭.fits")).toBe("%F0%9F%94%AD.fits");
    expect(encoded("caf\udce9")).toBe("caf%e9");
    expect(encoded("\ud800")).toBe("%EF%BF%BD");
  });

  it("leave out what is not asked for", () => {
    expect(queryOf({ area: "home", path: "", filter: undefined, limit: 5 })).toBe(
      "area=home&path=&limit=5",
    );
  });
});

describe("answers", () => {
  it("become rows", () => {
    const page = pageOf({
      writable: true,
      generation: "7f3a.12",
      changed: false,
      total: 3,
      row: null,
      names: ["cal", "a.fits", "b"],
      types: "dfl",
      sizes: [4096, 10, 12],
      modified: [1, 2, 3],
      owners: ["ada"],
      groups: ["ada", "survey"],
      owner: [0, 0, 0],
      group: [0, 1, 1],
      links: { 2: "../x" },
    });
    expect(page.rows.map((row) => row.kind)).toEqual(["folder", "file", "file link"]);
    expect(page.rows[1]).toMatchObject({ owner: "ada", group: "survey", leads: "" });
    expect(page.rows[2]).toMatchObject({ leads: "../x", size: 12 });
  });

  it("of tasks say why they failed", () => {
    const task = taskOf({
      id: "t1",
      state: "failed",
      error: { message: "There is no cal in Home any more." },
      files: 0,
      folders: 0,
      bytes: 0,
      complete: true,
      hits: [{ path: "a/b", type: "k", size: 0, modified: 0 }],
      next: 1,
      more: false,
    });
    expect(task.why).toBe("There is no cal in Home any more.");
    expect(task.hits[0]?.kind).toBe("folder link");
    expect(kindOf("?")).toBe("gone");
  });
});

describe("refusals", () => {
  it("say which names are taken, where they do", () => {
    expect(takenOf({ code: "exists", names: ["a", "b"], more: 7 })).toEqual({
      names: ["a", "b"],
      more: 7,
    });
    expect(takenOf({ names: ["a"] })).toEqual({ names: ["a"], more: 0 });
    expect(takenOf({ names: ["a", 1], more: "7" })).toEqual({ names: ["a"], more: 0 });
    for (const body of [{}, { names: [] }, { names: "a" }, { names: null, more: 1 }]) {
      expect(takenOf(body)).toBeNull();
    }
  });
});
