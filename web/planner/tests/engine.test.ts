// The page's model against the engine it is built with: `make web` builds that first.

import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Answer, type Explained, type Explaining, isFailed, type Judging, type KindRules, type Request, type Run } from "../src/engine/answers";
import { Module } from "../src/engine/module";
import { clauseKey } from "../src/model/clause";
import { addNode, connect, incidentsOf, renameNode, setOption } from "../src/model/edit";
import { KIND_NAMES } from "../src/model/kinds";
import { optionsOf } from "../src/model/options";
import type { Plan } from "../src/model/plan";

const engine = new Module(new WebAssembly.Module(readFileSync(new URL("../src/engine/plan.wasm", import.meta.url))));
const ask = <R extends Request>(request: R) => engine.call(request) as Answer<R>;
const scenarios = new URL("../../../scenarios/", import.meta.url);
const files = readdirSync(scenarios).map((name) => ({ name, text: readFileSync(new URL(name, scenarios), "utf8") }));
const rules: KindRules[] = ask({ op: "kinds" });

function parse(text: string): Plan {
  const answer = ask({ op: "parse", text });
  if (isFailed(answer)) throw new Error(answer.errors.map((fault) => fault.message).join("; "));
  return answer.plan;
}

function empty(): Plan {
  const file = files.find((file) => file.name === "websocket-scaling-match.toml");
  const plan = parse(file?.text ?? "");
  return { ...plan, topology: { nodes: [], edges: [] }, failures: { ...plan.failures, scheduled: [] } };
}

test("every scenario is read, and written back as the same plan", () => {
  expect(files.length).toBeGreaterThanOrEqual(16);
  for (const { name, text } of files) {
    const plan = parse(text);
    const written = ask({ op: "write", plan });
    if (isFailed(written)) throw new Error(`${name}: ${written.errors[0]?.message}`);
    expect(written.plan, name).toEqual(plan);
    expect(written.missing, name).toEqual([]);
  }
});

test("the engine knows the palette's kinds, and no others", () => {
  expect(rules.map((rule) => rule.kind).sort()).toEqual([...KIND_NAMES].sort());
});

test("every option the inspector offers is one the engine takes for that kind", () => {
  const values = { time: 1, bytes: 65_536, share: 0.5, count: 3, number: 2, rate: 4, flag: true, text: "mine" };
  // Costs that are named have to be there.
  const { costs } = parse(`${files[0]?.text}\n[costs.mine]\nhandshake = "60us"\n`);
  expect(costs).toHaveLength(1);
  for (const kind of KIND_NAMES) {
    for (const option of optionsOf(kind)) {
      const { plan, id } = addNode({ ...empty(), ...(costs ? { costs } : {}) }, kind);
      const written = ask({ op: "write", plan: setOption(plan, id, option.name, values[option.unit]) });
      const problem = isFailed(written) ? written.errors[0]?.message : null;
      expect(problem, `${kind}.${option.name}`).toBeNull();
      if (!isFailed(written)) expect(written.plan.topology.nodes[0]?.options[option.name]).toBe(values[option.unit]);
    }
  }
});

test("no option is left out of the inspector", () => {
  const { plan, id } = addNode(empty(), "ws");
  const written = ask({ op: "write", plan });
  if (isFailed(written)) throw new Error("not written");
  const known = new Set(KIND_NAMES.flatMap((kind) => optionsOf(kind).map((option) => option.name)));
  const node = written.plan.topology.nodes.find((node) => node.id === id);
  expect(Object.keys(node?.options ?? {}).filter((name) => !known.has(name))).toEqual([]);
});

test("every incident that can be thrown in is one the engine takes", () => {
  for (const kind of KIND_NAMES) {
    for (const { label, fault } of incidentsOf(kind)) {
      const { plan, id } = addNode(empty(), kind);
      const written = ask({ op: "write", plan: { ...plan, failures: { ...plan.failures, scheduled: [{ at_hour: 1.5, node: id, what: fault }] } } });
      expect(isFailed(written) ? written.errors[0]?.message : null, `${kind} ${label}`).toBeNull();
    }
  }
});

test("a design drawn step by step is written at each of them, and runs at the end", () => {
  let plan = empty();
  for (const kind of ["lb", "ws", "postgres"] as const) plan = addNode(plan, kind).plan;
  for (const [from, to] of [["clients", "lb"], ["lb", "ws"], ["ws", "postgres"]] as const) {
    const joined = connect(rules, plan, from, to);
    if ("objection" in joined) throw new Error(joined.objection);
    plan = joined.plan;
    expect(isFailed(ask({ op: "write", plan }))).toBe(false);
  }
  const written = ask({ op: "write", plan: renameNode(plan, "ws", "gate") ?? plan });
  if (isFailed(written)) throw new Error("not written");
  expect(written.missing).toEqual([]);
  const run = ask({ op: "judge", text: written.text ?? "", effort: { fidelity: "fluid" } });
  if (isFailed(run)) throw new Error(run.errors[0]?.message);
  expect(run.columns.hours).toHaveLength(run.length_s / 60);
  expect(run.stations.map((station) => station.node)).toContain("gate");
  expect(run.unpriced).toEqual([]);
  expect(run.clauses.map((clause) => clause.what)).toContain("budget");
});

test("what is wrong with a text is told at its line, and junk is no trap", () => {
  const failed = ask({ op: "parse", text: 'title = "x"\nseed = -1\n' });
  expect(isFailed(failed) && failed.errors.some((fault) => fault.line === 2)).toBe(true);
  for (const junk of ["\u0000", "[".repeat(200_000), "a = 1\n".repeat(100_000)]) expect(isFailed(ask({ op: "parse", text: junk }))).toBe(true);
  expect(isFailed(engine.call({ op: "fly" }) as object)).toBe(true);
  expect(ask({ op: "kinds" })).toHaveLength(11);
});

test("a judge tells how far it is, and why is told of the same", () => {
  const text = files.find((file) => file.name === "live-document.toml")?.text ?? "";
  const effort = { fidelity: "hybrid", runs_min: 2, runs_max: 2 } as const;
  const told: Judging[] = [];
  const run = engine.call({ op: "judge", text, effort }, (at) => told.push(at as Judging)) as Run;
  expect(told.map(({ runs, wanted }) => [runs, wanted])).toEqual([[1, 2]]);
  expect(told[0]?.run?.columns.hours).toHaveLength(run.columns.hours.length);
  expect(run.runs).toBe(2);
  expect(run.stacks.length).toBeGreaterThan(0);
  const parts: Explaining[] = [];
  const why = engine.call({ op: "why", text, effort }, (at) => parts.push(at as Explaining)) as Explained;
  // It was judged before, and is not again.
  expect(new Set(parts.map(({ part }) => part))).toEqual(new Set(["screen", "pairs", "kick"]));
  expect(why.clauses.map(clauseKey)).toEqual(run.clauses.map(clauseKey));
});
