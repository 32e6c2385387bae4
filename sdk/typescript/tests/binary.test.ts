// The binary codec: its tables are docs/tidegate.proto, and hostile bytes end in errors.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeFrames, ROOTS, type Shape } from "../src/binary.js";
import { CODECS } from "../src/codec.js";
import { ProtocolError } from "../src/frames.js";
import { Reader, Writer } from "../src/protobuf.js";

const proto = readFileSync(new URL("../../../docs/tidegate.proto", import.meta.url), "utf8").replace(/\/\/.*$/gm, "");

interface Line {
  name: string;
  type: string;
  label: string;
}

/** A message's fields by number, those of its oneofs too. */
function fieldsOf(message: string): Map<number, Line> {
  const start = proto.indexOf(`message ${message} {`);
  if (start < 0) throw new Error(`no message ${message}`);
  const body = proto.slice(start, proto.indexOf("\n}", start) < 0 ? undefined : endOf(start));
  const lines = [...body.matchAll(/(optional |repeated )?(\w+) (\w+) = (\d+);/g)];
  return new Map(lines.map(([, label = "", type = "", name = "", number]) => [Number(number), { name, type, label: label.trim() }]));
}

function endOf(start: number): number {
  let depth = 0;
  for (let at = start; at < proto.length; at++) {
    if (proto[at] === "{") depth++;
    if (proto[at] === "}" && --depth === 0) return at;
  }
  return proto.length;
}

function namesOf(name: string): string[] {
  const start = proto.indexOf(`enum ${name} {`);
  return [...proto.slice(start, endOf(start)).matchAll(/[A-Z]+_(\w+) = \d+;/g)].map(([, word = ""]) => word.toLowerCase());
}

const TYPES: Record<string, string[]> = {
  string: ["string"],
  bytes: ["bytes", "json"],
  uint32: ["uint"],
  uint64: ["uint", "micros"],
  bool: ["bool"],
  double: ["double"],
  fixed64: ["epoch"],
};

function compare(message: string, shape: Shape, seen: Set<string>): void {
  seen.add(message);
  const fields = fieldsOf(message);
  expect(Object.keys(shape).map(Number), message).toEqual([...fields.keys()].sort((a, b) => a - b));
  for (const [key, field] of Object.entries(shape)) {
    const line = fields.get(Number(key));
    if (!line) throw new Error(`${message} has no ${key}`);
    const what = `${message}.${line.name}`;
    expect(field.name, what).toBe(line.name);
    expect(field.list ? "repeated" : field.optional ? "optional" : "", what).toBe(line.label);
    if (typeof field.kind === "string") expect(TYPES[line.type], what).toContain(field.kind);
    else if (Array.isArray(field.kind)) expect(field.kind.map((name) => name || "unspecified"), what).toEqual(namesOf(line.type));
    else compare(line.type, field.kind as Shape, seen);
  }
}

test("the tables are the .proto's", () => {
  const seen = new Set<string>();
  for (const [message, shape] of Object.entries(ROOTS)) compare(message, shape, seen);
  const all = [...proto.matchAll(/^message (\w+)/gm)].map(([, name = ""]) => name);
  expect([...seen].sort()).toEqual(all.sort());
});

/** A server frame by hand: id, then one field that is a message. */
function frame(number: number, body: (writer: Writer) => void, id = 0): Uint8Array {
  const inner = new Writer();
  body(inner);
  const outer = new Writer();
  if (id !== 0) {
    outer.tag(1, 0);
    outer.varint(id);
  }
  outer.tag(number, 2);
  outer.bytes(inner.finish());
  const message = new Writer();
  message.bytes(outer.finish());
  return message.finish();
}

describe("reading", () => {
  test("zeros that proto3 leaves out are zeros", () => {
    expect(CODECS.binary.read(frame(8, () => {}, 7))).toEqual([{ kind: "ok", id: 7, body: { count: 0, sample: [] } }]);
  });

  test("a reject has its name from the table, a newer code its number", () => {
    const reject = (code: number) =>
      CODECS.binary.read(
        frame(10, (writer) => {
          writer.tag(1, 0);
          writer.varint(code);
        }, 3),
      )[0];
    expect(reject(202)).toMatchObject({ kind: "reject", id: 3, reject: { code: 202, name: "forbidden" } });
    expect(reject(299)).toMatchObject({ reject: { code: 299, name: "code_299" } });
  });

  test("fields and pushes that are newer than this client are passed over", () => {
    expect(CODECS.binary.read(frame(99, (writer) => writer.raw(new Uint8Array([8, 1]))))).toEqual([]);
    const gap = frame(13, (writer) => {
      writer.tag(1, 2);
      writer.string("chat:a");
      writer.tag(77, 1);
      writer.double(1);
    });
    expect(CODECS.binary.read(gap)).toMatchObject([{ kind: "gap", room: "chat:a", position: { offset: 0 } }]);
  });

  test("every cut and every flipped bit ends in frames or in a protocol error", () => {
    const whole = frame(11, (writer) => {
      writer.tag(1, 2);
      writer.string("chat:a");
      const publication = new Writer();
      publication.tag(1, 0);
      publication.varint(2 ** 40);
      publication.tag(2, 2);
      publication.string('{"text":"hi"}');
      writer.tag(2, 2);
      writer.bytes(publication.finish());
    });
    expect(CODECS.binary.read(whole)).toMatchObject([{ publication: { offset: 2 ** 40, data: { text: "hi" } } }]);
    let refused = 0;
    const attempt = (bytes: Uint8Array) => {
      try {
        CODECS.binary.read(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
        refused++;
      }
    };
    for (let length = 1; length < whole.length; length++) attempt(whole.slice(0, length));
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const damaged = whole.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      attempt(damaged);
    }
    expect(refused).toBeGreaterThan(whole.length);
    expect(() => decodeFrames(new Uint8Array(11).fill(0xff))).toThrow(ProtocolError);
  });
});

test("numbers pass whole, to 2^53", () => {
  for (const value of [0, 1, 127, 128, 300, 2 ** 31, 2 ** 32 - 1, 2 ** 35 + 1, Number.MAX_SAFE_INTEGER]) {
    const writer = new Writer();
    writer.varint(value);
    expect(new Reader(writer.finish()).varint()).toBe(value);
  }
});

test("a command has its length before it, and its id", () => {
  const body = CODECS.binary.encode("leave", { room: "a:b" });
  expect([...(CODECS.binary.frame(300, body) as Uint8Array)]).toEqual([10, 8, 0xac, 0x02, 42, 5, 10, 3, 97, 58, 98]);
});
