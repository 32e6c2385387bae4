// A room's state on its way: the newest publication of each key, up to the head of the join.
//
// The server says how many keys there are, then sends them in the order of their offsets. One that was
// replaced before it could be sent does not come: a gap tells how many those were, and the newer ones follow.

import type { Position, Publication } from "./frames.js";

/** See the file. */
export class Snapshot {
  readonly publications = new Map<string, Publication>();
  #left: number;

  constructor(
    keys: number,
    /** Where the room stood. */
    readonly position: Position,
  ) {
    this.#left = keys;
  }

  /** Whether nothing more is to come. */
  get isWhole(): boolean {
    return this.#left <= 0;
  }

  /** The next of its events. */
  take(publication: Publication): void {
    this.#left--;
    this.publications.set(publication.key, publication);
  }

  /** So many do not come. */
  skip(count: number): void {
    this.#left -= count;
  }
}
