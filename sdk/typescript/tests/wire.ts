// The server's side of both codecs, for tests: what a client sent is read, what a server says is
// written. The binary half goes by the tables that binary.test.ts holds equal to docs/tidegate.proto.

import { ROOTS, type Shape } from "../src/binary.js";
import type { Message } from "../src/codec.js";
import { type Fields, toBase64 } from "../src/frames.js";
import { Reader, Writer } from "../src/protobuf.js";

/** The name in `ServerFrame` of the answer to each command. */
const ANSWERS: Record<string, string> = {
  connect: "connected",
  refresh: "refreshed",
  join: "joined",
  filter: "filtered",
  leave: "left",
  publish: "published",
  history: "history",
  presence: "presence",
  ping: "pong",
};

/** Reads the one command of a message, in the shape that the protocol's JSON has. */
export function readCommand(message: Message): Fields {
  if (typeof message === "string") return JSON.parse(message);
  const reader = new Reader(message);
  const frame = read(new Reader(reader.bytes()), ROOTS.ClientFrame);
  if (!reader.isAtEnd) throw new Error("more than one command");
  return frame;
}

/** Writes one frame of the server; `command` is what it answers. */
export function writeFrame(codec: "json" | "binary", frame: Fields, command: string): Message {
  if (codec === "json") return JSON.stringify(frame);
  const { id, ok, ...rest } = frame;
  const body: Record<string, unknown> = ok === undefined ? { ...rest } : { [ANSWERS[command] ?? command]: ok };
  if (body.notice !== undefined) {
    const { kind, ...about } = body.notice as { kind: string } & Fields;
    body.notice = { [kind]: about };
  }
  const change = body.members as Fields | undefined;
  if (change?.sample !== undefined) body.members = { ...change, sample: { sample: change.sample } };
  const writer = new Writer();
  writer.bytes(written(ROOTS.ServerFrame, id === undefined ? body : { id, ...body }));
  return writer.finish();
}

function read(reader: Reader, shape: Shape): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  while (!reader.isAtEnd) {
    const { number } = reader.tag();
    const field = shape[number];
    if (!field) throw new Error(`a client sends field ${number}`);
    if (Array.isArray(field.kind)) {
      value[field.as ?? field.name] = field.kind[reader.varint()];
      continue;
    }
    const part = typeof field.kind === "object" ? read(new Reader(reader.bytes()), field.kind as Shape) : scalar(reader, field.kind);
    const name = field.as ?? field.name;
    if (field.wraps) value[name] = (part as Fields)[field.name] ?? [];
    else if (field.inline) Object.assign(value, part);
    else if (field.list) value[name] = [...((value[name] ?? []) as unknown[]), part];
    else if (field.under) value[field.under] = { ...((value[field.under] ?? {}) as Fields), [name]: part };
    else value[name] = part;
  }
  return value;
}

function scalar(reader: Reader, kind: string): unknown {
  switch (kind) {
    case "string":
      return reader.string();
    case "json":
      return JSON.parse(reader.string());
    case "bytes":
      return toBase64(reader.bytes());
    case "bool":
      return reader.varint() === 1;
    case "double":
      return reader.double();
    case "epoch":
      return reader.fixed64().toString(16).padStart(16, "0");
    case "micros":
      return reader.varint() / 1_000;
    default:
      return reader.varint();
  }
}

/** A message; what is zero or empty is left out, as proto3 does. */
function written(shape: Shape, value: Fields): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  for (const [key, field] of Object.entries(shape)) {
    const number = Number(key);
    const around = field.under === undefined ? value : ((value[field.under] ?? {}) as Fields);
    const part = field.inline ? value : around[field.as ?? field.name];
    if (part === undefined) continue;
    for (const one of field.list ? (part as unknown[]) : [part]) {
      const { kind } = field;
      if (Array.isArray(kind)) {
        writer.tag(number, 0);
        writer.varint(kind.indexOf(one as string));
      } else if (typeof kind === "object") {
        writer.tag(number, 2);
        writer.bytes(written(kind as Shape, one as Fields));
      } else if (field.optional || (one !== 0 && one !== "" && one !== false)) put(writer, number, kind as string, one);
    }
  }
  return writer.finish();
}

function put(writer: Writer, number: number, kind: string, value: unknown): void {
  writer.tag(number, kind === "double" || kind === "epoch" ? 1 : ["uint", "bool", "micros"].includes(kind) ? 0 : 2);
  switch (kind) {
    case "string":
      return writer.string(String(value));
    case "json":
      return writer.string(JSON.stringify(value));
    case "bytes":
      return writer.bytes(Uint8Array.from(atob(String(value)), (char) => char.charCodeAt(0)));
    case "double":
      return writer.double(Number(value));
    case "epoch":
      return writer.fixed64(BigInt(`0x${String(value)}`));
    case "micros":
      return writer.varint(Math.round(Number(value) * 1_000));
    default:
      return writer.varint(Number(value));
  }
}
