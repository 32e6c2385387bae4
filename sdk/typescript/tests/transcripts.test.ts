// Everything a server says in the transcripts is understood, and as what it is.

import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readConnected, readFrames, readHistory, readJoined, readMembers } from "../src/frames.js";

const dir = new URL("../../../conformance/", import.meta.url);
const files = readdirSync(dir).filter((name) => name.endsWith(".jsonl"));

/** A value in the place of a wildcard or a binding, by the field's name. */
function fill(value: unknown, name = ""): unknown {
  if (typeof value === "string" && (value === "*" || value.startsWith("$"))) {
    if (name === "epoch") return "00000000000000aa";
    return name === "connection" || name === "user" ? "someone" : 1;
  }
  if (Array.isArray(value)) return value.map((item) => fill(item));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, fill(field, key)]));
  }
  return value;
}

const KINDS = ["ok", "reject", "event", "members", "gap", "notice"];

test.each(files)("%s", (name) => {
  const lines = readFileSync(new URL(name, dir), "utf8").trim().split("\n");
  let read = 0;
  for (const line of lines) {
    const { expect: said } = JSON.parse(line);
    if (said === undefined) continue;
    const [frame, ...others] = readFrames(JSON.stringify(fill(said)));
    expect(others).toEqual([]);
    expect(frame?.kind).toBe(KINDS.find((kind) => kind in said));
    if (frame?.kind === "ok") {
      const { body } = frame;
      if ("ping_ms" in body) expect(readConnected(body).user).toBe("ann");
      if ("recovery" in body && "epoch" in body) expect(readJoined(body).position.epoch).toHaveLength(16);
      if ("publications" in body && "epoch" in body && "oldest" in body) {
        expect(readHistory(body).publications.length).toBeGreaterThan(0);
      }
      if ("sample" in body) expect(readMembers(body).count).toBe(2);
    }
    read++;
  }
  expect(read).toBe(lines.filter((line) => line.includes('"expect":')).length);
});

test("there are transcripts", () => {
  expect(files.length).toBeGreaterThan(6);
});
