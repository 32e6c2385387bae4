// The binary codec: docs/tidegate.proto as tables, held equal to that file by a test.
//
// The tables turn messages into the shapes that the protocol's JSON has, and back, so that one
// reader (frames.ts) checks both. Where the two differ the table says how: `inline` merges a
// message into the one around it, `under` and `as` give a field its place in JSON.

import { REJECTS } from "./codes.js";
import { type Fields, ProtocolError } from "./frames.js";
import { Reader, Writer, type WireType } from "./protobuf.js";

type Scalar = "string" | "bytes" | "json" | "uint" | "bool" | "double" | "epoch" | "micros";

interface Field {
  /** As in the .proto. */
  readonly name: string;
  readonly kind: Scalar | Shape | readonly string[];
  /** Its name in JSON, where that is another. */
  readonly as?: string;
  /** The object in JSON that it stands in. */
  readonly under?: string;
  readonly inline?: true;
  readonly list?: true;
  /** A list in a message of its own, so that an empty one is not an absent one. */
  readonly wraps?: true;
  /** Absent is not the same as zero. */
  readonly optional?: true;
}

/** A message: its fields by number. */
export type Shape = { readonly [number: number]: Field };

const POSITION: Shape = { 1: { name: "epoch", kind: "epoch" }, 2: { name: "offset", kind: "uint" } };
const GAP_REASON = ["", "epoch", "trimmed", "too_far", "continuity", "conflated", "dropped"];
const KEYS: Shape = { 1: { name: "keys", kind: "string", list: true } };
const LANE = ["", "reliable", "latest", "lossy"];
const RECOVERY = ["none", "replay", "gap"];

const JOIN: Shape = {
  1: { name: "room", kind: "string" },
  2: { name: "since", kind: POSITION },
  3: { name: "last", kind: "uint", optional: true },
  4: { name: "enter", kind: "bool" },
  5: { name: "members", kind: "bool" },
  6: { name: "keys", kind: KEYS, wraps: true },
  7: { name: "max_rate", kind: "double", optional: true },
  8: { name: "state", kind: "bool" },
};

const FILTER: Shape = {
  1: { name: "room", kind: "string" },
  2: { name: "keys", kind: KEYS, wraps: true },
  3: { name: "max_rate", kind: "double", optional: true },
};

const RESUME: Shape = { 1: { name: "id", kind: "uint" }, 2: { name: "join", kind: JOIN, inline: true } };

const CONNECT: Shape = {
  1: { name: "token", kind: "string" },
  2: { name: "client_name", kind: "string", as: "name", under: "client" },
  3: { name: "client_version", kind: "string", as: "version", under: "client" },
  4: { name: "resume", kind: RESUME, list: true },
};

const PUBLISH: Shape = {
  1: { name: "room", kind: "string" },
  2: { name: "json", kind: "json", as: "data" },
  3: { name: "bytes", kind: "bytes" },
  4: { name: "msg", kind: "string" },
  5: { name: "key", kind: "string" },
  6: { name: "sent_us", kind: "micros", as: "sent_at" },
  7: { name: "delete", kind: "bool" },
  8: { name: "lane", kind: LANE },
};

const HISTORY: Shape = {
  1: { name: "room", kind: "string" },
  2: { name: "since", kind: POSITION },
  3: { name: "limit", kind: "uint", optional: true },
  4: { name: "reverse", kind: "bool" },
};

const CLIENT_FRAME: Shape = {
  1: { name: "id", kind: "uint" },
  2: { name: "connect", kind: CONNECT },
  3: { name: "refresh", kind: { 1: { name: "token", kind: "string" } } },
  4: { name: "join", kind: JOIN },
  5: { name: "leave", kind: { 1: { name: "room", kind: "string" } } },
  6: { name: "publish", kind: PUBLISH },
  7: { name: "history", kind: HISTORY },
  8: {
    name: "presence",
    kind: { 1: { name: "room", kind: "string" }, 2: { name: "limit", kind: "uint", optional: true } },
  },
  9: { name: "ping", kind: { 1: { name: "t0_ms", kind: "double", as: "t0" } } },
  10: { name: "filter", kind: FILTER },
};

