// The engine as the page sees it: questions that are answered later.
//
// Three threads: one answers in milliseconds (reading and writing the text, fluid runs), one judges and tells why for
// seconds, one looks for designs for longer. The last two tell how far they are, and are cut off when their question is
// out of date or taken back.

import type { Answer, Request, Told } from "./answers";
import type { Asked, Reply } from "./worker";

export interface Timed<A> {
  answer: A;
  millis: number;
}

/** The question was taken back: nobody waits for its answer. */
export class TakenBack extends Error {}

class Thread {
  #worker: Worker | null = null;
  #waiting = new Map<number, { tell(told: unknown): void; resolve(answer: Timed<unknown>): void; reject(error: Error): void }>();
  #next = 0;

  ask(request: unknown, tell: (told: unknown) => void = () => {}): Promise<Timed<unknown>> {
    const worker = this.#start();
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { tell, resolve, reject });
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
    worker.addEventListener("message", (event: MessageEvent<Reply>) => {
      const reply = event.data;
      const waiting = this.#waiting.get(reply.id);
      if ("told" in reply) {
        waiting?.tell(reply.told);
        return;
      }
      this.#waiting.delete(reply.id);
      if ("failure" in reply) waiting?.reject(new Error(reply.failure));
      else waiting?.resolve(reply);
    });
    worker.addEventListener("error", () => this.stop(new Error("the engine could not be loaded")));
    this.#worker = worker;
    return worker;
  }
}

/** Which thread computes for long. */
export type Long = "deep" | "search";

export class Engine {
  readonly #quick = new Thread();
  readonly #long: Record<Long, Thread> = { deep: new Thread(), search: new Thread() };

  quick<R extends Request>(request: R): Promise<Timed<Answer<R>>> {
    return this.#quick.ask(request) as Promise<Timed<Answer<R>>>;
  }

  /** A question of seconds; the one before it on that thread is taken back if it is still open. */
  long<R extends Request>(thread: Long, request: R, tell: (told: Told<R>) => void): Promise<Timed<Answer<R>>> {
    this.takeBack(thread);
    return this.#long[thread].ask(request, (told) => tell(told as Told<R>)) as Promise<Timed<Answer<R>>>;
  }

  takeBack(thread: Long): void {
    if (this.#long[thread].isBusy) this.#long[thread].stop(new TakenBack("taken back"));
  }
}
