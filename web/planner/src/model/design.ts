// Designs that were found, in words: what is changed, and for how many users it is good.

import type { Change } from "../engine/answers";

/** Headroom is looked for up to this; see `HEADROOM_MAX` of the engine. */
const HEADROOM_MAX = 4;

/** "ws: count 1 → 2". */
export function sayChange({ node, what, from, to }: Change): string {
  const place = node ?? "the clients";
  if (what === "added") return `${place}: added, ${to}`;
  if (what === "clients") return `${place}: ${to}`;
  return `${place}: ${what.replaceAll("_", " ")} ${from === "" ? "" : `${from} → `}${to}`;
}

/** How many times the planned users a design holds. */
export function sayHeadroom(times: number): string {
  if (times <= 0) return "does not hold the planned users";
  if (times >= HEADROOM_MAX) return `holds ${HEADROOM_MAX} times the planned users, at least`;
  return `holds up to ${times.toFixed(2)} times the planned users`;
}
