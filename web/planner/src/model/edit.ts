// What a hand does to a plan: each function takes a plan and gives another; the first is left as it was.

import type { KindRules } from "../engine/answers";
import { KINDS, objection } from "./kinds";
import { CLIENTS, type Failure, type Fault, type Kind, type OptionValue, type Plan, type PlanNode } from "./plan";

/** Machines of one node, at most: as the file has it. */
export const COUNT_MAX = 10_000;

/** A new node is of the size its kind has by itself, unless one is named. */
export function addNode(plan: Plan, kind: Kind, size = ""): { plan: Plan; id: string } {
  const id = freeId(plan, kind);
  const node: PlanNode = { id, kind, count: 1, size, zones: 1, options: {} };
  return { plan: withNodes(plan, [...plan.topology.nodes, node]), id };
}

export function removeNode(plan: Plan, id: string): Plan {
  return {
    ...plan,
    topology: {
      nodes: plan.topology.nodes.filter((node) => node.id !== id),
      edges: plan.topology.edges.filter((edge) => edge.from !== id && edge.to !== id),
    },
    // A failure of a node that is gone could not be read back.
    failures: { ...plan.failures, scheduled: plan.failures.scheduled.filter((failure) => failure.node !== id) },
  };
}

export function changeNode(plan: Plan, id: string, change: Partial<Omit<PlanNode, "id" | "options">>): Plan {
  return withNodes(
    plan,
    plan.topology.nodes.map((node) => (node.id === id ? { ...node, ...change } : node)),
  );
}

/** Sets one option; null goes back to the kind's own. */
export function setOption(plan: Plan, id: string, name: string, value: OptionValue): Plan {
  return withNodes(
    plan,
    plan.topology.nodes.map((node) => (node.id === id ? { ...node, options: { ...node.options, [name]: value } } : node)),
  );
}

/** Renames a node wherever it is named; null if the name is taken or none. */
export function renameNode(plan: Plan, id: string, name: string): Plan | null {
  if (name === id) return plan;
  if (!/^[a-z][a-z0-9_-]{0,31}$/.test(name) || name === CLIENTS || plan.topology.nodes.some((node) => node.id === name)) return null;
  const renamed = (other: string) => (other === id ? name : other);
  return {
    ...plan,
    topology: {
      nodes: plan.topology.nodes.map((node) => ({ ...node, id: renamed(node.id) })),
      edges: plan.topology.edges.map((edge) => ({ from: renamed(edge.from), to: renamed(edge.to) })),
    },
    failures: { ...plan.failures, scheduled: plan.failures.scheduled.map((failure) => ({ ...failure, node: renamed(failure.node) })) },
  };
}

export function connect(rules: readonly KindRules[], plan: Plan, from: string, to: string): { plan: Plan } | { objection: string } {
  const against = objection(rules, plan.topology, from, to);
  if (against) return { objection: against };
  const { nodes, edges } = plan.topology;
  return { plan: { ...plan, topology: { nodes, edges: [...edges, { from, to }] } } };
}

export function disconnect(plan: Plan, from: string, to: string): Plan {
  const { nodes, edges } = plan.topology;
  return { ...plan, topology: { nodes, edges: edges.filter((edge) => edge.from !== from || edge.to !== to) } };
}

/** An incident, thrown in by hand. */
export function addFailure(plan: Plan, failure: Failure): Plan {
  const scheduled = [...plan.failures.scheduled, failure].sort((a, b) => a.at_hour - b.at_hour);
  return { ...plan, failures: { ...plan.failures, scheduled } };
}

export function removeFailure(plan: Plan, place: number): Plan {
  return { ...plan, failures: { ...plan.failures, scheduled: plan.failures.scheduled.filter((_, at) => at !== place) } };
}

/** The incidents a kind of node can have, each as it is thrown in. */
export function incidentsOf(kind: Kind): { label: string; fault: Fault }[] {
  const all: { label: string; fault: Fault; kinds?: Kind[] }[] = [
    { label: "one machine crashes", fault: { what: "crash", machines: 1, seconds: null } },
    { label: "a zone is lost for 10 min", fault: { what: "zone", seconds: 600 } },
    { label: "5 times as slow for 5 min", fault: { what: "slow", factor: 5, seconds: 300 } },
    { label: "fails over", fault: { what: "failover" }, kinds: ["postgres", "redis"] },
    { label: "is deployed", fault: { what: "deploy" }, kinds: ["ws", "server", "worker", "lb"] },
    { label: "goes cold", fault: { what: "cold" }, kinds: ["redis"] },
    { label: "links lose 5 % for 5 min", fault: { what: "loss", share: 0.05, seconds: 300 } },
    { label: "twice the publications for 30 s", fault: { what: "kick", factor: 2, seconds: 30 }, kinds: ["ws", "hosted"] },
  ];
  return all.filter((incident) => !incident.kinds || incident.kinds.includes(kind));
}

export function faultText(fault: Fault): string {
  switch (fault.what) {
    case "crash":
      return fault.machines === 1 ? "one machine crashes" : `${fault.machines} machines crash`;
    case "zone":
      return `a zone is lost for ${fault.seconds} s`;
    case "slow":
      return `${fault.factor} times as slow for ${fault.seconds} s`;
    case "failover":
      return "fails over";
    case "deploy":
      return "is deployed";
    case "cold":
      return "goes cold";
    case "loss":
      return `links lose ${fault.share * 100} % for ${fault.seconds} s`;
    case "kick":
      return `${fault.factor} times the publications for ${fault.seconds} s`;
  }
}

function freeId(plan: Plan, kind: Kind): string {
  const taken = new Set(plan.topology.nodes.map((node) => node.id));
  if (!taken.has(kind)) return kind;
  let number = 2;
  while (taken.has(`${kind}-${number}`)) number += 1;
  return `${kind}-${number}`;
}

function withNodes(plan: Plan, nodes: PlanNode[]): Plan {
  return { ...plan, topology: { ...plan.topology, nodes } };
}

/** Words for who cannot see the picture: what a node is, and whom it calls. */
export function describe(plan: Plan, node: PlanNode): string {
  const calls = plan.topology.edges.filter((edge) => edge.from === node.id).map((edge) => edge.to);
  const machines = node.count === 1 ? "one machine" : `${node.count} machines`;
  return `${node.id}: ${KINDS[node.kind].label}, ${machines}${node.size ? ` of ${node.size}` : ""}, calls ${calls.join(", ") || "nothing"}`;
}
