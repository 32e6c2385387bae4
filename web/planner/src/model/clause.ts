// Clauses in words: what is promised, a figure of it, how it stands, and what would settle it.

import type { Clause, Promised, Verdict, What } from "../engine/answers";
import { formatCount, formatMoney, formatShare, formatTime } from "./units";

export const VERDICTS: Readonly<Record<Verdict, string>> = { holds: "HOLDS", breaks: "BREAKS", "too-close": "TOO CLOSE" };

/** The same clause of any run. */
export function clauseKey({ what, class: of, percentile }: Promised): string {
  return `${what} ${of} ${percentile}`;
}

/** "p95 of chat". */
export function clauseName(clause: Promised): string {
  switch (clause.what) {
    case "uptime":
      return "Uptime";
    case "latency": {
      const percentile = `p${Number(((clause.percentile ?? 0) * 100).toPrecision(4))}`;
      return clause.class ? `${percentile} of ${clause.class}` : percentile;
    }
    case "budget":
      return "Monthly bill";
    case "loss":
      return "Lost";
    case "reconnect":
      return "Back after a cut";
  }
}

/** A figure of a clause: "184 ms", "99.93 %", "$612". */
export function sayFigure(what: What, value: number | null, currency?: string): string {
  if (value === null) return "–";
  if (what === "uptime" || what === "loss") return formatShare(value);
  if (what === "budget") return formatMoney(value, currency);
  return formatTime(value, 3);
}

/** "at most 120 ms". */
export function sayPromise(promised: Promised, currency?: string): string {
  return `${promised.what === "uptime" ? "at least" : "at most"} ${sayFigure(promised.what, promised.promised, currency)}`;
}

/** "41.2 to 43.9 ms"; one figure where both ends are said the same. */
export function sayInterval(clause: Clause, currency?: string): string {
  if (clause.interval === null) return "";
  const [low, high] = clause.interval.map((end) => sayFigure(clause.what, end, currency)) as [string, string];
  return low === high ? low : `${low} to ${high}`;
}

/** A chance, never told as surer than runs can make it. */
export function sayChance(probability: number): string {
  if (probability > 0.99) return "> 99 %";
  if (probability < 0.01) return "< 1 %";
  return `${Math.round(probability * 100)} %`;
}

/** What would tell of a clause that is too close; empty of one that is not. */
export function saySettle(clause: Clause, currency?: string): string {
  if (!clause.settle) return "";
  const { runs, unknown } = clause.settle;
  const ways = [
    ...(runs === null ? [] : [`${formatCount(runs)} runs`]),
    ...(unknown === null
      ? []
      : [`measuring ${unknown.figure} (${unknown.source}): its range makes this ${sayFigure(clause.what, unknown.at_low, currency)} to ${sayFigure(clause.what, unknown.at_high, currency)}`]),
  ];
  if (ways.length === 0) return `${clauseName(clause)} is exactly at what was promised.`;
  return `${clauseName(clause)} would be settled by ${ways.join(", or by ")}.`;
}
