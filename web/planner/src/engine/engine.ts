// The engine as the page sees it: questions that are answered later.
//
// Two threads: one answers in milliseconds (reading and writing the text, fluid runs), one computes for seconds and
// is cut off when its question is out of date.

import type { Answer, Request } from "./answers";
import type { Asked, Told } from "./worker";

export interface Timed<A> {
  answer: A;
  millis: number;
}

/** The question was taken back: nobody waits for its answer. */
export class TakenBack extends Error {}

class Thread {
  #worker: Worker | null = null;
  #waiting = new Map<number, { resolve(told: Timed<unknown>): void; reject(error: Error): void }>();
  #next = 0;

  ask(request: unknown): Promise<Timed<unknown>> {
    const worker = this.#start();
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      worker.postMessage({ id, request } satisfies Asked);
    });
  }

  get isBusy(): boolean {
    return this.#waiting.size > 0;
  }

  stop(error: Error): void {
    this.#worker?.terminate();
    this.#worker = null;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  #start(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.addEventListener("message", (event: MessageEvent<Told>) => {
      const told = event.data;
      const waiting = this.#waiting.get(told.id);
      this.#waiting.delete(told.id);
      if ("failure" in told) waiting?.reject(new Error(told.failure));
      else waiting?.resolve(told);
    });
    worker.addEventListener("error", () => this.stop(new Error("the engine could not be loaded")));
    this.#worker = worker;
    return worker;
  }
}

export class Engine {
  readonly #quick = new Thread();
  readonly #deep = new Thread();

  quick<R extends Request>(request: R): Promise<Timed<Answer<R>>> {
    return this.#quick.ask(request) as Promise<Timed<Answer<R>>>;
  }

  /** A question of seconds; the one before it is taken back if it is still open. */
  deep<R extends Request>(request: R): Promise<Timed<Answer<R>>> {
    this.takeBack();
    return this.#deep.ask(request) as Promise<Timed<Answer<R>>>;
  }

  takeBack(): void {
    if (this.#deep.isBusy) this.#deep.stop(new TakenBack("taken back"));
  }
}
