// What is asked of the engine, and what it answers: the JSON of `crates/plan-web`.

import type { Kind, OptionValue, Plan } from "../model/plan";

export type Fidelity = "fluid" | "hybrid" | "exact";

export type Request =
  | { op: "parse"; text: string }
  | { op: "write"; plan: Plan }
  | { op: "kinds" }
  | { op: "run"; text: string; fidelity: Fidelity; replications: number; visits: number };

/** What is wrong with a text, and where. Lines and columns count from 1. */
export interface Fault {
  line: number | null;
  column: number | null;
  message: string;
}

/** A text and its plan, in step. */
export interface Document {
  plan: Plan;
  /** Only after a plan was written. */
  text: string | null;
  /** What it lacks before it can run: a topology that is being drawn. */
  missing: Fault[];
  /** What counts for each node where its options are not set, by its id. */
  defaults: Record<string, Record<string, OptionValue>>;
}

/** What the engine knows of a kind of nodes. */
export interface KindRules {
  kind: Kind;
  what: string;
  fails: string[];
  calls: Kind[];
  is_first: boolean;
  /** The first is its own. */
  sizes: { name: string; cores: number | null; memory_bytes: number | null }[];
}

export type Failed = { errors: Fault[] };

export type Answer<R extends Request> = R extends { op: "parse" | "write" }
  ? Document | Failed
  : R extends { op: "kinds" }
    ? KindRules[]
    : Run | Failed;

export interface Run {
  fidelity: Fidelity;
  runs: number;
  length_s: number;
  sampled_share: number;
  visits: number;
  connected_max: number;
  connects_failed: number;
  verdict: Verdict;
  /** That all clauses hold; none of a single run. */
  probability: number | null;
  clauses: Clause[];
  rare: Rare[];
  columns: Columns;
  stations: StationRun[];
  classes: ClassRun[];
  reconnect_s: Percentiles;
  bad: { disconnected_s: number; refused_s: number; late_s: number };
  wanted_s: number;
  worst: Ledger[];
  marks: Mark[];
  /** What it costs, and what the rules say: of an engine that knows prices and rules. */
  /** None where a price is missing: `unpriced` says of what. */
  bill: Bill | null;
  unpriced: string[];
  findings?: Finding[];
}

export type Verdict = "holds" | "breaks" | "too-close";

/** A failure by chance, forced once at the busiest moment. */
export interface Rare {
  node: number | null;
  what: string;
  per_run: number;
  uptime_cost: number;
}

/** What would tell of a clause that is too close. */
export interface Settle {
  runs: number | null;
  unknown: Unknown | null;
}

/** A figure of the model that is not known exactly, and the clause at its ends. */
export interface Unknown {
  figure: string;
  unit: string;
  low: number;
  mid: number;
  high: number;
  source: string;
  at_low: number;
  at_high: number;
  turns: boolean;
}

export type What = "uptime" | "latency" | "budget" | "loss" | "reconnect";

export interface Clause {
  what: What;
  class: string | null;
  percentile: number | null;
  promised: number;
  measured: number | null;
  is_kept: boolean;
  /** None of a single run. */
  interval: [number, number] | null;
  standing: Verdict;
  probability: number | null;
  runs: number;
  runs_kept: number;
  settle: Settle | null;
}

/** One number a minute, or a bin of minutes. */
export interface Columns {
  hours: number[];
  wanted: number[];
  connected: number[];
  published: number[];
  delivered: number[];
  failed: number[];
  bad: number[];
  asked: number[];
  p50: number[];
  p95: number[];
  p99: number[];
  busy: number[][];
  waiting: number[][];
  machines: number[][];
}

export interface Percentiles {
  count: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  p999: number | null;
}

export interface StationRun {
  name: string;
  node: string;
  stage: Stage;
  visits: number;
  refused: number;
  timed_out: number;
  busy_share: number;
  busy_p99_minute: number;
  busy_max_minute: number;
  waiting_max: number;
  memory_max: number;
  wait_s: Percentiles;
}

export interface ClassRun {
  name: string;
  published: number;
  failed: number;
  retried: number;
  delivered: number;
  conflated: number;
  lost: number;
  late: number;
  latency_s: Percentiles;
  lag_s: Percentiles;
  waits: { stage: Stage; all_s: number; near_p95_s: number; beyond_p99_s: number }[];
}

export const STAGES = [
  "uplink",
  "lb",
  "admit",
  "work",
  "engine",
  "cache",
  "bus",
  "poll",
  "fanout",
  "outbox",
  "downlink",
  "backoff",
  "reconnect",
] as const;
export type Stage = (typeof STAGES)[number];

export interface Ledger {
  at_s: number;
  class: number;
  latency_s: number;
  receivers: number;
  stays: Stay[];
}

export interface Stay {
  stage: Stage;
  station: number | null;
  waited_s: number;
  served_s: number;
  ahead: number;
}

export interface Mark {
  at_s: number;
  what: string;
}

export interface Bill {
  currency: string;
  /** The price book, and of when it is. */
  book: string;
  as_of: string;
  /** A month. */
  total: number;
  lines: BillLine[];
}

export interface BillLine {
  /** None of what belongs to the whole. */
  node: string | null;
  what: string;
  quantity: number;
  unit: string;
  rate: number;
  amount: number;
  provenance: "primary" | "secondary" | "assumed";
  source: string;
}

export interface Finding {
  rule: string;
  title: string;
  evidence: string;
  fix: string;
  nodes: string[];
}

export function isFailed(answer: object): answer is Failed {
  return "errors" in answer;
}
