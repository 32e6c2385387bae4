import { expect, test } from "vitest";
import { formatClock, formatCount, formatMoney, formatShare, formatUnit, parseUnit, type Unit } from "../src/model/units";

test("numbers are read in their units", () => {
  const cases: [string, Unit, number][] = [
    ["120 ms", "time", 0.12],
    ["1.5s", "time", 1.5],
    ["2 h", "time", 7200],
    ["64 KiB", "bytes", 65_536],
    ["200", "bytes", 200],
    ["99.9 %", "share", 0.999],
    ["0.05", "share", 0.05],
    ["3,400", "count", 3400],
    ["0.5/s", "rate", 0.5],
  ];
  for (const [text, unit, value] of cases) expect(parseUnit(text, unit), text).toEqual({ value });
});

test("what is no number of that unit is refused", () => {
  const cases: [string, Unit][] = [
    ["", "number"],
    ["fast", "time"],
    ["120", "time"],
    ["5 bananas", "time"],
    ["-1", "number"],
    ["1e999", "number"],
    ["NaN", "number"],
    ["5 of 100", "share"],
    ["2.5", "count"],
    ["4 ms", "count"],
  ];
  for (const [text, unit] of cases) expect(parseUnit(text, unit), text).toHaveProperty("error");
});

test("what is shown is read back as the same number", () => {
  const values: [number, Unit][] = [
    [0.12, "time"],
    [0.000_35, "time"],
    [90, "time"],
    [1200, "time"],
    [5_400, "time"],
    [86_400, "time"],
    [65_536, "bytes"],
    [200, "bytes"],
    [0.999, "share"],
    [0.9995, "share"],
    [0.02, "rate"],
    [3400, "count"],
    [0, "time"],
  ];
  for (const [value, unit] of values) expect(parseUnit(formatUnit(value, unit), unit), formatUnit(value, unit)).toEqual({ value });
});

test("numbers are short, and nines are not rounded up", () => {
  expect(formatShare(0.999_96)).toBe("99.996 %");
  expect(formatShare(0.999_999_99)).toBe("99.9999 %");
  expect(formatShare(1)).toBe("100 %");
  expect(formatMoney(859.6)).toBe("$860");
  expect(formatMoney(-4.5, "EUR")).toBe("−€4.50");
  expect(formatMoney(4.5, "CHF")).toBe("4.50 CHF");
  expect(formatCount(17_400)).toBe("17.4 k");
  expect(formatClock(43.5)).toBe("day 2 19:30");
  expect(formatClock(0.999)).toBe("01:00");
});
