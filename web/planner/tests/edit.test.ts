import { expect, test } from "vitest";
import { addFailure, addNode, connect, describe as inWords, disconnect, removeNode, renameNode, setOption } from "../src/model/edit";
import { objection } from "../src/model/kinds";
import { layOut, NODE_HEIGHT, parseLayout } from "../src/model/layout";
import { PLAN, RULES } from "./plan";

test("a node that is added has a name of its own, and the plan before it is left as it was", () => {
  const before = structuredClone(PLAN);
  const { plan, id } = addNode(PLAN, "ws");
  expect(id).toBe("ws-2");
  expect(plan.topology.nodes).toHaveLength(4);
  expect(PLAN).toEqual(before);
});

test("a node that goes takes its edges and its failures along", () => {
  const plan = removeNode(PLAN, "ws");
  expect(plan.topology.edges).toEqual([{ from: "clients", to: "lb" }]);
  expect(plan.failures.scheduled).toEqual([]);
});

test("a name changes everywhere it is named", () => {
  const plan = renameNode(PLAN, "ws", "gate");
  expect(plan?.topology.edges).toContainEqual({ from: "lb", to: "gate" });
  expect(plan?.failures.scheduled[0]?.node).toBe("gate");
  for (const bad of ["lb", "clients", "", "Has Space", "x".repeat(80)]) expect(renameNode(PLAN, "ws", bad)).toBeNull();
});

test("only edges that make sense can be drawn", () => {
  const against = (from: string, to: string) => objection(RULES, PLAN.topology, from, to);
  expect(against("clients", "ws")).toBeNull();
  expect(against("clients", "postgres")).toContain("directly");
  expect(against("lb", "ws")).toContain("already");
  expect(against("ws", "ws")).toContain("itself");
  expect(against("postgres", "lb")).toContain("does not call");
  expect(against("ws", "clients")).toContain("clients");
  expect(against("ws", "gone")).toContain("no node");
});

test("a circle cannot be drawn", () => {
  const server = addNode(PLAN, "limiter").plan;
  const first = connect(RULES, server, "ws", "limiter");
  if ("objection" in first) throw new Error(first.objection);
  expect(connect(RULES, first.plan, "limiter", "ws")).toHaveProperty("objection");
});

test("an edge that was drawn can be taken away", () => {
  const joined = connect(RULES, PLAN, "clients", "ws");
  if ("objection" in joined) throw new Error(joined.objection);
  expect(disconnect(joined.plan, "clients", "ws").topology).toEqual(PLAN.topology);
});

test("options are set and unset; failures stay in order", () => {
  expect(setOption(PLAN, "ws", "drain", 30).topology.nodes[1]?.options).toEqual({ drain: 30 });
  const plan = addFailure(PLAN, { at_hour: 2, node: "postgres", what: { what: "failover" } });
  expect(plan.failures.scheduled.map((failure) => failure.at_hour)).toEqual([2, 10]);
});

test("who cannot see the picture hears it", () => {
  const [, ws] = PLAN.topology.nodes;
  if (!ws) throw new Error("no ws");
  expect(inWords(PLAN, ws)).toBe("ws: WS (Tidegate), 2 machines of c7g.medium, calls postgres");
});

test("what a hand has placed stays, the rest stands in columns", () => {
  const points = layOut(PLAN.topology, { ws: { x: 7, y: 9 } });
  expect(points.ws).toEqual({ x: 7, y: 9 });
  expect(points.lb?.x).toBeLessThan(points.postgres?.x ?? 0);
  expect(Object.keys(points)).toHaveLength(4);
});

test("a layout from outside is taken only as far as it is one", () => {
  const hostile = JSON.parse('{"ws":[1,2],"__proto__":[1,2],"a b":[1,2],"lb":["1",2],"far":[1e300,0],"nan":[null,0]}') as unknown;
  expect(parseLayout(hostile)).toEqual({ ws: { x: 1, y: 2 } });
  expect(parseLayout([1])).toEqual({});
  expect(parseLayout("x")).toEqual({});
});

test("an edge that passes a node's column does not run behind it", () => {
  const node = (id: string, kind: "ws" | "redis" | "postgres") => ({ ...PLAN.topology.nodes[0], id, kind }) as (typeof PLAN.topology.nodes)[number];
  const nodes = [node("ws", "ws"), node("redis", "redis"), node("postgres", "postgres")];
  const edges = [{ from: "clients", to: "ws" }, { from: "ws", to: "postgres" }, { from: "ws", to: "redis" }];
  const points = layOut({ nodes, edges }, {});
  expect(points.ws?.y).toBe(points.postgres?.y);
  expect(Math.abs((points.redis?.y ?? 0) - (points.ws?.y ?? 0))).toBeGreaterThan(NODE_HEIGHT / 2);
  expect(layOut({ nodes, edges: edges.slice(0, 1) }, {}).redis?.y).toBe(0);
});
