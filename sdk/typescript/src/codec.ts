// How frames travel: one codec per subprotocol. Both give the same frames.
//
// A command's body is encoded once; its id is put before it each time it is sent, for a repeat
// carries another. What comes from the server is checked in frames.ts, whatever the codec.

import { type Fields, type Frame, ProtocolError, readFrame, readFrames, toBase64 } from "./frames.js";
import { decodeFrames, encodeBody, encodeFrame } from "./binary.js";

/** What travels in one WebSocket message, and an encoded body before it has its id. */
export type Message = string | Uint8Array<ArrayBuffer>;

export type CommandName =
  | "connect"
  | "refresh"
  | "join"
  | "filter"
  | "leave"
  | "publish"
  | "history"
  | "presence"
  | "ping";

export interface Codec {
  readonly subprotocol: string;
  /** Encodes the body of a command, given as the protocol's JSON has it, bytes as bytes. */
  encode(name: CommandName, body: Fields): Message;
  /** Puts the id before a body. */
  frame(id: number, body: Message): Message;
  /** Reads all frames of one message. Unknown pushes are skipped. */
  read(message: unknown): Frame[];
}

const json: Codec = {
  subprotocol: "tidegate.v1.json",
  encode: (name, body) => {
    const asText = body.bytes instanceof Uint8Array ? { ...body, bytes: toBase64(body.bytes) } : body;
    return `"${name}":${JSON.stringify(asText)}`;
  },
  frame: (id, body) => `{"id":${id},${String(body)}}`,
  read: (message) => {
    if (typeof message !== "string") throw new ProtocolError("bytes where text was agreed");
    return readFrames(message);
  },
};

const binary: Codec = {
  subprotocol: "tidegate.v1.bin",
  encode: encodeBody,
  frame: (id, body) => {
    if (typeof body === "string") throw new TypeError("a body of the other codec");
    return encodeFrame(id, body);
  },
  read: (message) => {
    if (!(message instanceof ArrayBuffer || message instanceof Uint8Array)) {
      throw new ProtocolError("text where bytes were agreed");
    }
    const frames = decodeFrames(message instanceof ArrayBuffer ? new Uint8Array(message) : message);
    return frames.map(readFrame).filter((frame) => frame !== undefined);
  },
};

export const CODECS = { json, binary } as const;
