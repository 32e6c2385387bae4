import { expect, test } from "vitest";
import { History } from "../src/model/history";

test("steps are undone and redone, and a new one ends what could be redone", () => {
  const history = new History("a");
  history.push("b");
  history.push("c");
  expect(history.undo()).toBe("b");
  expect(history.undo()).toBe("a");
  expect(history.undo()).toBe("a");
  expect(history.redo()).toBe("b");
  history.push("d");
  expect(history.canRedo).toBe(false);
  expect(history.undo()).toBe("b");
});

test("typing a word is one step, until there was a pause", () => {
  const history = new History("");
  for (const text of ["w", "wo", "wor"]) history.push(text, "typing");
  history.pause();
  history.push("word", "typing");
  expect(history.undo()).toBe("wor");
  expect(history.undo()).toBe("");
});

test("what was typed after an undo does not overwrite the state it came from", () => {
  const history = new History("");
  history.push("a", "typing");
  history.undo();
  history.push("b", "typing");
  expect(history.undo()).toBe("");
});

test("it forgets the oldest, not the newest", () => {
  const history = new History(0);
  for (let n = 1; n <= 1000; n += 1) history.push(n);
  expect(history.now).toBe(1000);
  let steps = 0;
  while (history.canUndo) {
    history.undo();
    steps += 1;
  }
  expect(steps).toBe(199);
});
