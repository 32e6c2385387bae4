import { expect, test } from "vitest";
import { layOut } from "../src/model/layout";
import { draw } from "../src/model/svg";
import { PLAN } from "./plan";

const colours = { ground: "#fff", card: "#fff", line: "#888", ink: "#000", soft: "#444", tide: "#066" };

test("the picture has every node and every edge, and its text is only text", () => {
  const { svg, width, height } = draw(PLAN, layOut(PLAN.topology, {}), colours);
  expect(svg.match(/<rect /g)).toHaveLength(1 + 4);
  expect(svg.match(/marker-end/g)).toHaveLength(3);
  expect(svg).toContain("Chat &lt;for&gt; a club &amp; more");
  expect(svg).not.toContain("<for>");
  expect(width).toBeGreaterThan(700);
  expect(height).toBeGreaterThan(100);
});

test("a title that is no XML does not break it", () => {
  const { svg } = draw({ ...PLAN, title: "a\u0000b]]></svg><script>" }, layOut(PLAN.topology, {}), colours);
  expect(svg).toContain("ab]]&gt;&lt;/svg&gt;&lt;script&gt;");
});

test("an empty topology is a picture, too", () => {
  const plan = { ...PLAN, topology: { nodes: [], edges: [] } };
  expect(draw(plan, layOut(plan.topology, {}), colours).svg).toContain("3,400 users");
});