const MEMBER: Shape = { 1: { name: "user", kind: "string" }, 2: { name: "info", kind: "json" } };
const MEMBERS: Shape = { 1: { name: "count", kind: "uint" }, 2: { name: "sample", kind: MEMBER, list: true } };

const CONNECTED: Shape = {
  1: { name: "connection", kind: "string" },
  2: { name: "user", kind: "string" },
  3: { name: "expires_in_ms", kind: "uint", optional: true },
  4: { name: "ping_ms", kind: "uint" },
  5: { name: "frame_bytes_max", kind: "uint" },
  6: { name: "reconnect_ms", kind: "uint" },
};

const JOINED: Shape = {
  1: { name: "room", kind: "string" },
  2: { name: "position", kind: POSITION, inline: true },
  3: { name: "recovery", kind: RECOVERY },
  4: { name: "reason", kind: GAP_REASON },
  5: { name: "replayed", kind: "uint" },
  6: { name: "members", kind: MEMBERS },
  7: { name: "state_keys", kind: "uint", as: "state", optional: true },
};

const PUBLISHED: Shape = {
  1: { name: "position", kind: POSITION, inline: true },
  2: { name: "duplicate", kind: "bool" },
};

const PUBLICATION: Shape = {
  1: { name: "offset", kind: "uint" },
  2: { name: "json", kind: "json", as: "data" },
  3: { name: "bytes", kind: "bytes" },
  4: { name: "from", kind: "string" },
  5: { name: "msg", kind: "string" },
  6: { name: "key", kind: "string" },
  7: { name: "sent_us", kind: "micros", as: "sent", under: "stamps" },
  8: { name: "received_us", kind: "micros", as: "received", under: "stamps" },
  9: { name: "ordered_us", kind: "micros", as: "ordered", under: "stamps" },
  10: { name: "delete", kind: "bool" },
  11: { name: "lane", kind: LANE },
};

const HISTORY_PAGE: Shape = {
  1: { name: "room", kind: "string" },
  2: { name: "head", kind: POSITION, inline: true },
  3: { name: "oldest", kind: "uint" },
  4: { name: "publications", kind: PUBLICATION, list: true },
  5: { name: "more", kind: "bool" },
  6: { name: "gap", kind: GAP_REASON },
};

const PONG: Shape = {
  1: { name: "t0_ms", kind: "double", as: "t0" },
  2: { name: "t1_ms", kind: "double", as: "t1" },
  3: { name: "t2_ms", kind: "double", as: "t2" },
};

const REJECT: Shape = {
  1: { name: "code", kind: "uint" },
  2: { name: "retry_after_ms", kind: "uint", optional: true },
  3: { name: "detail", kind: "string" },
};

const EVENT: Shape = {
  1: { name: "room", kind: "string" },
  2: { name: "publication", kind: PUBLICATION, inline: true },
};

const SAMPLE: Shape = { 1: { name: "members", kind: MEMBER, list: true, as: "sample" } };

const MEMBERS_CHANGE: Shape = {
  1: { name: "room", kind: "string" },
  2: { name: "count", kind: "uint" },
  3: { name: "joined", kind: MEMBER, list: true },
  4: { name: "left", kind: "string", list: true },
  5: { name: "sample", kind: SAMPLE },
};

const GAP: Shape = {
  1: { name: "room", kind: "string" },
  2: { name: "position", kind: POSITION, inline: true },
  3: { name: "reason", kind: GAP_REASON },
  4: { name: "count", kind: "uint" },
};

