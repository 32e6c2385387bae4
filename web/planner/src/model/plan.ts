// What a plan file says, as the planner's engine hands it over: the names and units of `crates/plan/src/plan.rs`.
// Times are seconds, hours where the name says so; rates are per second; shares are 0 to 1.

export type Kind =
  | "lb"
  | "ws"
  | "server"
  | "postgres"
  | "replica"
  | "redis"
  | "stream"
  | "queue"
  | "worker"
  | "limiter"
  | "hosted";

export interface Plan {
  title: string;
  briefing: { text: string; hints: string[]; mistakes: string[] };
  seed: number;
  book: string;
  contract: Contract;
  scenario: Scenario;
  topology: Topology;
  failures: Failures;
  /** What was measured; the page only keeps it. */
  costs?: { name: string; measured: string | null; costs: Record<string, { low: number; mid: number; high: number }> }[];
}

export type Weigh = "user-minutes" | "requests" | "time";

export interface Contract {
  uptime: number;
  weigh: Weigh;
  latency: { class: string | null; percentile: number; within: number }[];
  budget: number;
  loss: number | null;
  reconnect: number | null;
  late_factor: number;
}

export interface Scenario {
  hours: number;
  users: { shape: string | null; points: [number, number][] };
  session: { law: string } & Record<string, unknown>;
  bursts: ({ kind: string } & Record<string, unknown>)[];
  classes: MessageClass[];
  abuse: number;
  slow_readers: number;
  slow_reader_rate: number;
  network_p50: number;
  network_p95: number;
  clients: Clients;
}

export interface MessageClass {
  name: string;
  rate: number;
  bytes: number;
  room: { law: string } & Record<string, unknown>;
  durable: boolean;
  coalescible: boolean;
  priority: number;
}

export type Jitter = "none" | "equal" | "full";

export interface Clients {
  backoff_first: number;
  backoff_max: number;
  jitter: Jitter;
  retries: number;
  retry_budget: number | null;
  timeout: number;
  patience: number;
}

export interface Topology {
  nodes: PlanNode[];
  edges: PlanEdge[];
}

export type OptionValue = number | boolean | string | null;

export interface PlanNode {
  id: string;
  kind: Kind;
  count: number;
  size: string;
  zones: number;
  options: Record<string, OptionValue>;
}

export interface PlanEdge {
  from: string;
  to: string;
}

/** Where an edge comes from that begins at the users. */
export const CLIENTS = "clients";

export interface Failures {
  scheduled: Failure[];
  crashes_per_year: number;
  deploys_per_week: number;
  common_cause: number;
}

export interface Failure {
  at_hour: number;
  node: string;
  what: Fault;
}

export type Fault =
  | { what: "crash"; machines: number; seconds: number | null }
  | { what: "zone"; seconds: number }
  | { what: "slow"; factor: number; seconds: number }
  | { what: "failover" }
  | { what: "deploy" }
  | { what: "cold" }
  | { what: "loss"; share: number; seconds: number }
  | { what: "kick"; factor: number; seconds: number };
