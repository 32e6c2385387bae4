// Where nodes stand in the picture. What a hand has placed stays; the rest is laid out in columns, from the clients to the databases.

import { KINDS } from "./kinds";
import { CLIENTS, type Topology } from "./plan";

export interface Point {
  x: number;
  y: number;
}
/** By node id; `clients` is one of them. */
export type Layout = Readonly<Record<string, Point>>;

export const NODE_WIDTH = 150;
export const NODE_HEIGHT = 84;
const COLUMN = 184;
const ROW = 118;
/** Rows that nodes step aside, so that an edge may pass. */
const ASIDE = 0.75;
/** Positions further out than this are not taken from a link. */
const FAR = 20_000;

export function layOut(topology: Topology, placed: Layout): Record<string, Point> {
  const columns = new Map<number, string[]>();
  for (const node of topology.nodes) {
    const column = KINDS[node.kind].column;
    columns.set(column, [...(columns.get(column) ?? []), node.id]);
  }
  // Columns nobody stands in take no room.
  const used = [...columns.keys()].sort((a, b) => a - b);
  const points: Record<string, Point> = { [CLIENTS]: { x: 0, y: 0 } };
  const columnOf = new Map(topology.nodes.map((node) => [node.id, KINDS[node.kind].column]));
  let side = 1;
  used.forEach((column, at) => {
    const ids = columns.get(column) ?? [];
    // An edge that passes a column behind its nodes looks as if it led to them: they step aside, in turns.
    const isPassed = topology.edges.some(({ from, to }) => (columnOf.get(from) ?? 0) < column && column < (columnOf.get(to) ?? 0));
    const aside = isPassed && ids.length % 2 === 1 ? side * ROW * ASIDE : 0;
    if (aside !== 0) side = -side;
    ids.forEach((id, row) => {
      points[id] = { x: (at + 1) * COLUMN, y: (row - (ids.length - 1) / 2) * ROW + aside };
    });
  });
  for (const id of Object.keys(points)) {
    const point = Object.hasOwn(placed, id) ? placed[id] : undefined;
    if (point) points[id] = point;
  }
  return points;
}

/** A layout that came from outside: what is no position of a known node is left out. */
export function parseLayout(value: unknown): Layout {
  const layout: Record<string, Point> = {};
  if (typeof value !== "object" || value === null || Array.isArray(value)) return layout;
  for (const [id, point] of Object.entries(value).slice(0, 500)) {
    if (!/^[a-zA-Z0-9_.-]{1,64}$/.test(id) || id === "__proto__" || !Array.isArray(point)) continue;
    const [x, y] = point as unknown[];
    if (typeof x === "number" && typeof y === "number" && Math.abs(x) <= FAR && Math.abs(y) <= FAR) layout[id] = { x, y };
  }
  return layout;
}

export function packLayout(layout: Layout): Record<string, [number, number]> {
  return Object.fromEntries(Object.entries(layout).map(([id, { x, y }]) => [id, [Math.round(x), Math.round(y)]]));
}
