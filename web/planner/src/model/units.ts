// Numbers as people write and read them: "120 ms", "64 KiB", "99.9 %", "$860".

export type Unit = "time" | "bytes" | "share" | "count" | "number" | "rate" | "flag" | "text";

const TIMES: readonly [string, number][] = [
  ["us", 1e-6],
  ["ms", 1e-3],
  ["s", 1],
  ["min", 60],
  ["m", 60],
  ["h", 3600],
  ["d", 86_400],
];
const BYTES: readonly [string, number][] = [
  ["B", 1],
  ["KiB", 1024],
  ["MiB", 1024 ** 2],
  ["GiB", 1024 ** 3],
  ["KB", 1e3],
  ["MB", 1e6],
  ["GB", 1e9],
];

/** The number in a field, in the plan's own unit; or what is wrong with it. */
export function parseUnit(text: string, unit: Unit): { value: number } | { error: string } {
  const match = /^([+-]?[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Zµ%/]*)$/.exec(text.trim().replaceAll(",", ""));
  if (!match) return { error: `"${text.trim().slice(0, 40)}" is not a number` };
  const number = Number((match[1] ?? "").replaceAll("_", ""));
  const suffix = match[2] ?? "";
  if (!Number.isFinite(number) || number < 0) return { error: "it must be 0 or more" };
  if (unit === "time" || unit === "bytes") {
    const names = unit === "time" ? TIMES : BYTES;
    if (suffix === "") return unit === "bytes" ? { value: number } : { error: `say in what: ${number} ms, ${number} s, …` };
    const found = names.find(([name]) => name.toLowerCase() === suffix.toLowerCase().replace("µ", "u"));
    return found ? { value: round(number * found[1]) } : { error: `"${suffix}" is none of ${names.map(([name]) => name).join(", ")}` };
  }
  if (unit === "share") {
    const value = suffix === "%" ? round(number / 100) : number;
    if (suffix !== "%" && suffix !== "") return { error: "write a share as 5 % or 0.05" };
    return { value };
  }
  if (suffix !== "" && !(unit === "rate" && suffix === "/s")) return { error: `"${suffix}" has no place here` };
  if (unit === "count" && !Number.isInteger(number)) return { error: "it must be a whole number" };
  return { value: number };
}

/** A value of the plan, as a field shows it and `parseUnit` reads it. */
export function formatUnit(value: number, unit: Unit): string {
  if (unit === "time") return formatTime(value);
  if (unit === "bytes") return formatBytes(value);
  if (unit === "share") return `${trim(value * 100, 6)} %`;
  if (unit === "rate") return `${trim(value, 6)}/s`;
  return trim(value, 9);
}

/** Seconds in the largest unit that leaves them above 1. */
export function formatTime(seconds: number, digits = 4): string {
  if (seconds === 0) return "0 s";
  const shown = Math.abs(seconds);
  if (shown < 1e-3) return `${trim(seconds * 1e6, digits)} us`;
  if (shown < 1) return `${trim(seconds * 1e3, digits)} ms`;
  if (shown < 120) return `${trim(seconds, digits)} s`;
  if (shown < 7200) return `${trim(seconds / 60, digits)} min`;
  return `${trim(seconds / 3600, digits)} h`;
}

export function formatBytes(bytes: number): string {
  for (const [name, size] of [["GiB", 1024 ** 3], ["MiB", 1024 ** 2], ["KiB", 1024]] as const) {
    if (bytes >= size) return `${trim(bytes / size, 5)} ${name}`;
  }
  return `${trim(bytes, 6)} B`;
}

/** Share of a whole; more places near 1, where the nines are. */
export function formatShare(share: number): string {
  const percent = share * 100;
  if (percent > 99 && percent < 100) return `${trim(Math.floor(percent * 1e4) / 1e4, 7)} %`;
  return `${trim(percent, 3)} %`;
}

export function formatCount(value: number): string {
  const shown = Math.abs(value);
  if (shown >= 1e9) return `${trim(value / 1e9, 3)} G`;
  if (shown >= 1e6) return `${trim(value / 1e6, 3)} M`;
  if (shown >= 1e4) return `${trim(value / 1e3, 3)} k`;
  return trim(value, 4);
}

const SYMBOLS: Readonly<Record<string, string>> = { USD: "$", EUR: "€", GBP: "£" };

export function formatMoney(amount: number, currency = "USD"): string {
  const digits = Math.abs(amount) < 100 ? 2 : 0;
  const text = Math.abs(amount).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const symbol = SYMBOLS[currency];
  return `${amount < 0 ? "−" : ""}${symbol ?? ""}${text}${symbol ? "" : ` ${currency}`}`;
}

/** Hours of a run as day and clock: "d2 19:43" once it is longer than a day. */
export function formatClock(hours: number): string {
  const minutes = Math.round(hours * 60);
  const clock = `${String(Math.floor(minutes / 60) % 24).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
  const day = Math.floor(minutes / 1440);
  return day > 0 ? `day ${day + 1} ${clock}` : clock;
}

function trim(value: number, digits: number): string {
  if (!Number.isFinite(value)) return "∞";
  return String(Number(value.toPrecision(digits)));
}

// 120 ms is 0.12 s, not 0.12000000000000001.
function round(value: number): number {
  return Number(value.toPrecision(12));
}
