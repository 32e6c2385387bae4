// The picture as a file: an SVG that stands alone, drawn from the plan and its layout, not from the page.

import { KINDS } from "./kinds";
import { NODE_HEIGHT, NODE_WIDTH, type Point } from "./layout";
import { CLIENTS, type Plan } from "./plan";

const MARGIN = 32;

export interface Colours {
  ground: string;
  card: string;
  line: string;
  ink: string;
  soft: string;
  tide: string;
}

export interface Picture {
  svg: string;
  width: number;
  height: number;
}

export function draw(plan: Plan, points: Readonly<Record<string, Point>>, colours: Colours): Picture {
  const boxes = [{ id: CLIENTS, title: "Clients", lines: [`${peak(plan)} at the peak`], icon: null as string | null }];
  for (const node of plan.topology.nodes) {
    const lines = [`${node.count} × ${node.size || "default"}`, node.zones > 1 ? `${node.zones} zones` : "one zone"];
    boxes.push({ id: node.id, title: node.id, lines, icon: KINDS[node.kind].icon });
  }
  const at = (id: string): Point => points[id] ?? { x: 0, y: 0 };
  const left = Math.min(...boxes.map((box) => at(box.id).x)) - MARGIN;
  const top = Math.min(...boxes.map((box) => at(box.id).y)) - MARGIN - 28;
  const width = Math.max(...boxes.map((box) => at(box.id).x)) + NODE_WIDTH + MARGIN - left;
  const height = Math.max(...boxes.map((box) => at(box.id).y)) + NODE_HEIGHT + MARGIN - top;
  const edges = plan.topology.edges.map(({ from, to }) => {
    const [a, b] = [at(from), at(to)];
    const [x1, y1, x2, y2] = [a.x + NODE_WIDTH, a.y + NODE_HEIGHT / 2, b.x, b.y + NODE_HEIGHT / 2];
    const bend = Math.max(40, Math.abs(x2 - x1) / 2);
    return `<path d="M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}" fill="none" stroke="${colours.soft}" stroke-width="1.5" marker-end="url(#end)"/>`;
  });
  const nodes = boxes.map((box) => {
    const { x, y } = at(box.id);
    const icon = box.icon
      ? `<path transform="translate(${x + 11} ${y + 16})" d="${box.icon}" fill="none" stroke="${colours.tide}" stroke-width="1.6" stroke-linejoin="round" stroke-linecap="round"/>`
      : "";
    const indent = box.icon ? 42 : 14;
    const lines = box.lines.map((line, row) => `<text x="${x + indent}" y="${y + 49 + row * 15}" font-size="11" fill="${colours.soft}">${escaped(line)}</text>`);
    return `<rect x="${x}" y="${y}" width="${NODE_WIDTH}" height="${NODE_HEIGHT}" rx="10" fill="${colours.card}" stroke="${colours.line}"/>${icon}<text x="${x + indent}" y="${y + 30}" font-size="13" font-weight="600" fill="${colours.ink}">${escaped(box.title)}</text>${lines.join("")}`;
  });
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${left} ${top} ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif">`,
    `<title>${escaped(plan.title)}</title>`,
    `<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="${colours.soft}"/></marker></defs>`,
    `<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="${colours.ground}"/>`,
    `<text x="${left + MARGIN}" y="${top + 30}" font-size="15" font-weight="600" fill="${colours.ink}">${escaped(plan.title)}</text>`,
    ...edges,
    ...nodes,
    "</svg>",
  ].join("");
  return { svg, width, height };
}

function peak(plan: Plan): string {
  const most = plan.scenario.users.points.reduce((most, [, users]) => Math.max(most, users), 0);
  return `${Math.round(most).toLocaleString("en")} users`;
}

function escaped(text: string): string {
  // What XML has no place for is left out, or the picture could not be read.
  return Array.from(text)
    .filter((char) => char >= " " && char !== "\ufffe" && char !== "\uffff")
    .join("")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