const NOTICE: Shape = {
  1: { name: "token_expiring", kind: { 1: { name: "in_ms", kind: "uint" } } },
  2: { name: "removed", kind: { 1: { name: "room", kind: "string" } } },
  3: { name: "shutdown", kind: {} },
  4: { name: "draining", kind: { 1: { name: "in_ms", kind: "uint" } } },
};

const PART: Shape = {
  1: { name: "message", kind: "uint" },
  2: { name: "more", kind: "bool" },
  3: { name: "frame", kind: "bytes" },
};

const SERVER_FRAME: Shape = {
  1: { name: "id", kind: "uint" },
  2: { name: "connected", kind: CONNECTED },
  3: { name: "refreshed", kind: { 1: { name: "expires_in_ms", kind: "uint", optional: true } } },
  4: { name: "joined", kind: JOINED },
  5: { name: "left", kind: {} },
  6: { name: "published", kind: PUBLISHED },
  7: { name: "history", kind: HISTORY_PAGE },
  8: { name: "presence", kind: MEMBERS },
  9: { name: "pong", kind: PONG },
  10: { name: "reject", kind: REJECT },
  11: { name: "event", kind: EVENT },
  12: { name: "members", kind: MEMBERS_CHANGE },
  13: { name: "gap", kind: GAP },
  14: { name: "notice", kind: NOTICE },
  15: { name: "filtered", kind: {} },
  16: { name: "part", kind: PART },
};

/** The two that all others hang from: for the test against the .proto. */
export const ROOTS = { ClientFrame: CLIENT_FRAME, ServerFrame: SERVER_FRAME } as const;

// ---- commands ------------------------------------------------------------------

/** Encodes a command's body as the field it is in `ClientFrame`. */
export function encodeBody(name: string, body: Fields): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writeFields(writer, CLIENT_FRAME, { [name]: body });
  return writer.finish();
}

/** One frame with its length before it. */
export function encodeFrame(id: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new Writer();
  writeFields(head, CLIENT_FRAME, { id });
  const start = head.finish();
  const writer = new Writer();
  writer.varint(start.length + body.length);
  writer.raw(start);
  writer.raw(body);
  return writer.finish();
}

function writeFields(writer: Writer, shape: Shape, value: Fields): void {
  for (const [key, field] of Object.entries(shape)) {
    const number = Number(key);
    const { kind } = field;
    const around = field.under === undefined ? value : ((value[field.under] ?? {}) as Fields);
    const part = field.inline ? value : around[field.as ?? field.name];
    if (part === undefined) continue;
    const whole = field.wraps ? { [field.name]: part } : part;
    for (const one of field.list ? (whole as readonly unknown[]) : [whole]) {
      if (typeof kind === "string") writeScalar(writer, number, kind, one);
      else if (isNames(kind)) {
        writer.tag(number, 0);
        writer.varint(kind.indexOf(String(one)));
      }
      else {
        const inner = new Writer();
        writeFields(inner, kind, one as Fields);
        writer.tag(number, 2);
        writer.bytes(inner.finish());
      }
    }
  }
}

const WIRE_TYPES: Record<Scalar, WireType> = {
  string: 2,
  bytes: 2,
  json: 2,
  uint: 0,
  bool: 0,
  micros: 0,
  double: 1,
  epoch: 1,
};

function writeScalar(writer: Writer, number: number, kind: Scalar, value: unknown): void {
  writer.tag(number, WIRE_TYPES[kind]);
  switch (kind) {
    case "string":
      return writer.string(String(value));
    case "json":
      return writer.string(JSON.stringify(value));
    case "bytes":
      return writer.bytes(value as Uint8Array);
    case "uint":
      return writer.varint(Number(value));
    case "bool":
      return writer.varint(value ? 1 : 0);
    case "micros":
      return writer.varint(Math.round(Number(value) * 1_000));
    case "double":
      return writer.double(Number(value));
    case "epoch":
      return writer.fixed64(BigInt(`0x${String(value)}`));
  }
}

// ---- what the server says -------------------------------------------------------

