// The frames of the protocol as the client sees them. What comes from the server is unknown
// data until it has passed `readFrame`.

/** A place in a room's history. Compare epochs first: offsets of two epochs are unrelated. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** When a publication passed each stage: milliseconds since the Unix epoch. */
export interface Stamps {
  readonly sent?: number;
  readonly received?: number;
  readonly ordered?: number;
}

/** One publication of a room. */
export interface Publication {
  readonly offset: number;
  /** The JSON that was published; undefined when it was bytes. */
  readonly data: unknown;
  /** The bytes that were published, when it was not JSON. */
  readonly bytes?: Uint8Array;
  /** In place of both: the key is no longer part of the room's state. */
  readonly delete?: true;
  /** The user who published; empty for none. */
  readonly from: string;
  readonly msg: string;
  readonly key: string;
  /** What it promises less than its namespace. */
  readonly lane?: "reliable" | "latest" | "lossy" | (string & {});
  readonly stamps: Stamps;
}

/** Someone in a room. */
export interface Member {
  readonly user: string;
  readonly info?: unknown;
}

/** Who is in a room: all, or in a large room a sample. */
export interface Members {
  readonly count: number;
  readonly sample: readonly Member[];
}

/** Why publications could not be replayed. */
export type GapReason = "epoch" | "trimmed" | "too_far" | "continuity" | "conflated" | "dropped" | (string & {});

export interface Connected {
  readonly connection: string;
  readonly user: string;
  readonly expiresInMs?: number;
  readonly pingMs: number;
  /** The server closes a connection that sends a larger message. */
  readonly frameBytesMax: number;
  readonly reconnectMs: number;
}

export interface Joined {
  readonly room: string;
  readonly position: Position;
  readonly recovery: "none" | "replay" | "gap";
  readonly reason?: GapReason;
  readonly replayed: number;
  readonly members?: Members;
  /** The room's state follows: so many keys. */
  readonly state?: number;
}

export interface HistoryPage {
  readonly head: Position;
  readonly oldest: number;
  readonly publications: readonly Publication[];
  readonly more: boolean;
  readonly gap?: GapReason;
}

export interface MembersChange {
  readonly count: number;
  readonly joined: readonly Member[];
  readonly left: readonly string[];
  /** A large room: only the count and this sample are told. */
  readonly sample?: readonly Member[];
}

export interface RejectFrame {
  readonly code: number;
  readonly name: string;
  readonly retryAfterMs?: number;
  readonly detail: string;
}

export type Frame =
  | { readonly kind: "ok"; readonly id: number; readonly body: Fields }
  | { readonly kind: "reject"; readonly id: number; readonly reject: RejectFrame }
  | { readonly kind: "event"; readonly room: string; readonly publication: Publication }
  | { readonly kind: "members"; readonly room: string; readonly change: MembersChange }
  | {
      readonly kind: "gap";
      readonly room: string;
      readonly position: Position;
      readonly reason: GapReason;
      readonly count: number;
    }
  | { readonly kind: "part"; readonly message: number; readonly more: boolean; readonly piece: string | Uint8Array }
  | { readonly kind: "notice"; readonly notice: string; readonly inMs: number; readonly room: string };

/** A JSON object whose fields are not known yet. */
export type Fields = { readonly [name: string]: unknown };

/** Not a frame of this protocol. */
export class ProtocolError extends Error {}

/** Reads all frames of one text message. Unknown pushes are skipped. */
export function readFrames(text: string): Frame[] {
  const frames: Frame[] = [];
  for (const value of parseObjects(text)) {
    const frame = readFrame(fields(value, "frame"));
    if (frame) frames.push(frame);
  }
  return frames;
}

// A message holds one object, or several one after another. The first is by far the rule.
function parseObjects(text: string): unknown[] {
  try {
    return [JSON.parse(text)];
  } catch {
    return splitObjects(text).map((part) => {
      try {
        return JSON.parse(part);
      } catch {
        throw new ProtocolError("a frame that is no JSON");
      }
    });
  }
}

function splitObjects(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (inString) {
      if (char === "\\") at++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === "{" || char === "[") depth++;
    else if ((char === "}" || char === "]") && --depth === 0) {
      parts.push(text.slice(start, at + 1));
      start = at + 1;
    }
  }
  if (text.slice(start).trim() !== "") throw new ProtocolError("a frame that is cut off");
  return parts;
}

