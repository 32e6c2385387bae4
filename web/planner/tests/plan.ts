// A plan to test with: the smallest that has one of each thing the tests touch.

import type { KindRules } from "../src/engine/answers";
import type { Kind, Plan } from "../src/model/plan";

export const PLAN: Plan = {
  title: "Chat <for> a club & more",
  briefing: { text: "", hints: [], mistakes: [] },
  seed: 7,
  book: "aws-us-east-1",
  contract: {
    uptime: 0.999,
    weigh: "user-minutes",
    latency: [{ class: null, percentile: 0.95, within: 0.12 }],
    budget: 860,
    loss: null,
    reconnect: null,
    late_factor: 10,
  },
  scenario: {
    hours: 60,
    users: { shape: null, points: [[0, 220], [30, 3400]] },
    session: { law: "fixed", length: 600 },
    bursts: [],
    classes: [{ name: "chat", rate: 0.02, bytes: 200, room: { law: "fixed", size: 10 }, durable: true, coalescible: false, priority: 1 }],
    abuse: 0,
    slow_readers: 0,
    slow_reader_rate: 16384,
    network_p50: 0.02,
    network_p95: 0.04,
    clients: { backoff_first: 1, backoff_max: 30, jitter: "full", retries: 2, retry_budget: 0.1, timeout: 5, patience: 600 },
  },
  topology: {
    nodes: [
      { id: "lb", kind: "lb", count: 1, size: "", zones: 1, options: {} },
      { id: "ws", kind: "ws", count: 2, size: "c7g.medium", zones: 2, options: {} },
      { id: "postgres", kind: "postgres", count: 1, size: "db.t4g.medium", zones: 1, options: {} },
    ],
    edges: [
      { from: "clients", to: "lb" },
      { from: "lb", to: "ws" },
      { from: "ws", to: "postgres" },
    ],
  },
  failures: { scheduled: [{ at_hour: 10, node: "ws", what: { what: "crash", machines: 1, seconds: null } }], crashes_per_year: 1, deploys_per_week: 2, common_cause: 0.1 },
};

const rule = (kind: Kind, is_first: boolean, calls: Kind[]): KindRules => ({ kind, is_first, calls, what: "", fails: [], sizes: [] });

/** Enough of the engine's rules to draw that plan by. */
export const RULES: KindRules[] = [
  rule("lb", true, ["ws", "limiter"]),
  rule("limiter", true, ["ws"]),
  rule("ws", true, ["postgres", "limiter"]),
  rule("postgres", false, []),
];
