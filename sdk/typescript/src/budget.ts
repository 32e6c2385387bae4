// What may be tried again. A server that rejects because it has too much to do is not helped by being asked
// for the same again and again by everyone: what is done earns tries, a tenth of one each, and so does
// time, slowly. Who gets nothing done runs out, and fails at once instead of knocking.

/** Tries saved up at most; there at the start. */
const TRIES_MAX = 20;
/** Earned by each command that was done. */
const PER_DONE = 0.1;
/** Earned by each second. */
const PER_SECOND = 2;

/** See the file. */
export class RetryBudget {
  #tries = TRIES_MAX;
  #at: number;

  constructor(now: number) {
    this.#at = now;
  }

  /** A command was done. */
  done(): void {
    this.#tries = Math.min(TRIES_MAX, this.#tries + PER_DONE);
  }

  /** Takes one try; false when they are spent. */
  take(now: number): boolean {
    this.#tries = Math.min(TRIES_MAX, this.#tries + ((now - this.#at) / 1_000) * PER_SECOND);
    this.#at = now;
    if (this.#tries < 1) return false;
    this.#tries -= 1;
    return true;
  }
}
