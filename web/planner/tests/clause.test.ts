import { expect, test } from "vitest";
import type { Clause } from "../src/engine/answers";
import { clauseName, sayChance, sayFigure, sayInterval, sayPromise, saySettle } from "../src/model/clause";
import { sayChange, sayHeadroom } from "../src/model/design";

const clause: Clause = {
  what: "latency",
  class: "chat",
  percentile: 0.95,
  promised: 0.12,
  measured: 0.1184,
  is_kept: true,
  interval: [0.1152, 0.1216],
  standing: "too-close",
  probability: 0.81,
  runs: 32,
  runs_kept: 20,
  settle: { runs: 140, unknown: null },
};

test("a clause is said with its figure, its promise and its interval", () => {
  expect(clauseName(clause)).toBe("p95 of chat");
  expect(sayFigure("latency", clause.measured)).toBe("118 ms");
  expect(sayPromise(clause)).toBe("at most 120 ms");
  expect(sayInterval(clause)).toBe("115 ms to 122 ms");
  expect(sayInterval({ ...clause, interval: [0.115, 0.115] })).toBe("115 ms");
  expect(sayInterval({ ...clause, interval: null })).toBe("");
  expect(sayPromise({ what: "uptime", class: null, percentile: null, promised: 0.999 })).toBe("at least 99.9 %");
  expect(sayFigure("budget", 612.4, "USD")).toBe("$612");
  expect(sayFigure("loss", null)).toBe("–");
});

test("no chance is told as surer than runs can make it", () => {
  expect([0, 0.004, 0.81, 0.994, 1].map(sayChance)).toEqual(["< 1 %", "< 1 %", "81 %", "> 99 %", "> 99 %"]);
});

test("what is too close says what would settle it", () => {
  expect(saySettle(clause)).toBe("p95 of chat would be settled by 140 runs.");
  const unknown = { figure: "worker.job", unit: "s", low: 0.02, mid: 0.05, high: 0.2, source: "assumed", at_low: 0.08, at_high: 0.19, turns: true };
  expect(saySettle({ ...clause, settle: { runs: 140, unknown } })).toBe(
    "p95 of chat would be settled by 140 runs, or by measuring worker.job (assumed): its range makes this 80 ms to 190 ms.",
  );
  expect(saySettle({ ...clause, settle: { runs: null, unknown: null } })).toContain("exactly at what was promised");
  expect(saySettle({ ...clause, settle: null })).toBe("");
});

test("a design is said by what is changed, and for how many users it is good", () => {
  expect(sayChange({ node: "ws", what: "count", from: "1", to: "2" })).toBe("ws: count 1 → 2");
  expect(sayChange({ node: "ws", what: "resume_window", from: "", to: "2min" })).toBe("ws: resume window 2min");
  expect(sayChange({ node: "bus", what: "added", from: "", to: "1 x redis" })).toBe("bus: added, 1 x redis");
  expect(sayChange({ node: null, what: "clients", from: "", to: "longer waits" })).toBe("the clients: longer waits");
  expect([0, 1.25, 4].map(sayHeadroom)).toEqual([
    "does not hold the planned users",
    "holds up to 1.25 times the planned users",
    "holds 4 times the planned users, at least",
  ]);
});
