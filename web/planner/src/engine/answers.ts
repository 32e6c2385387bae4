// What is asked of the engine, and what it answers: the JSON of `crates/plan-web`.

import type { Kind, OptionValue, Plan } from "../model/plan";

export type Fidelity = "fluid" | "hybrid" | "exact";

export type Request =
  | { op: "parse"; text: string }
  | { op: "write"; plan: Plan }
  | { op: "kinds" }
  | { op: "lint"; text: string; today: string; with_pairs: boolean }
  | ({ op: "judge"; from?: { text: string; at_s: number } } & Judged)
  | ({ op: "why" } & Judged)
  | ({ op: "optimize"; text: string; margin: number } & Pick<Judged, "effort">);

/** A text, and how closely it is looked at: as the command line does if it is not said. */
interface Judged {
  text: string;
  effort?: Effort;
}

export interface Effort {
  fidelity?: Fidelity;
  runs_min?: number;
  runs_max?: number;
}

/** What is told while an answer takes long. */
export type Told<R extends Request> = R extends { op: "judge" }
  ? Judging
  : R extends { op: "why" }
    ? Judging | Explaining
    : R extends { op: "optimize" }
      ? Searching
      : never;

export interface Judging {
  told: "judging";
  runs: number;
  /** As far as is known by now. */
  wanted: number;
  clauses: Clause[];
  /** The first run, when it is made. */
  run: Run | null;
}

export interface Explaining {
  told: "explaining";
  part: "screen" | "pairs" | "kick";
  done: number;
  /** 0 while it is not known. */
  of: number;
}

/** A design that is being confirmed, or was. */
export interface Searching {
  told: "searching";
  design: number;
  monthly: number | null;
  runs: number;
  wanted: number;
  holds: boolean | null;
}

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
    : R extends { op: "lint" }
      ? Linted | Failed
    : R extends { op: "why" }
      ? Explained | Failed
      : R extends { op: "optimize" }
        ? Optimized | Failed
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
  /** Of each clause's interval. */
  confidence: number;
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
  /** Where those near each promised percentile were. */
  stacks: Stack[];
  account: Account;
  /** None where a price is missing: `unpriced` says of what. */
  bill: Bill | null;
  unpriced: string[];
  /** Beside the plan it was asked to go on from. */
  forked: Forked | null;
}

/** Pairs of runs of the same chance: those of the plan that was kept, and this plan's. */
export interface Forked {
  at_s: number;
  /** Why this plan could not take over there, so that both were run from their beginning; null where the past is shared. */
  unlike: string | null;
  pairs: (Promised & { before: number | null; after: number | null; interval: [number, number] | null })[];
}

export interface Stack {
  promise: Promised;
  latency_s: number;
  /** In the order of the way; they add up to the latency. */
  layers: { stage: Stage; node: string | null; seconds: number }[];
}

/** Where the error budget went, of one run on average. */
export interface Account {
  allowed_min: number;
  bad_min: number;
  lines: AccountLine[];
}

export interface AccountLine {
  what: string;
  node: string | null;
  is_chance: boolean;
  minutes: number;
  user_min: number;
  /** Of what was allowed: 1 is all of it. */
  budget_share: number;
  first_at_s: number;
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

export interface Promised {
  what: What;
  class: string | null;
  percentile: number | null;
  promised: number;
}

export interface Clause extends Promised {
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

/** What each clause owes to what. */
export interface Explained {
  clauses: (Promised & { standing: Verdict; sentence: string; causes: Cause[] })[];
  kick: { sentence: string; is_down_before: boolean; recovers_after_s: number | null } | null;
}

/** The clause with one thing, and without it, of the same chance. */
export interface Cause {
  words: string;
  before: number;
  after: number;
  gain: number;
  interval: [number, number] | null;
  would_hold: boolean;
  fidelity: Fidelity;
  /** The interval of the gain leaves out nothing at all. */
  is_proven: boolean;
}

export interface Optimized {
  currency: string;
  budget: number;
  given: Design;
  cheapest: Design | null;
  roomy: Design | null;
  /** Cheapest first; each holds more users than those before it. */
  frontier: Design[];
  steadiest: { design: number; regret: number; of_each: [number, number][]; worlds: number } | null;
  /** Dearest clause first. */
  binding: { clause: MeasuredPromise; relaxed: number; monthly: number; saves: number }[];
  rejected: { changes: Change[]; monthly: number; clause: MeasuredPromise; by_events: boolean; is_close: boolean }[];
  impossible: Impossible | null;
  /** The rate to one client at which it holds, and the design. */
  conflated: [number, Design] | null;
  trials: number;
  /** The files of the designs. */
  texts: { cheapest: string | null; roomy: string | null; conflated: string | null; frontier: string[] };
}

export type MeasuredPromise = Promised & { measured: number | null };

export interface Design {
  changes: Change[];
  monthly: number;
  clauses: MeasuredPromise[];
  /** Times the planned users it still holds; 0 if it does not hold those. */
  headroom: number;
  confirmed: boolean | null;
}

export interface Change {
  /** None of the clients. */
  node: string | null;
  what: string;
  from: string;
  to: string;
}

export type Impossible =
  | { why: "traffic"; lines: BillLine[]; nodes: number; floor: number }
  | { why: "too-dear"; monthly: number }
  | { why: "clause"; clause: MeasuredPromise }
  | { why: "unconfirmed" };

/** What the rules find, the gravest first. */
export interface Linted {
  findings: Finding[];
}

export interface Finding {
  /** `L01`, and its name. */
  rule: string;
  name: string;
  severity: "error" | "warning" | "note";
  /** The common mistake that it is a case of. */
  mistake: string | null;
  nodes: string[];
  class: string | null;
  keys: string[];
  evidence: string;
  fix: string;
}

export function isFailed(answer: object): answer is Failed {
  return "errors" in answer;
}
