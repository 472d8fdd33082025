import { HIGHEST, MOST_ROWS, scrollTo, viewAt } from "../window";

const ROW = 28;

describe("viewAt", () => {
  it("draws a few more rows than are seen, each where it belongs", () => {
    const view = viewAt(60_000 * ROW, 500, ROW, 100_000);
    expect(view.first).toBeLessThan(60_000);
    expect(view.end).toBeGreaterThan(60_000 + 500 / ROW);
    expect(view.offset).toBe(view.first * ROW);
    expect(view.height).toBe(100_000 * ROW);
  });

  it("keeps to its limit of rows whatever the height", () => {
    for (const room of [28, 500, 2_000, 20_000]) {
      const view = viewAt(40_000, room, ROW, 100_000);
      expect(view.end - view.first).toBeLessThanOrEqual(MOST_ROWS);
    }
  });

  it("has nothing to draw of an empty list, and never more than there is", () => {
    expect(viewAt(0, 500, ROW, 0)).toMatchObject({ first: 0, end: 0, height: 0 });
    expect(viewAt(9_999, 500, ROW, 3)).toMatchObject({ end: 3 });
  });

  it("reaches the last row of a list that no browser could draw in full", () => {
    const total = 2_000_000;
    const bottom = viewAt(HIGHEST - 500, 500, ROW, total);
    expect(bottom.height).toBe(HIGHEST);
    expect(bottom.end).toBe(total);
    const lastRow = bottom.offset + (total - bottom.first) * ROW;
    expect(lastRow).toBeGreaterThan(HIGHEST - ROW);
    expect(lastRow).toBeLessThanOrEqual(HIGHEST + 1);
  });
});

describe("scrollTo", () => {
  it("moves no further than needed", () => {
    expect(scrollTo(5, 0, 10 * ROW, ROW, 100)).toBe(0);
    expect(scrollTo(10, 0, 10 * ROW, ROW, 100)).toBe(ROW);
    expect(scrollTo(2, 10 * ROW, 10 * ROW, ROW, 100)).toBe(2 * ROW);
  });

  it("shows the row that it was asked for in every list", () => {
    for (const total of [100, 100_000, 5_000_000]) {
      for (const index of [0, 1, Math.floor(total / 3), total - 1]) {
        const top = scrollTo(index, 0, 500, ROW, total);
        const view = viewAt(top, 500, ROW, total);
        expect(view.first).toBeLessThanOrEqual(index);
        expect(view.end).toBeGreaterThan(index);
        const at = view.offset + (index - view.first) * ROW - top;
        expect(at).toBeGreaterThan(-1);
        expect(at + ROW).toBeLessThan(501);
      }
    }
  });
});
