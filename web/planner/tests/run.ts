// A run to test with: three minutes, the second of them bad.

import type { Run } from "../src/engine/answers";

const none = { count: 0, p50: null, p95: null, p99: null, p999: null };

// Of a single run nothing is known about chance.
const once = { interval: null, standing: "too-close", probability: null, runs: 1, runs_kept: 0, settle: null } as const;

export const RUN: Run = {
  fidelity: "hybrid",
  runs: 1,
  length_s: 180,
  sampled_share: 1,
  visits: 100,
  connected_max: 10,
  connects_failed: 0,
  verdict: "too-close",
  probability: null,
  confidence: 0.95,
  rare: [],
  clauses: [
    { what: "uptime", class: null, percentile: null, promised: 0.9, measured: 0.95, is_kept: true, ...once },
    { what: "latency", class: "chat", percentile: 0.95, promised: 0.1, measured: 0.125, is_kept: false, ...once },
    { what: "budget", class: null, percentile: null, promised: 100, measured: 400, is_kept: false, ...once },
    { what: "loss", class: null, percentile: null, promised: 0.01, measured: null, is_kept: true, ...once },
  ],
  columns: {
    hours: [1 / 60, 2 / 60, 3 / 60],
    wanted: [10, 10, 10],
    connected: [10, 5, 10],
    published: [1, 1, 1],
    delivered: [1, 1, 1],
    failed: [0, 0, 0],
    bad: [0, 60, 90],
    asked: [600, 1200, 1800],
    p50: [0.01, 0.02, 0.01],
    p95: [0.02, 0.5, 0.02],
    p99: [0.03, 0.9, 0.03],
    busy: [
      [0.2, 1, 0.2],
      [0.5, 0.6, 0.5],
    ],
    waiting: [
      [0, 40, 0],
      [1, 1, 1],
    ],
    machines: [
      [1, 1, 1],
      [1, 1, 1],
    ],
  },
  stations: [
    { name: "ws loops", node: "ws", stage: "fanout", visits: 1, refused: 0, timed_out: 0, busy_share: 0.4, busy_p99_minute: 0.9, busy_max_minute: 1, waiting_max: 40, memory_max: 0, wait_s: none },
    { name: "postgres", node: "postgres", stage: "engine", visits: 1, refused: 0, timed_out: 0, busy_share: 0.5, busy_p99_minute: 0.6, busy_max_minute: 0.6, waiting_max: 1, memory_max: 0, wait_s: none },
  ],
  classes: [
    {
      name: "chat",
      published: 3,
      failed: 0,
      retried: 0,
      delivered: 3,
      conflated: 0,
      lost: 0,
      late: 0,
      latency_s: { count: 3, p50: 0.01, p95: 0.125, p99: 0.9, p999: 0.9 },
      lag_s: none,
      waits: [
        { stage: "uplink", all_s: 3, near_p95_s: 1, beyond_p99_s: 0 },
        { stage: "fanout", all_s: 1, near_p95_s: 4, beyond_p99_s: 0 },
      ],
    },
  ],
  reconnect_s: none,
  bad: { disconnected_s: 60, refused_s: 0, late_s: 30 },
  wanted_s: 1800,
  worst: [
    { at_s: 60, class: 0, latency_s: 0.5, receivers: 10, stays: [] },
    { at_s: 70, class: 0, latency_s: 0.9, receivers: 10, stays: [] },
    { at_s: 90_000, class: 0, latency_s: 5, receivers: 10, stays: [] },
  ],
  marks: [
    { at_s: 80, what: "ws loses a machine" },
    { at_s: 170, what: "ws is back" },
  ],
  stacks: [],
  account: { allowed_min: 3, bad_min: 1.5, lines: [] },
  bill: null,
  unpriced: [],
  forked: null,
};
