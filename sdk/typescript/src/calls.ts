// The commands that wait for their turn or for their answer.
//
//   add ─► waiting ─► next, sent ─► in flight ─► answered
//             ▲                         │
//             └── putBack, overdue, connection lost ─┘
//
// Publications wait in one line, reads in another, so that a publication that must wait (it was
// rejected for now) holds up those behind it and nothing else. Both lines share one bound.

import type { CommandName, Message } from "./codec.js";
import type { Fields } from "./frames.js";

/** Commands sent without waiting for answers; the server's own bound is higher. */
const IN_FLIGHT_MAX = 16;

/** A command until its answer has come. */
export interface Call {
  readonly name: CommandName;
  readonly body: Message;
  resolve(body: Fields): void;
  reject(error: Error): void;
}

interface Entry {
  readonly call: Call;
  readonly order: number;
  tries: number;
  sentAt: number;
  notBefore: number;
}

interface Bounds {
  readonly queueCount: number;
  readonly queueBytes: number;
  readonly answerTimeout: number;
  readonly tries: number;
}

/** See the file. */
export class Calls {
  readonly #lines: { readonly publish: Entry[]; readonly read: Entry[] } = { publish: [], read: [] };
  readonly #inFlight = new Map<number, Entry>();
  #order = 0;
  #count = 0;
  #bytes = 0;

  constructor(private readonly bounds: Bounds) {}

  /** How many there are, in flight included. */
  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a command in; false when the bound is reached. */
  add(call: Call): boolean {
    if (this.#count >= this.bounds.queueCount || this.#bytes + call.body.length > this.bounds.queueBytes) return false;
    this.#count++;
    this.#bytes += call.body.length;
    this.#line(call).push({ call, order: this.#order++, tries: 0, sentAt: 0, notBefore: 0 });
    return true;
  }

  /** Sends the next that may go, by `send`, which gives it an id. False when none may. */
  sendNext(now: number, send: (call: Call) => number): boolean {
    if (this.#inFlight.size >= IN_FLIGHT_MAX) return false;
    const { publish, read } = this.#lines;
    const heads = [publish, read].filter((line) => line[0] && line[0].notBefore <= now);
    const [line] = heads.sort((a, b) => (a[0]?.order ?? 0) - (b[0]?.order ?? 0));
    const entry = line?.shift();
    if (!entry) return false;
    entry.sentAt = now;
    this.#inFlight.set(send(entry.call), entry);
    return true;
  }

  /** The command that was sent under this id is over. */
  answered(id: number): Call | undefined {
    const entry = this.#inFlight.get(id);
    if (!entry) return undefined;
    this.#inFlight.delete(id);
    this.#forget(entry);
    return entry.call;
  }

  /** The command in flight under this id. */
  of(id: number): Call | undefined {
    return this.#inFlight.get(id)?.call;
  }

  /** It may succeed later: it waits again, unless it was tried too often, which is told by false. */
  putBack(id: number, notBefore: number): boolean {
    const entry = this.#inFlight.get(id);
    if (!entry || ++entry.tries >= this.bounds.tries) return false;
    this.#inFlight.delete(id);
    this.#wait(entry, notBefore);
    return true;
  }

  /** Those without an answer for too long wait again: a publication carries its id, a read can be repeated.
   *  Returns those that were tried too often. */
  takeOverdue(now: number): Call[] {
    const given: Call[] = [];
    for (const [id, entry] of [...this.#inFlight]) {
      if (now < entry.sentAt + this.bounds.answerTimeout || this.putBack(id, 0)) continue;
      this.answered(id);
      given.push(entry.call);
    }
    return given;
  }

  /** The connection is gone: what was in flight is sent again on the next, in its old order. */
  connectionLost(): void {
    for (const entry of this.#inFlight.values()) this.#wait(entry, 0);
    this.#inFlight.clear();
  }

  /** When to look again, if no answer comes before. */
  nextAt(): number | undefined {
    const times = [...this.#inFlight.values()].map((entry) => entry.sentAt + this.bounds.answerTimeout);
    if (this.#inFlight.size < IN_FLIGHT_MAX) {
      for (const line of [this.#lines.publish, this.#lines.read]) if (line[0]) times.push(line[0].notBefore);
    }
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Takes all out, in the order they came. */
  drain(): Call[] {
    this.connectionLost();
    const entries = [...this.#lines.publish.splice(0), ...this.#lines.read.splice(0)];
    for (const entry of entries) this.#forget(entry);
    return entries.sort((a, b) => a.order - b.order).map((entry) => entry.call);
  }

  #line(call: Call): Entry[] {
    return call.name === "publish" ? this.#lines.publish : this.#lines.read;
  }

  #wait(entry: Entry, notBefore: number): void {
    entry.notBefore = notBefore;
    const line = this.#line(entry.call);
    const place = line.findIndex((other) => other.order > entry.order);
    line.splice(place < 0 ? line.length : place, 0, entry);
  }

  #forget(entry: Entry): void {
    this.#count--;
    this.#bytes -= entry.call.body.length;
  }
}
