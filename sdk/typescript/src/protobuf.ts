// The part of protobuf's wire format that docs/tidegate.proto uses.
//
//   field = varint (number << 3 | wire type), then
//     0: varint    1: 8 bytes, little-endian    2: varint length, bytes    5: 4 bytes
//
// Integers are JavaScript numbers: exact to 2^53, which offsets and microseconds stay below.

import { ProtocolError } from "./frames.js";

export type WireType = 0 | 1 | 2;

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }) };

/** Grows as it is written to. */
export class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  #room(more: number): number {
    const at = this.#length;
    this.#length += more;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      const at = this.#room(1);
      this.#bytes[at] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    const at = this.#room(1);
    this.#bytes[at] = rest;
  }

  tag(number: number, type: WireType): void {
    this.varint(number * 8 + type);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  string(text: string): void {
    this.bytes(utf8.encoder.encode(text));
  }

  double(value: number): void {
    const at = this.#room(8);
    this.#view.setFloat64(at, value, true);
  }

  fixed64(value: bigint): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, value, true);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }
}

/** Reads what a stranger sent: every step is checked. */
export class Reader {
  readonly #view: DataView;
  #at = 0;

  constructor(private readonly all: Uint8Array) {
    this.#view = new DataView(all.buffer, all.byteOffset, all.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at >= this.all.length;
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.all.length - at) throw new ProtocolError("a frame that is cut off");
    this.#at += count;
    return at;
  }

  varint(): number {
    let value = 0;
    for (let n = 0, scale = 1; n < 10; n++, scale *= 0x80) {
      const byte = this.all[this.#take(1)] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw new ProtocolError("a number of more than ten bytes");
  }

  /** A part of what is read: not a copy. */
  bytes(): Uint8Array {
    const length = this.varint();
    const at = this.#take(length);
    return this.all.subarray(at, at + length);
  }

  string(): string {
    const bytes = this.bytes();
    try {
      return utf8.decoder.decode(bytes);
    } catch {
      throw new ProtocolError("text that is no UTF-8");
    }
  }

  double(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  fixed64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  /** The next field's number and wire type. */
  tag(): { number: number; type: number } {
    const tag = this.varint();
    return { number: Math.floor(tag / 8), type: tag % 8 };
  }

  /** Passes over a field of a newer server. */
  skip(type: number): void {
    if (type === 0) this.varint();
    else if (type === 1) this.#take(8);
    else if (type === 2) this.bytes();
    else if (type === 5) this.#take(4);
    else throw new ProtocolError(`wire type ${type}`);
  }
}
