// Large frames in parts, as both codecs carry them.

import { describe, expect, test } from "vitest";
import { CODECS, type Codec } from "../src/codec.js";
import { ProtocolError } from "../src/frames.js";
import { Inbox } from "../src/parts.js";
import { Writer } from "../src/protobuf.js";

const EVENT = { event: { room: "chat:a", offset: 7, data: { text: "long ".repeat(20) } } };

function inJson(message: number, pieces: string[]): string[] {
  return pieces.map((text, n) => JSON.stringify({ part: { message, more: n + 1 < pieces.length, text } }));
}

function inBinary(message: number, pieces: Uint8Array[]): Uint8Array<ArrayBuffer>[] {
  return pieces.map((piece, n) => {
    const part = new Writer();
    part.tag(1, 0);
    part.varint(message);
    part.tag(2, 0);
    part.varint(n + 1 < pieces.length ? 1 : 0);
    part.tag(3, 2);
    part.bytes(piece);
    const frame = new Writer();
    frame.tag(16, 2);
    frame.bytes(part.finish());
    const whole = new Writer();
    whole.bytes(frame.finish());
    return whole.finish();
  });
}

/** An event in protobuf, with its length. */
function event(): Uint8Array {
  const publication = new Writer();
  publication.tag(1, 0);
  publication.varint(7);
  publication.tag(2, 2);
  publication.string(JSON.stringify(EVENT.event.data));
  const body = new Writer();
  body.tag(1, 2);
  body.string("chat:a");
  body.tag(2, 2);
  body.bytes(publication.finish());
  const frame = new Writer();
  frame.tag(11, 2);
  frame.bytes(body.finish());
  const whole = new Writer();
  whole.bytes(frame.finish());
  return whole.finish();
}

function cut<T extends string | Uint8Array>(whole: T, count: number): T[] {
  const size = Math.ceil(whole.length / count);
  return Array.from({ length: count }, (_, n) => whole.slice(n * size, (n + 1) * size) as T);
}

function readAll(codec: Codec, messages: unknown[]): unknown[] {
  const inbox = new Inbox(codec);
  return messages.flatMap((message) => [...inbox.read(message)]);
}

describe("parts", () => {
  const text = JSON.stringify(EVENT);
  const cases: [string, Codec, unknown[][]][] = [
    ["json", CODECS.json, [inJson(1, cut(text, 3)), inJson(2, cut(text, 3))]],
    ["binary", CODECS.binary, [inBinary(1, cut(event(), 3)), inBinary(2, cut(event(), 3))]],
  ];

  test.each(cases)("of two messages come together in %s, whatever lies between", (_, codec, [one = [], two = []]) => {
    const frames = readAll(codec, [one[0], two[0], two[1], one[1], two[2], one[2]]);
    expect(frames).toHaveLength(2);
    for (const frame of frames) {
      expect(frame).toMatchObject({ kind: "event", room: "chat:a", publication: { offset: 7, data: EVENT.event.data } });
    }
  });

  test("that never end are refused", () => {
    const inbox = new Inbox(CODECS.json);
    const read = (message: number) => [...inbox.read(JSON.stringify({ part: { message, more: true, text: "x" } }))];
    for (let message = 0; message < 8; message++) expect(read(message)).toEqual([]);
    expect(() => read(99)).toThrow(ProtocolError);
  });

  test("of what is no frame are refused", () => {
    expect(() => readAll(CODECS.json, inJson(1, cut(text.slice(1), 2)))).toThrow(ProtocolError);
  });
});