/** Decodes all frames of one message into the shapes of the JSON subprotocol. */
export function decodeFrames(message: Uint8Array): Fields[] {
  const frames: Fields[] = [];
  const reader = new Reader(message);
  while (!reader.isAtEnd) frames.push(likeJson(readFields(new Reader(reader.bytes()), SERVER_FRAME)));
  return frames;
}

const PUSHES = ["event", "gap", "part"];

function likeJson(frame: Record<string, unknown>): Fields {
  const { id, ...rest } = frame;
  const [name] = Object.keys(rest);
  // A push that is newer than this client.
  if (name === undefined) return {};
  const body = rest[name] as Fields;
  if (name === "reject") {
    const known = (REJECTS as Record<number, string>)[Number(body.code)];
    return { id, reject: { ...body, name: known ?? `code_${Number(body.code)}` } };
  }
  if (PUSHES.includes(name)) return { [name]: body };
  if (name === "members") {
    const { sample } = body;
    return { members: sample === undefined ? body : { ...body, ...(sample as Fields) } };
  }
  if (name === "notice") {
    const [kind] = Object.keys(body);
    return kind === undefined ? {} : { notice: { ...(body[kind] as Fields), kind } };
  }
  return { id, ok: body };
}

function readFields(reader: Reader, shape: Shape): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  setDefaults(value, shape);
  while (!reader.isAtEnd) {
    const { number, type } = reader.tag();
    const field = shape[number];
    if (!field) {
      reader.skip(type);
      continue;
    }
    const { kind } = field;
    const expected = typeof kind === "string" ? WIRE_TYPES[kind] : isNames(kind) ? 0 : 2;
    if (type !== expected) throw new ProtocolError(`${field.name} with wire type ${type}`);
    const part =
      typeof kind === "string"
        ? readScalar(reader, kind)
        : isNames(kind)
          ? readName(reader, kind)
          : readFields(new Reader(reader.bytes()), kind);
    if (part === undefined) continue;
    if (field.inline) Object.assign(value, part);
    else if (field.list) (value[field.as ?? field.name] as unknown[]).push(part);
    else if (field.under !== undefined) {
      const around = (value[field.under] ?? {}) as Fields;
      value[field.under] = { ...around, [field.as ?? field.name]: part };
    } else value[field.as ?? field.name] = part;
  }
  return value;
}

/** What proto3 leaves out because it is zero, where JSON would not. */
function setDefaults(value: Record<string, unknown>, shape: Shape): void {
  for (const field of Object.values(shape)) {
    const name = field.as ?? field.name;
    if (field.list) value[name] = [];
    else if (field.inline && isShape(field.kind)) setDefaults(value, field.kind);
    else if (field.optional) continue;
    else if (field.kind === "uint" || field.kind === "double") value[name] = 0;
    else if (field.kind === "epoch") value[name] = "0".repeat(16);
  }
}

function readScalar(reader: Reader, kind: Scalar): unknown {
  switch (kind) {
    case "string":
      return reader.string();
    case "json": {
      const text = reader.string();
      if (text === "") return undefined;
      try {
        return JSON.parse(text);
      } catch {
        throw new ProtocolError("a payload that is no JSON");
      }
    }
    case "bytes":
      return reader.bytes().slice();
    case "uint":
      return reader.varint();
    case "bool":
      return reader.varint() !== 0;
    case "micros":
      return reader.varint() / 1_000 || undefined;
    case "double":
      return reader.double();
    case "epoch":
      return reader.fixed64().toString(16).padStart(16, "0");
  }
}

/** A name that is newer than this client is told as its number. */
function readName(reader: Reader, names: readonly string[]): string | undefined {
  const number = reader.varint();
  return (names[number] ?? String(number)) || undefined;
}

function isNames(kind: Field["kind"]): kind is readonly string[] {
  return Array.isArray(kind);
}

function isShape(kind: Field["kind"]): kind is Shape {
  return typeof kind === "object" && !isNames(kind);
}
