// The client against the real server: chat, presence, history, a kill and a restart.

import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import { Client, type ClientOptions, type Publication } from "../src/index.js";
import { Server } from "./server.js";

let server: Server;
let clients: Client[];

beforeEach(async () => {
  server = await Server.start();
  clients = [];
});

afterEach(async () => {
  for (const client of clients) client.close();
  await server.stop();
});

function client(token: string, more: Partial<ClientOptions> = {}): Client {
  const made = new Client({ url: server.url, token, WebSocket, ...more });
  clients.push(made);
  return made;
}

/** Collects a room's events; resolves when there are `count`. */
function collect(room: ReturnType<Client["join"]>) {
  const events: Publication[] = [];
  let wanted = Number.POSITIVE_INFINITY;
  let done: () => void = () => {};
  room.on("event", (event) => {
    events.push(event);
    if (events.length >= wanted) done();
  });
  return {
    events,
    until: (count: number) =>
      new Promise<void>((resolve) => {
        wanted = count;
        done = resolve;
        if (events.length >= count) resolve();
      }),
  };
}

test.each(["json", "binary"] as const)("large publications and pages come in parts and are seen whole, in %s", async (codec) => {
  const ann = client("ann", { codec });
  await ann.connect();
  const room = ann.join("chat:large");
  const seen = collect(room);
  const texts = Array.from({ length: 6 }, (_, n) => `${n} ${"a \"€\" ".repeat(3_000)}`);
  for (const text of texts) await room.publish({ text });
  await seen.until(texts.length);
  expect(seen.events.map((event) => event.data)).toEqual(texts.map((text) => ({ text })));
  const page = await room.history({ limit: 10 });
  expect(page.publications.map((event) => event.data)).toEqual(texts.map((text) => ({ text })));
});

test.each([
  ["json", "binary"],
  ["binary", "json"],
  ["binary", "binary"],
] as const)("two people chat, %s beside %s, and one reads it up", async (annsCodec, bobsCodec) => {
  const ann = client("ann", { codec: annsCodec });
  const bob = client("bob", { codec: bobsCodec });
  const [connected] = await Promise.all([ann.connect(), bob.connect()]);
  expect(connected.user).toBe("ann");
  const room = ann.join("chat:lobby", { enter: true, members: true });
  const seen = collect(bob.join("chat:lobby", { enter: true }));
  await room.publish({ text: "hi" }, { key: "greeting" });
  await ann.publish("chat:lobby", new Uint8Array([0, 255]));
  const answer = await bob.publish("chat:lobby", "hello");
  expect(answer).toMatchObject({ duplicate: false, position: { offset: 3 } });
  await seen.until(3);
  expect(seen.events.map((event) => event.data)).toEqual([{ text: "hi" }, undefined, "hello"]);
  expect(seen.events[0]).toMatchObject({ from: "ann", key: "greeting", offset: 1 });
  expect(seen.events[1]?.bytes).toEqual(new Uint8Array([0, 255]));
  while (room.count < 2) await room.once("members");
  expect(room.members.map((member) => member.user).sort()).toEqual(["ann", "bob"]);
  const page = await room.history({ limit: 2, reverse: true });
  expect([page.publications.map((p) => p.offset), page.more]).toEqual([[3, 2], true]);
  expect((await bob.publish("chat:lobby", 1, { msg: "same" })).duplicate).toBe(false);
  expect((await bob.publish("chat:lobby", 1, { msg: "same" })).duplicate).toBe(true);
});

test.each(["json", "binary"] as const)("a kill and a restart lose nothing and double nothing, %s", async (codec) => {
  const ann = client("ann", { codec, limits: { backoffMax: 500 } });
  const bob = client("bob", { codec, limits: { backoffMax: 500 } });
  await Promise.all([ann.connect(), bob.connect()]);
  const room = bob.join("chat:lobby", { last: 1000 });
  await room.once("joined");
  const seen = collect(room);
  const published: Promise<unknown>[] = [];
  for (let n = 0; n < 200; n++) {
    published.push(ann.publish("chat:lobby", n));
    if (n === 50) await published[10];
    if (n === 100) await server.kill();
  }
  await server.run();
  await Promise.all(published);
  await seen.until(200);
  expect(seen.events.map((event) => event.data)).toEqual([...Array(200).keys()]);
  expect(seen.events.map((event) => event.offset)).toEqual([...Array(200).keys()].map((n) => n + 1));
});

