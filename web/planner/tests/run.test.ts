import { expect, test } from "vitest";
import { badSince, compare, postMortem, score } from "../src/model/score";
import { budgetSpent, busyOf, loaded, placeOf, smooth, waitBars, worstAt } from "../src/model/series";
import { RUN } from "./run";

test("a smoothed line follows slowly, and a constant stays one", () => {
  const hours = Array.from({ length: 120 }, (_, minute) => minute / 60);
  expect(smooth(hours.map(() => 0.5), hours)).toEqual(hours.map(() => 0.5));
  const step = smooth(hours.map((_, minute) => (minute < 60 ? 0 : 1)), hours);
  // One time constant of five minutes after the step it is 1 - 1/e there.
  expect(step[64]).toBeCloseTo(1 - Math.exp(-1), 6);
  expect(smooth([], [])).toEqual([]);
});

test("an hour finds its bin", () => {
  const hours = [1, 2, 3];
  expect([0, 1, 1.5, 3, 99].map((hour) => placeOf(hours, hour))).toEqual([0, 0, 1, 2, 2]);
  expect(placeOf([], 4)).toBe(0);
});

test("the worst events of a moment come first; far from any, the nearest do", () => {
  expect(worstAt(RUN.worst, 1 / 60).map((ledger) => ledger.latency_s)).toEqual([0.9, 0.5]);
  expect(worstAt(RUN.worst, 30, 15, 1).map((ledger) => ledger.latency_s)).toEqual([5]);
  expect(worstAt([], 1)).toEqual([]);
});

test("a node is as busy as its busiest station", () => {
  expect(busyOf(RUN, "ws", 1)).toBe(1);
  expect(busyOf(RUN, "gone", 1)).toBeNull();
  expect(loaded(RUN.stations, 1)[0]?.station.name).toBe("ws loops");
});

test("the error budget is what the contract allows of all that was asked", () => {
  expect(budgetSpent(RUN.columns, 0.9)).toEqual([0, 60 / (1800 * (1 - 0.9)), 90 / (1800 * (1 - 0.9))]);
  expect(budgetSpent(RUN.columns, 1)).toEqual([0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
});

test("a bar is as long as its percentile, and a percentile without events has none", () => {
  const bars = waitBars(RUN);
  expect(bars).toHaveLength(1);
  expect(bars[0]?.parts).toEqual([
    { stage: "uplink", seconds: 0.025 },
    { stage: "fanout", seconds: 0.1 },
  ]);
});

test("points: all for what is kept, half for what is missed by a quarter, none for four times too dear", () => {
  const { points, isKept, of } = score(RUN.clauses);
  expect(of.map((each) => each.points)).toEqual([25, 12.5, 0, 25]);
  expect(points).toBe(63);
  expect(isKept).toBe(false);
  expect(score([]).points).toBe(0);
});

test("who misses by a hair does not have all points", () => {
  const [, latency] = RUN.clauses;
  if (!latency) throw new Error("no latency");
  expect(score([{ ...latency, measured: 0.1 + 1e-9 }]).points).toBeLessThan(100);
});

test("the post-mortem names the worst minute, and what was there", () => {
  const found = postMortem(RUN);
  expect(found.firstBad).toBe(2 / 60);
  expect(found.worstMinute).toBe(2 / 60);
  expect(found.before).toEqual(["ws loses a machine"]);
  expect(found.loaded).toEqual({ name: "ws loops", node: "ws", busy: 1, waiting: 40 });
  expect(found.lostTo.map((each) => each.what)).toEqual(["not connected", "too late"]);
  expect(found.missed).toHaveLength(2);
});

test("a run in which nobody was worse off has no worst minute", () => {
  const calm = { ...RUN, columns: { ...RUN.columns, bad: [0, 0, 0] } };
  expect(postMortem(calm)).toMatchObject({ firstBad: null, worstMinute: null, before: [], loaded: null });
});

test("two runs are compared clause by clause, and from a moment on", () => {
  const after = { ...RUN, clauses: RUN.clauses.map((clause) => (clause.what === "latency" ? { ...clause, measured: 0.05 } : clause)) };
  expect(compare(RUN, after)[1]).toMatchObject({ before: 0.125, after: 0.05 });
  expect(badSince(RUN, 0)).toBe(1.5);
  expect(badSince(RUN, 3 / 60)).toBe(0.5);
});
