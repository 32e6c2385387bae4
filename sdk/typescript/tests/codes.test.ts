// The client's codes are the server's: held equal to the table in crates/wire and to the specification.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CLOSES, comeBack, REJECTS } from "../src/codes.js";

const root = new URL("../../../", import.meta.url);
const rust = readFileSync(new URL("crates/wire/src/code.rs", root), "utf8");
const book = readFileSync(new URL("docs/protocol.md", root), "utf8");

function table(type: string): Record<string, string> {
  const body = rust.slice(rust.indexOf(`    ${type} {`));
  const block = body.slice(0, body.indexOf("\n    }\n"));
  return Object.fromEntries([...block.matchAll(/= (\d+) "([a-z_]+)",/g)].map(([, code, name]) => [code, name]));
}

test("rejects are the server's", () => {
  expect(Object.keys(table("RejectCode")).length).toBeGreaterThan(10);
  expect({ ...REJECTS }).toEqual(table("RejectCode"));
});

test("closes are the server's", () => {
  expect({ ...CLOSES }).toEqual(table("CloseReason"));
});

test("the specification lists every code", () => {
  for (const [code, name] of [...Object.entries(REJECTS), ...Object.entries(CLOSES)]) {
    expect(book).toContain(`| ${code} | \`${name}\` |`);
  }
});

test("ranges decide, also for codes that are newer than this client", () => {
  expect([4000, 4099, 1006, 1012].map(comeBack)).toEqual(["yes", "yes", "yes", "yes"]);
  expect([4100, 4199].map(comeBack)).toEqual(["with_new_token", "with_new_token"]);
  expect([4500, 4599, 1002, 1009].map(comeBack)).toEqual(["no", "no", "no", "no"]);
});
