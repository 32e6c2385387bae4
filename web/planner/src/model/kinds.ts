// The kinds of nodes as the palette offers them: what each is for, and where in the picture it stands.
//
// Whom each may call is the engine's to say; with its rules a wrong edge is refused while it is drawn.

import type { KindRules } from "../engine/answers";
import { CLIENTS, type Kind, type Topology } from "./plan";

export interface KindFacts {
  label: string;
  /** One line for the palette and for who cannot see the picture. */
  does: string;
  /** The icon: a path in a square of 24. */
  icon: string;
  /** Its column when the picture is laid out, from the clients' 0. */
  column: number;
}

export const KINDS: Readonly<Record<Kind, KindFacts>> = {
  lb: {
    label: "Load balancer",
    does: "spreads connections over machines",
    icon: "M12 3v6m0 0-7 5m7-5 7 5M3 14h4v5H3zm7 0h4v5h-4zm7 0h4v5h-4zM12 9v5",
    column: 1,
  },
  limiter: {
    label: "Rate limiter",
    does: "refuses who publishes too much",
    icon: "M4 17a8 8 0 1 1 16 0M12 17l4-6M3 20h18",
    column: 1,
  },
  ws: {
    label: "WS (Tidegate)",
    does: "holds the connections and fans out",
    icon: "M3 16q4.5-8 9 0t9 0M3 10q4.5-8 9 0t9 0",
    column: 2,
  },
  hosted: {
    label: "Hosted service",
    does: "a real-time service someone else runs, in place of WS",
    icon: "M7 18a4 4 0 0 1 0-8 5 5 0 0 1 9.6-1.500A4.5 4.5 0 0 1 17 18z",
    column: 2,
  },
  server: {
    label: "Server",
    does: "the application's own work",
    icon: "M4 4h16v6H4zm0 10h16v6H4zM7 7h.01M7 17h.01",
    column: 3,
  },
  redis: {
    label: "Redis",
    does: "a cache, and a bus between WS nodes",
    icon: "M12 3 3 7l9 4 9-4zM3 12l9 4 9-4M3 17l9 4 9-4",
    column: 3,
  },
  stream: {
    label: "Stream",
    does: "ordered partitions that are kept",
    icon: "M3 7h13m0 0-3-3m3 3-3 3M3 17h18m0 0-3-3m3 3-3 3",
    column: 4,
  },
  queue: {
    label: "Queue",
    does: "jobs for workers, each until it is acknowledged",
    icon: "M3 8h4v8H3zm7 0h4v8h-4zm7 0h4v8h-4z",
    column: 4,
  },
  worker: {
    label: "Worker",
    does: "does the jobs of a queue or a stream",
    icon: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zm0-5v3m0 12v3M3 12h3m12 0h3M5.6 5.600l2.2 2.200m8.4 8.4 2.2 2.200m0-12.8-2.2 2.200m-8.4 8.4-2.2 2.2",
    column: 5,
  },
  postgres: {
    label: "Postgres",
    does: "the database that is written to",
    icon: "M4 6c0-4 16-4 16 0v12c0 4-16 4-16 0zm0 0c0 4 16 4 16 0M4 12c0 4 16 4 16 0",
    column: 6,
  },
  replica: {
    label: "Replica",
    does: "a copy of the database that is read",
    icon: "M4 9c0-3 12-3 12 0v9c0 3-12 3-12 0zm0 0c0 3 12 3 12 0M8 4c3-1.5 12-1 12 2v9",
    column: 6,
  },
};

export const KIND_NAMES = Object.keys(KINDS) as Kind[];

/** Why `from` may not call `to`; null if it may. */
export function objection(rules: readonly KindRules[], { nodes, edges }: Topology, from: string, to: string): string | null {
  const kindOf = (id: string) => nodes.find((node) => node.id === id)?.kind;
  const target = kindOf(to);
  if (to === CLIENTS) return "nothing calls the clients: what is sent to them goes back by the same way";
  if (!target) return `there is no node ${to}`;
  if (from === to) return "a node does not call itself";
  if (edges.some((edge) => edge.from === from && edge.to === to)) return `${from} calls ${to} already`;
  const ruleOf = (kind: Kind) => rules.find((rule) => rule.kind === kind);
  if (from === CLIENTS) return ruleOf(target)?.is_first ? null : `clients do not reach a ${KINDS[target].label} directly`;
  const source = kindOf(from);
  if (!source) return `there is no node ${from}`;
  if (!ruleOf(source)?.calls.includes(target)) return `a ${KINDS[source].label} does not call a ${KINDS[target].label}`;
  return reaches(edges, to, from) ? `${to} calls ${from} already, by some way: that would be a circle` : null;
}

function reaches(edges: readonly { from: string; to: string }[], start: string, goal: string): boolean {
  const seen = new Set<string>();
  const open = [start];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (at === goal) return true;
    if (seen.has(at)) continue;
    seen.add(at);
    for (const edge of edges) if (edge.from === at) open.push(edge.to);
  }
  return false;
}