/** Checks one frame, in the shape the JSON subprotocol has. Undefined for a push that is not known. */
export function readFrame(frame: Fields): Frame | undefined {
  if ("ok" in frame) return { kind: "ok", id: number(frame.id), body: fields(frame.ok, "ok") };
  if ("reject" in frame) {
    const reject = fields(frame.reject, "reject");
    return {
      kind: "reject",
      id: number(frame.id),
      reject: {
        code: number(reject.code),
        name: string(reject.name),
        detail: string(reject.detail),
        ...optional("retryAfterMs", reject.retry_after_ms, number),
      },
    };
  }
  if ("event" in frame) {
    const event = fields(frame.event, "event");
    return { kind: "event", room: string(event.room), publication: readPublication(event) };
  }
  if ("members" in frame) {
    const change = fields(frame.members, "members");
    return {
      kind: "members",
      room: string(change.room),
      change: {
        count: number(change.count),
        joined: list(change.joined).map(readMember),
        left: list(change.left).map(string),
        ...optional("sample", change.sample, (sample) => list(sample).map(readMember)),
      },
    };
  }
  if ("gap" in frame) {
    const gap = fields(frame.gap, "gap");
    const count = gap.count === undefined ? 0 : number(gap.count);
    return { kind: "gap", room: string(gap.room), position: readPosition(gap), reason: string(gap.reason), count };
  }
  if ("part" in frame) {
    const part = fields(frame.part, "part");
    const piece = part.frame instanceof Uint8Array ? part.frame : string(part.text);
    return { kind: "part", message: number(part.message), more: part.more === true, piece };
  }
  if ("notice" in frame) {
    const notice = fields(frame.notice, "notice");
    return { kind: "notice", notice: string(notice.kind), inMs: number(notice.in_ms ?? 0), room: string(notice.room) };
  }
  return undefined;
}

export function readPublication(value: unknown): Publication {
  const body = fields(value, "publication");
  const stamps = body.stamps === undefined ? {} : fields(body.stamps, "stamps");
  return {
    offset: number(body.offset),
    data: body.data,
    ...optional("bytes", body.bytes, (bytes) => (bytes instanceof Uint8Array ? bytes : fromBase64(string(bytes)))),
    ...(body.delete === true ? { delete: true } : {}),
    from: string(body.from),
    msg: string(body.msg),
    key: string(body.key),
    ...optional("lane", body.lane, string),
    stamps: {
      ...optional("sent", stamps.sent, number),
      ...optional("received", stamps.received, number),
      ...optional("ordered", stamps.ordered, number),
    },
  };
}

export function readPosition(body: Fields): Position {
  return { epoch: string(body.epoch), offset: number(body.offset) };
}

export function readMembers(value: unknown): Members {
  const body = fields(value, "members");
  return { count: number(body.count), sample: list(body.sample).map(readMember) };
}

function readMember(value: unknown): Member {
  const body = fields(value, "member");
  return { user: string(body.user), ...optional("info", body.info, (info) => info) };
}

export function readConnected(body: Fields): Connected {
  return {
    connection: string(body.connection),
    user: string(body.user),
    pingMs: number(body.ping_ms),
    frameBytesMax: number(body.frame_bytes_max),
    reconnectMs: number(body.reconnect_ms),
    ...optional("expiresInMs", body.expires_in_ms, number),
  };
}

/** How long the new token is good for; undefined for ever. */
export function readRefreshed(body: Fields): number | undefined {
  return body.expires_in_ms === undefined ? undefined : number(body.expires_in_ms);
}

export function readJoined(body: Fields): Joined {
  const recovery = string(body.recovery);
  return {
    room: string(body.room),
    position: readPosition(body),
    recovery: recovery === "replay" || recovery === "gap" ? recovery : "none",
    replayed: number(body.replayed),
    ...optional("reason", body.reason, string),
    ...optional("members", body.members, readMembers),
    ...optional("state", body.state, number),
  };
}

export function readHistory(body: Fields): HistoryPage {
  return {
    head: readPosition(body),
    oldest: number(body.oldest),
    publications: list(body.publications).map(readPublication),
    more: body.more === true,
    ...optional("gap", body.gap, string),
  };
}

function fields(value: unknown, what: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new ProtocolError(`${what} is no object`);
}

export function number(value: unknown): number {
  if (typeof value === "number") return value;
  throw new ProtocolError(`${String(value)} is no number`);
}

function string(value: unknown): string {
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  throw new ProtocolError(`${String(value)} is no string`);
}

function list(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  if (Array.isArray(value)) return value;
  throw new ProtocolError(`${String(value)} is no list`);
}

function optional<K extends string, T>(name: K, value: unknown, read: (value: unknown) => T): { [P in K]?: T } {
  return value === undefined ? {} : ({ [name]: read(value) } as { [P in K]?: T });
}

/** Bytes as base64, as the JSON subprotocol carries them. */
export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

function fromBase64(text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    throw new ProtocolError("bytes that are no base64");
  }
}
