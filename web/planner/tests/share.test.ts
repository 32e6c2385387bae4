import { deflateRawSync } from "node:zlib";
import { expect, test } from "vitest";
import { FRAGMENT_MAX, pack, UNPACKED_MAX, unpack } from "../src/model/share";

const fragment = (value: unknown) => `1.${deflateRawSync(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url")}`;

test("what is shared is what is opened", async () => {
  const shared = { text: 'title = "Überfall ✓"\n', layout: { ws: { x: -12, y: 40 } } };
  expect(await unpack(await pack(shared))).toEqual(shared);
});

test("a link that unpacks to too much is refused before it is unpacked", async () => {
  const bomb = fragment({ text: "a".repeat(UNPACKED_MAX * 20) });
  expect(bomb.length).toBeLessThan(FRAGMENT_MAX);
  await expect(unpack(bomb)).rejects.toThrow("more than a plan may be");
});

test("what is no link of ours is refused in words", async () => {
  await expect(unpack("x".repeat(FRAGMENT_MAX + 1))).rejects.toThrow("too long");
  await expect(unpack("section-2")).rejects.toThrow("not one of this planner's");
  await expect(unpack("1.!!!")).rejects.toThrow("damaged");
  await expect(unpack("1.AAAA")).rejects.toThrow("damaged");
  await expect(unpack(fragment("not json"))).rejects.toThrow("damaged");
  await expect(unpack(fragment({ text: 7 }))).rejects.toThrow("no plan");
  await expect(unpack(fragment("null"))).rejects.toThrow("no plan");
});

test("a link's layout is not trusted", async () => {
  const shared = await unpack(fragment({ text: "x", layout: { ws: [1, 2], "<b>": [0, 0], lb: "here" } }));
  expect(shared.layout).toEqual({ ws: { x: 1, y: 2 } });
});

test("a plan too long for a link is not cut", async () => {
  let text = "";
  for (let n = 0; n < 60_000; n += 1) text += Math.imul(n, 2654435761).toString(36);
  await expect(pack({ text, layout: {} })).rejects.toThrow("too long for a link");
});