test.each(["json", "binary"] as const)("a room's state is kept up through deletes, a kill and a resume that came too late, %s", async (codec) => {
  const ann = client("ann", { codec, limits: { backoffMax: 500 } });
  const bob = client("bob", { codec, limits: { backoffMax: 500 } });
  await Promise.all([ann.connect(), bob.connect()]);
  const expected = new Map<string, number>();
  const set = async (key: string, value: number) => {
    await ann.publish("px:eu", value, { key });
    expected.set(key, value);
  };
  for (let n = 0; n < 40; n++) await set(`k${n % 30}`, n);
  await ann.delete("px:eu", "k7");
  expected.delete("k7");
  const room = bob.join("px:eu", { state: true });
  const events = collect(room);
  const first = await room.once("state");
  const values = () => new Map([...room.state].map(([key, { data }]) => [key, data]));
  const sorted = (map: ReadonlyMap<string, unknown>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  expect(sorted(values())).toEqual(sorted(expected));
  expect([first.publications.size, first.position.offset, events.events]).toEqual([29, 41, []]);

  await set("k7", 1_000);
  await ann.delete("px:eu", "k8");
  expected.delete("k8");
  await events.until(2);
  expect(events.events.map((event) => [event.key, event.delete])).toEqual([
    ["k7", undefined],
    ["k8", true],
  ]);
  expect(sorted(values())).toEqual(sorted(expected));

  // Bob is away for longer than can be replayed.
  bob.close();
  for (let n = 0; n < 15; n++) await set(`k${n}`, 2_000 + n);
  await server.kill();
  await server.run();
  const back = client("bob", { codec });
  const again = back.join("px:eu", { state: true, since: first.position });
  const gap = again.once("gap");
  const state = again.once("state");
  await back.connect();
  expect((await gap).reason).toBe("too_far");
  const { publications } = await state;
  expect(sorted(new Map([...publications].map(([key, { data }]) => [key, data])))).toEqual(sorted(expected));
});

test.each(["json", "binary"] as const)("a server that refuses says why, %s", async (codec) => {
  const ann = client("ann", { codec });
  await ann.connect();
  await expect(ann.publish("nowhere:a", 1)).rejects.toMatchObject({ code: 201, reason: "unknown_namespace" });
  const error = await ann.join("nowhere:a").once("removed");
  expect(error.reason).toBe("unknown_namespace");
});

test.each(["json", "binary"] as const)("the clock is learnt, %s", async (codec) => {
  const ann = client("ann", { codec });
  await ann.connect();
  await ann.publish("chat:a", 1);
  while (ann.clock.offset === undefined) await new Promise((resolve) => setImmediate(resolve));
  expect(Math.abs(ann.clock.offset)).toBeLessThan(1_000);
});

/** The README's blocks of code, in order. */
function readmeBlocks(): string[] {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  return [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code ?? "");
}

test("the README's lines about a state do what they say", async () => {
  const ann = client("ann");
  await ann.connect();
  await ann.publish("px:eu", 1, { key: "MSFT" });
  const logged: unknown[][] = [];
  const console = { log: (...words: unknown[]) => logged.push(words) };
  const run = new Function("client", "console", `return (async () => { ${readmeBlocks()[1]} })()`);
  await run(ann, console);
  while (logged.length < 3) await new Promise((resolve) => setImmediate(resolve));
  expect(logged).toEqual([
    [1, "keys"],
    ["AAPL", 191.5],
    ["AAPL", undefined],
  ]);
});

test("the README's five lines do what they say", async () => {
  const code = readmeBlocks()[0] ?? "";
  const lines = code
    .replace(/^import .*$/m, "")
    .replace("ws://127.0.0.1:8600/v1/ws", server.url)
    .replace('url: "', 'WebSocket, url: "');
  const logged: unknown[] = [];
  const console = { log: (...words: unknown[]) => logged.push(words) };
  class Watched extends Client {
    constructor(options: ClientOptions) {
      super(options);
      clients.push(this);
    }
  }
  const run = new Function("Client", "WebSocket", "console", `return (async () => { ${lines} })()`);
  await run(Watched, WebSocket, console);
  while (logged.length === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(JSON.stringify(logged[0])).toContain("hello");
});
