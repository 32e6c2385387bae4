// What charts need beyond the columns of a run: smoothing, ranges, which events were worst at a moment.

import { type Columns, type Ledger, type Run, STAGES, type Stage, type StationRun } from "../engine/answers";

/** An exponential mean over time: what is shown beside the raw line, so that a spike is told from a tide. */
export function smooth(values: readonly number[], hours: readonly number[], minutes = 5): number[] {
  const smoothed: number[] = [];
  let mean = values[0] ?? 0;
  let before = hours[0] ?? 0;
  values.forEach((value, at) => {
    const hour = hours[at] ?? before;
    const weight = at === 0 ? 1 : 1 - Math.exp(-((hour - before) * 60) / minutes);
    mean += (value - mean) * weight;
    before = hour;
    smoothed.push(mean);
  });
  return smoothed;
}

/** The place of the bin an hour falls in. */
export function placeOf(hours: readonly number[], hour: number): number {
  let [low, high] = [0, hours.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((hours[middle] ?? 0) < hour) low = middle + 1;
    else high = middle;
  }
  return Math.max(low, 0);
}

/** The slowest events within some minutes of an hour, slowest first; if there are none, those nearest to it. */
export function worstAt(worst: readonly Ledger[], hour: number, minutes = 15, count = 10): Ledger[] {
  const distance = (ledger: Ledger) => Math.abs(ledger.at_s / 3600 - hour) * 60;
  const near = worst.filter((ledger) => distance(ledger) <= minutes);
  const chosen = near.length > 0 ? near : [...worst].sort((a, b) => distance(a) - distance(b)).slice(0, count);
  return [...chosen].sort((a, b) => b.latency_s - a.latency_s).slice(0, count);
}

/** The stations, most loaded first, by their 99th-percentile minute: only so many lines can be read. */
export function loaded(stations: readonly StationRun[], count = 6): { station: StationRun; place: number }[] {
  return stations
    .map((station, place) => ({ station, place }))
    .sort((a, b) => b.station.busy_p99_minute - a.station.busy_p99_minute)
    .slice(0, count);
}

/** The utilisation of a node in a bin: that of its most loaded station. */
export function busyOf(run: Run, node: string, place: number): number | null {
  let busiest: number | null = null;
  run.stations.forEach((station, at) => {
    if (station.node !== node) return;
    busiest = Math.max(busiest ?? 0, run.columns.busy[at]?.[place] ?? 0);
  });
  return busiest;
}

/** The error budget at each bin: the share of it that is spent, over 1 when it is overdrawn. */
export function budgetSpent(columns: Columns, uptime: number): number[] {
  const all = columns.asked.at(-1) ?? 0;
  const allowed = all * (1 - uptime);
  return columns.bad.map((bad) => (allowed > 0 ? bad / allowed : bad > 0 ? Number.POSITIVE_INFINITY : 0));
}

/** The colour of a stage, wherever it is shown: degrees. */
export function stageHue(stage: Stage): number {
  return Math.round((STAGES.indexOf(stage) * 360) / STAGES.length + 190) % 360;
}

export interface Bar {
  label: string;
  total_s: number;
  parts: { stage: Stage; seconds: number }[];
}

/** The stages an event's time went to, for each class: scaled so that a bar is as long as its percentile. */
export function waitBars(run: Run): Bar[] {
  const bars: Bar[] = [];
  for (const each of run.classes) {
    const kinds = [
      ["p95", each.latency_s.p95, "near_p95_s"],
      ["p99 and above", each.latency_s.p99, "beyond_p99_s"],
    ] as const;
    for (const [label, total, key] of kinds) {
      const sum = each.waits.reduce((sum, wait) => sum + wait[key], 0);
      if (total === null || sum <= 0) continue;
      const parts = each.waits.filter((wait) => wait[key] > 0).map((wait) => ({ stage: wait.stage, seconds: (wait[key] / sum) * total }));
      bars.push({ label: `${each.name} ${label}`, total_s: total, parts });
    }
  }
  return bars;
}
