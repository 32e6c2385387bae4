// What can be undone: states one after the other, and where in them we are. Pure, so that it can be tested.

const STATES_MAX = 200;

export class History<T> {
  #states: T[];
  #at = 0;
  #mark: string | null = null;

  constructor(first: T) {
    this.#states = [first];
  }

  get now(): T {
    return this.#states[this.#at] as T;
  }
  get canUndo(): boolean {
    return this.#at > 0;
  }
  get canRedo(): boolean {
    return this.#at < this.#states.length - 1;
  }

  /** A new state. One with the same mark as the last takes its place: typing a word, or a drag, is one step. */
  push(state: T, mark: string | null = null): void {
    const joins = mark !== null && mark === this.#mark && this.#at > 0 && !this.canRedo;
    this.#states.length = this.#at + 1;
    if (joins) {
      this.#states[this.#at] = state;
    } else {
      this.#states.push(state);
      if (this.#states.length > STATES_MAX) this.#states.shift();
      this.#at = this.#states.length - 1;
    }
    this.#mark = mark;
  }

  /** What comes next is a step of its own. */
  pause(): void {
    this.#mark = null;
  }

  undo(): T {
    if (this.canUndo) this.#at -= 1;
    this.#mark = null;
    return this.now;
  }
  redo(): T {
    if (this.canRedo) this.#at += 1;
    this.#mark = null;
    return this.now;
  }
}
