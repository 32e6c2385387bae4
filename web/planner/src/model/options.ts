// What can be set of a node: `Options` of `crates/plan/src/plan.rs`, each with its words, its unit and the kinds it is for.

import type { Kind } from "./plan";
import type { Unit } from "./units";

export interface OptionFacts {
  name: string;
  label: string;
  unit: Unit;
  /** Of all kinds if none is named. */
  kinds?: readonly Kind[];
}

const SCALES: readonly Kind[] = ["ws", "server", "replica", "worker"];

export const OPTIONS: readonly OptionFacts[] = [
  { name: "standby", label: "Standby in another zone", unit: "flag", kinds: ["postgres"] },
  { name: "failover", label: "From failure until it answers again", unit: "time", kinds: ["postgres"] },
  { name: "connections_max", label: "Connections it takes", unit: "count", kinds: ["postgres", "replica"] },
  { name: "pool", label: "Connections to Postgres, each machine", unit: "count", kinds: ["server", "worker"] },
  { name: "staleness_max", label: "Lag that reads may see", unit: "time", kinds: ["replica"] },
  { name: "partitions", label: "Partitions", unit: "count", kinds: ["stream", "hosted"] },
  { name: "poll", label: "Between two polls (0 s is push)", unit: "time", kinds: ["stream", "queue"] },
  { name: "visibility", label: "Until a job is given out again", unit: "time", kinds: ["queue"] },
  { name: "hit_rate", label: "Reads it answers when warm", unit: "share", kinds: ["redis"] },
  { name: "warm_up", label: "Until it is warm", unit: "time", kinds: ["redis"] },
  { name: "rate", label: "Publications of one user", unit: "rate", kinds: ["limiter"] },
  { name: "burst", label: "Burst of one user", unit: "number", kinds: ["limiter"] },
  { name: "counts_reconnects", label: "A reconnect counts as abuse", unit: "flag", kinds: ["limiter"] },
  { name: "drain", label: "A drain spreads its clients over", unit: "time", kinds: ["ws"] },
  { name: "resume_window", label: "A session may be resumed within", unit: "time", kinds: ["ws"] },
  { name: "rebalance", label: "Connections move to new machines", unit: "flag", kinds: ["ws"] },
  { name: "outbox_bytes", label: "Outbox of one session", unit: "bytes", kinds: ["ws"] },
  { name: "conflate_rate", label: "Conflate to, for one client (0 is as they come)", unit: "rate", kinds: ["ws"] },
  { name: "tokens", label: "Tokens are checked without the servers", unit: "flag", kinds: ["ws"] },
  { name: "lanes", label: "A lane for what has priority", unit: "flag", kinds: ["ws"] },
  { name: "handshakes_max", label: "Handshakes, each core", unit: "rate", kinds: ["ws"] },
  { name: "health_interval", label: "Between health checks", unit: "time", kinds: ["lb"] },
  { name: "health_failures", label: "Checks that must fail", unit: "count", kinds: ["lb"] },
  { name: "autoscale_max", label: "Scales up to, machines", unit: "count", kinds: SCALES },
  { name: "autoscale_target", label: "Utilisation it aims at", unit: "share", kinds: SCALES },
  { name: "autoscale_delay", label: "From load to decision", unit: "time", kinds: SCALES },
  { name: "boot", label: "A machine boots in", unit: "time", kinds: SCALES },
  { name: "waiting_max", label: "May wait at one machine", unit: "count" },
  { name: "service", label: "Mean time of one unit of work", unit: "time" },
  { name: "timeout", label: "Its caller gives up after", unit: "time" },
  { name: "retries", label: "Tries of the caller after the first", unit: "count" },
  { name: "retry_jitter", label: "Retries have jitter", unit: "flag" },
  { name: "retry_budget", label: "Retries for each success", unit: "share" },
  { name: "costs", label: "Measured costs", unit: "text" },
];

export function optionsOf(kind: Kind): OptionFacts[] {
  return OPTIONS.filter((option) => !option.kinds || option.kinds.includes(kind));
}
