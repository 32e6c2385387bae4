// The engine in a thread of its own, so that the page never waits. One request at a time, in order.

import { Module } from "./module";
import wasmUrl from "./plan.wasm?url";

export interface Asked {
  id: number;
  request: unknown;
}
/** What is told comes any number of times before the answer. */
export type Reply = { id: number; told: unknown } | { id: number; answer: unknown; millis: number } | { id: number; failure: string };

const compiled = WebAssembly.compileStreaming(fetch(wasmUrl));
let current: Module | null = null;

async function answer({ id, request }: Asked): Promise<Reply> {
  try {
    current ??= new Module(await compiled);
    const start = performance.now();
    return { id, answer: current.call(request, (told) => self.postMessage({ id, told } satisfies Reply)), millis: performance.now() - start };
  } catch (error) {
    // It may have stopped half-way: the next request gets a fresh one.
    current = null;
    return { id, failure: error instanceof Error ? error.message : String(error) };
  }
}

let turn: Promise<unknown> = Promise.resolve();
self.addEventListener("message", (event: MessageEvent<Asked>) => {
  turn = turn.then(async () => self.postMessage(await answer(event.data)));
});
