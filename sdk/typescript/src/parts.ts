// Large frames come in parts, so that replies need not wait behind them: put together here.

import type { Codec, Message } from "./codec.js";
import { type Frame, ProtocolError } from "./frames.js";

/** More messages than the server has lanes cannot be under way at a time. */
const OPEN_MAX = 8;
/** Of one message put together: characters or bytes. */
const LENGTH_MAX = 64 * 1024 * 1024;

type Part = Frame & { readonly kind: "part" };
/** Any frame but a part of one. */
export type WholeFrame = Exclude<Frame, Part>;

/** What the server sends on one connection, parts put together. */
export class Inbox {
  readonly #codec: Codec;
  readonly #open = new Map<number, { pieces: (string | Uint8Array)[]; length: number }>();

  constructor(codec: Codec) {
    this.#codec = codec;
  }

  /** Reads all frames of one message; those in parts when their last part has come. */
  *read(message: unknown): Generator<WholeFrame> {
    for (const frame of this.#codec.read(message)) {
      if (frame.kind !== "part") yield frame;
      else {
        const whole = this.#take(frame);
        if (whole !== undefined) yield* this.read(whole);
      }
    }
  }

  #take({ message, more, piece }: Part): Message | undefined {
    const open = this.#open.get(message) ?? { pieces: [], length: 0 };
    open.pieces.push(piece);
    open.length += piece.length;
    this.#open.set(message, open);
    if (open.length > LENGTH_MAX || this.#open.size > OPEN_MAX) throw new ProtocolError("parts without an end");
    if (more) return undefined;
    this.#open.delete(message);
    return join(open.pieces, open.length);
  }
}

function join(pieces: readonly (string | Uint8Array)[], length: number): Message {
  if (typeof pieces[0] === "string") return pieces.join("");
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces as readonly Uint8Array[]) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
