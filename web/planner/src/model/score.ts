// What a run is worth, and what is to be learnt from it.
//
// The score: 100 points, shared evenly among the clauses of the contract. A clause that is kept gives all its points; one
// that is missed by half or more gives none, in between by how far. Uptime is measured by its error budget: twice the budget
// spent is missed by all of it. Whoever keeps all has 100, and can only be cheaper.

import type { Clause, Run } from "../engine/answers";
import { placeOf } from "./series";

export interface Score {
  points: number;
  isKept: boolean;
  of: { clause: Clause; points: number; max: number }[];
}

export function score(clauses: readonly Clause[]): Score {
  const max = clauses.length > 0 ? 100 / clauses.length : 0;
  const of = clauses.map((clause) => ({ clause, max, points: max * worth(clause) }));
  return {
    points: Math.round(of.reduce((sum, each) => sum + each.points, 0)),
    isKept: clauses.every((clause) => clause.is_kept),
    of,
  };
}

function worth(clause: Clause): number {
  if (clause.is_kept || clause.measured === null) return 1;
  // How much of what was allowed was used: 1 is all of it.
  const used = clause.what === "uptime" ? (1 - clause.measured) / (1 - clause.promised) : clause.measured / clause.promised;
  const reach = clause.what === "uptime" ? 1 : 0.5;
  if (!Number.isFinite(used)) return 0;
  return Math.min(0.99, Math.max(0, 1 - (used - 1) / reach));
}

export interface PostMortem {
  missed: Clause[];
  /** The first minute in which users were worse off, and the worst. */
  firstBad: number | null;
  worstMinute: number | null;
  /** What happened within the ten minutes before the worst one. */
  before: string[];
  /** The most loaded station in the worst minute. */
  loaded: { name: string; node: string; busy: number; waiting: number } | null;
  lostTo: { what: string; share: number }[];
}

/** What the run shows. It names what was there, not what it was because of: for that, a run without it would be needed. */
export function postMortem(run: Run): PostMortem {
  const { columns } = run;
  const fresh = columns.bad.map((bad, at) => bad - (columns.bad[at - 1] ?? 0));
  const first = fresh.findIndex((bad) => bad > 0);
  let worst = -1;
  fresh.forEach((bad, at) => {
    if (bad > (worst < 0 ? 0 : (fresh[worst] ?? 0))) worst = at;
  });
  const worstMinute = worst < 0 ? null : (columns.hours[worst] ?? null);
  const bad = [
    { what: "not connected", share: run.bad.disconnected_s },
    { what: "refused or failed", share: run.bad.refused_s },
    { what: "too late", share: run.bad.late_s },
  ];
  const all = bad.reduce((sum, each) => sum + each.share, 0);
  return {
    missed: run.clauses.filter((clause) => !clause.is_kept),
    firstBad: first < 0 ? null : (columns.hours[first] ?? null),
    worstMinute,
    before:
      worstMinute === null
        ? []
        : run.marks.filter((mark) => mark.at_s / 3600 <= worstMinute && mark.at_s / 3600 > worstMinute - 1 / 6).map((mark) => mark.what),
    loaded: worstMinute === null ? null : loadedAt(run, placeOf(columns.hours, worstMinute)),
    lostTo: all > 0 ? bad.filter((each) => each.share > 0).map((each) => ({ ...each, share: each.share / all })) : [],
  };
}

function loadedAt(run: Run, place: number): PostMortem["loaded"] {
  let most: PostMortem["loaded"] = null;
  run.stations.forEach((station, at) => {
    const busy = run.columns.busy[at]?.[place] ?? 0;
    if (!most || busy > most.busy) most = { name: station.name, node: station.node, busy, waiting: run.columns.waiting[at]?.[place] ?? 0 };
  });
  return most;
}

export interface Delta {
  clause: Clause;
  before: number | null;
  after: number | null;
}

/** Two runs of the same seed, clause by clause: the same users, bursts and failures, so the difference is the design's. */
export function compare(before: Run, after: Run): Delta[] {
  const key = (clause: Clause) => `${clause.what} ${clause.class} ${clause.percentile}`;
  return after.clauses.map((clause) => ({
    clause,
    before: before.clauses.find((other) => key(other) === key(clause))?.measured ?? null,
    after: clause.measured,
  }));
}

/** User-minutes that were bad from an hour on. */
export function badSince(run: Run, hour: number): number {
  const { bad, hours } = run.columns;
  const from = placeOf(hours, hour);
  return ((bad.at(-1) ?? 0) - (from > 0 ? (bad[from - 1] ?? 0) : 0)) / 60;
}
