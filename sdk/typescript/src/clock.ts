// The server's clock as this client can know it: the best of the last pings.
//
// Each ping gives an offset and a round trip (RFC 5905, section 8). The offset of the shortest
// round trip is the truest, because the least of it was waiting; half that round trip bounds the error.

interface Sample {
  readonly at: number;
  readonly offset: number;
  readonly roundTrip: number;
}

/** Samples older than this are forgotten, milliseconds: clocks drift. */
const AGE_MAX = 10 * 60_000;
const SAMPLES_MAX = 16;

/** See the file. All in milliseconds. */
export class Clock {
  #samples: Sample[] = [];

  /** One ping: sent at t0, received by the server at t1, answered at t2, back at t3. */
  add(t0: number, t1: number, t2: number, t3: number): void {
    const sample = { at: t3, offset: (t1 - t0 + (t2 - t3)) / 2, roundTrip: Math.max(0, t3 - t0 - (t2 - t1)) };
    const fresh = this.#samples.filter((other) => other.at > t3 - AGE_MAX);
    this.#samples = [...fresh, sample].slice(-SAMPLES_MAX);
  }

  /** How many pings it knows of. */
  get samples(): number {
    return this.#samples.length;
  }

  get #best(): Sample | undefined {
    return this.#samples.reduce<Sample | undefined>(
      (best, sample) => (best && best.roundTrip <= sample.roundTrip ? best : sample),
      undefined,
    );
  }

  /** What to add to this machine's clock to have the server's; undefined before the first ping. */
  get offset(): number | undefined {
    return this.#best?.offset;
  }

  /** The shortest round trip of late. */
  get roundTrip(): number | undefined {
    return this.#best?.roundTrip;
  }

  /** The offset is off by at most this. */
  get uncertainty(): number | undefined {
    const best = this.#best;
    return best && best.roundTrip / 2;
  }
}
