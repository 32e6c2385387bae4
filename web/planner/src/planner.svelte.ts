// The page's state: a text, the plan it says, the picture's layout, and what the engine answered about them.
//
// ```text
//   typing ──► text ──parse──► plan ──► picture
//   drawing ─► plan ──write──► text                each step of either can be undone
//                text ──judge──► fluid at once; run after run, until a verdict stands, when the hand rests;
//                     │            beside a run that was kept, and with its past, after a fork
//                     ├─why──────► what is the cause         when it is asked for,
//                     └─optimize─► the cheapest that holds   until it is stopped or the text is another
// ```
//
// The text is what counts: it is what is kept, shared and computed. While it cannot be read, the picture shows
// the last plan that could, and cannot be drawn in.

import {
  type Document,
  type Effort,
  type Explained,
  type Explaining,
  type Fault,
  type Fidelity,
  type Finding,
  isFailed,
  type Judging,
  type KindRules,
  type Optimized,
  type Run,
  type Searching,
} from "./engine/answers";
import { type Engine, TakenBack } from "./engine/engine";
import { connect } from "./model/edit";
import { History } from "./model/history";
import { objection } from "./model/kinds";
import { type Layout, layOut, type Point } from "./model/layout";
import { CLIENTS, type Kind, type Plan } from "./model/plan";

/** How long a hand rests before the text is read, and before it is judged. */
const TYPING_MS = 120;
const RESTING_MS = 450;

interface State {
  text: string;
  layout: Layout;
}

export interface Held {
  title: string;
  text: string;
  hour: number;
  runs: Partial<Record<Fidelity, Run>>;
}

export type Saver = (state: State) => void;

export class Planner {
  text = $state("");
  faults = $state.raw<Fault[]>([]);
  plan = $state.raw<Plan | null>(null);
  /** What the plan lacks before it can run: a topology that is being drawn. */
  missing = $state.raw<Fault[]>([]);
  defaults = $state.raw<Document["defaults"]>({});
  layout = $state.raw<Layout>({});
  selected = $state<string | null>(null);
  /** The moment that is looked at, hours. */
  hour = $state(0);
  isPlaying = $state(false);

  /** The latest answer, and by which fidelity. */
  run = $state.raw<Run | null>(null);
  runMillis = $state(0);
  /** Why there is none for this text. */
  runFaults = $state.raw<Fault[]>([]);
  /** The verdict is not there yet. */
  isComputing = $state(false);
  /** How far the judge is: none before its first run and after its last. */
  judging = $state.raw<Judging | null>(null);
  /** What is the cause, once it was asked for; and how far that is. */
  explained = $state.raw<Explained | null>(null);
  explaining = $state.raw<Explaining | Judging | "begun" | null>(null);
  /** The designs that were found; for how many more users one shall have room, and one has; and how far the search is. */
  optimized = $state.raw<Optimized | null>(null);
  margin = $state(0.2);
  soughtMargin = $state(0.2);
  searching = $state.raw<Searching | "begun" | null>(null);
  /** What was confirmed, or refused, of the search. */
  tried = $state.raw<Searching[]>([]);
  searchFaults = $state.raw<Fault[]>([]);
  /** What the rules find in this design: none before they were asked. */
  findings = $state.raw<Finding[] | null>(null);
  /** The run that others are compared with. */
  held = $state.raw<Held | null>(null);
  /** What the engine knows of the kinds: none before it was asked. */
  rules = $state.raw<KindRules[]>([]);
  /** A word to the user: what was refused, and why. */
  notice = $state("");

  canUndo = $state(false);
  canRedo = $state(false);

  readonly points: Readonly<Record<string, Point>> = $derived(this.plan ? layOut(this.plan.topology, this.layout) : {});
  readonly isReadable = $derived(this.faults.length === 0);
  #runs = $state.raw<Partial<Record<Fidelity, Run>>>({});
  /** What is shown is a verdict on this design, of as many runs as it took. */
  readonly isJudged = $derived(this.run !== null && this.run === this.#runs.hybrid && this.run.runs > 1);

  readonly #engine: Engine;
  readonly #save: Saver;
  #history = new History<State>({ text: "", layout: {} });
  /** How the latest verdict was asked for: why is asked of the same. */
  #effort: Effort = {};
  /** Grows with each change: an answer to an older one is dropped. */
  #version = 0;
  /** The change by hand that is under way: a step of its own, before any undo. */
  #written: Promise<void> = Promise.resolve();
  #typing: ReturnType<typeof setTimeout> | undefined;
  #resting: ReturnType<typeof setTimeout> | undefined;
  #isFluidBusy = false;
  /** Grow with each question that takes long, and when it is taken back: what comes of an older one is dropped. */
  #asked = 0;
  #sought = 0;

  constructor(engine: Engine, save: Saver) {
    this.#engine = engine;
    this.#save = save;
  }

  async #askKinds(): Promise<void> {
    if (this.rules.length > 0) return;
    try {
      const { answer } = await this.#engine.quick({ op: "kinds" });
      this.rules = answer;
    } catch (error) {
      this.notice = words(error);
    }
  }

  /** The size a node has that names none. */
  sizeOf(kind: Kind): string {
    return this.rules.find((rule) => rule.kind === kind)?.sizes[0]?.name ?? "";
  }

  /** Why an edge may not be drawn; null if it may. */
  objection(from: string, to: string): string | null {
    return this.plan ? objection(this.rules, this.plan.topology, from, to) : "there is no plan";
  }

  // ---- text and picture ------------------------------------------------------------

  /** Takes another plan up: nothing before it can be undone. */
  async open(text: string, layout: Layout = {}): Promise<void> {
    void this.#askKinds();
    this.#history = new History({ text, layout });
    this.#restore(this.#history.now);
    this.selected = null;
    this.held = null;
    this.hour = 0;
    this.isPlaying = false;
    this.notice = "";
    await this.#read();
  }

  type(text: string): void {
    this.#version += 1;
    this.text = text;
    this.#record("typing");
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => void this.#read(), TYPING_MS);
  }

  /** A change of the plan by hand; those with the same mark are one step of undo. */
  change(plan: Plan, mark: string | null = null): Promise<void> {
    this.#written = this.#write(plan, mark);
    return this.#written;
  }

  async #write(plan: Plan, mark: string | null): Promise<void> {
    if (!this.#mayDraw()) return;
    const before = this.plan;
    const version = ++this.#version;
    this.plan = plan;
    try {
      const { answer } = await this.#engine.quick({ op: "write", plan: $state.snapshot(plan) as Plan });
      if (version !== this.#version) return;
      if (isFailed(answer)) {
        this.plan = before;
        this.notice = answer.errors.map((fault) => fault.message).join("; ");
        return;
      }
      this.text = answer.text ?? this.text;
      this.#record(mark);
      this.#take(answer);
    } catch (error) {
      if (version === this.#version) this.plan = before;
      this.notice = words(error);
    }
  }

  async connect(from: string, to: string): Promise<void> {
    if (!this.plan) return;
    const connected = connect(this.rules, this.plan, from, to);
    if ("objection" in connected) this.notice = connected.objection;
    else await this.change(connected.plan);
  }

  move(id: string, point: Point): void {
    this.layout = { ...this.layout, [id]: point };
    this.#record(`move ${id}`);
  }

  /** Lays the picture out anew. */
  tidy(): void {
    this.layout = {};
    this.#record(null);
  }

  async undo(): Promise<void> {
    await this.#written;
    this.#restore(this.#history.undo());
    await this.#read();
  }

  async redo(): Promise<void> {
    await this.#written;
    this.#restore(this.#history.redo());
    await this.#read();
  }

  #mayDraw(): boolean {
    if (this.plan && this.isReadable) return true;
    this.notice = "the file has an error: mend it, or undo, to go on drawing";
    return false;
  }

  #restore(state: State): void {
    clearTimeout(this.#typing);
    this.#version += 1;
    this.text = state.text;
    this.layout = state.layout;
    this.#told();
  }

  #record(mark: string | null): void {
    this.#history.push({ text: this.text, layout: this.layout }, mark);
    this.#told();
  }

  #told(): void {
    this.canUndo = this.#history.canUndo;
    this.canRedo = this.#history.canRedo;
    this.#save(this.#history.now);
  }

  async #read(): Promise<void> {
    const version = ++this.#version;
    try {
      const { answer } = await this.#engine.quick({ op: "parse", text: this.text });
      if (version !== this.#version) return;
      if (isFailed(answer)) {
        this.faults = answer.errors;
        this.#stop();
        return;
      }
      this.faults = [];
      // What can be read is a step of its own: from a mistake that is typed next, an undo leads back to it.
      this.#history.pause();
      this.#take(answer);
    } catch (error) {
      this.notice = words(error);
    }
  }

  #take({ plan, missing, defaults }: Document): void {
    this.plan = plan;
    this.missing = missing;
    this.defaults = defaults;
    if (this.selected !== null && !plan.topology.nodes.some((node) => node.id === this.selected)) this.selected = null;
    this.hour = Math.min(this.hour, plan.scenario.hours);
    if (missing.length === 0) this.#compute();
    else this.#show(null, 0, missing);
  }

  // ---- runs ------------------------------------------------------------------------

  #compute(): void {
    this.#forget();
    this.isComputing = true;
    this.#resting = setTimeout(() => void this.judge(), RESTING_MS);
    void this.#runFluid();
  }

  /** The fluid answers while a hand moves: one question at a time, always about the latest text. */
  async #runFluid(): Promise<void> {
    if (this.#isFluidBusy) return;
    this.#isFluidBusy = true;
    try {
      for (let asked = ""; asked !== this.text && this.isReadable; ) {
        asked = this.text;
        const { answer, millis } = await this.#engine.quick({ op: "judge", text: asked, effort: { fidelity: "fluid" } });
        if (asked !== this.text) continue;
        if (isFailed(answer)) {
          this.#show(null, 0, answer.errors);
        } else if (!this.#runs.hybrid) {
          this.#runs = { fluid: answer };
          this.#show(answer, millis);
        }
      }
    } catch (error) {
      this.notice = words(error);
    } finally {
      this.#isFluidBusy = false;
    }
  }

  /** The rules make a dozen fluid runs: they are asked when the hand rests. */
  async #lint(): Promise<void> {
    const asked = this.text;
    const today = new Date().toISOString().slice(0, 10);
    try {
      const { answer } = await this.#engine.quick({ op: "lint", text: asked, today, with_pairs: false });
      if (asked === this.text) this.findings = isFailed(answer) ? null : answer.findings;
    } catch (error) {
      this.notice = words(error);
    }
  }

  /** Makes as many runs as it takes, or as many as are asked for, until the design is another. */
  async judge(effort: Effort = {}): Promise<void> {
    const asked = ++this.#asked;
    this.#history.pause();
    this.#effort = effort;
    this.isComputing = true;
    this.judging = null;
    this.explained = null;
    this.explaining = null;
    void this.#lint();
    const start = performance.now();
    const told = (judging: Judging): void => {
      if (asked !== this.#asked) return;
      this.judging = judging;
      if (judging.run && !this.#runs.hybrid) this.#showHybrid(judging.run, performance.now() - start);
    };
    try {
      const from = this.#from();
      const { answer, millis } = await this.#engine.long("deep", { op: "judge", text: this.text, effort, ...(from ? { from } : {}) }, told);
      if (asked !== this.#asked) return;
      if (isFailed(answer)) this.#show(null, 0, answer.errors);
      else this.#showHybrid(answer, millis);
    } catch (error) {
      if (!(error instanceof TakenBack)) this.notice = words(error);
    } finally {
      if (asked === this.#asked) {
        this.isComputing = false;
        this.judging = null;
      }
    }
  }

  #showHybrid(run: Run, millis: number): void {
    this.#runs = { ...this.#runs, hybrid: run };
    this.#show(run, millis);
  }

  #show(run: Run | null, millis: number, faults: Fault[] = []): void {
    this.run = run;
    this.runMillis = millis;
    this.runFaults = faults;
    // What cannot run now is not run later.
    if (!run) this.#forget();
  }

  /** Nothing that was found stands any more. */
  #forget(): void {
    this.#stop();
    this.#runs = {};
    this.explained = null;
    this.optimized = null;
    this.tried = [];
    this.searchFaults = [];
  }

  /** Takes back what is being looked for. */
  #stop(): void {
    clearTimeout(this.#resting);
    this.#asked += 1;
    this.#engine.takeBack("deep");
    this.isComputing = false;
    this.judging = null;
    this.explaining = null;
    this.stopSearch();
  }

  // ---- why, and what is cheaper ----------------------------------------------------

  /** Looks for the causes of what was judged. */
  async explain(): Promise<void> {
    if (!this.isJudged || this.isComputing || this.explaining) return;
    const asked = ++this.#asked;
    this.explaining = "begun";
    try {
      const { answer } = await this.#engine.long("deep", { op: "why", text: this.text, effort: this.#effort }, (told) => {
        if (asked === this.#asked) this.explaining = told;
      });
      if (asked !== this.#asked) return;
      if (isFailed(answer)) this.notice = answer.errors.map((fault) => fault.message).join("; ");
      else this.explained = answer;
    } catch (error) {
      if (!(error instanceof TakenBack)) this.notice = words(error);
    } finally {
      if (asked === this.#asked) this.explaining = null;
    }
  }

  stopExplaining(): void {
    if (this.explaining) this.#engine.takeBack("deep");
  }

  /** Looks for the cheapest design that holds. */
  async optimize(): Promise<void> {
    if (!this.run || this.searching) return;
    const sought = ++this.#sought;
    this.searching = "begun";
    this.soughtMargin = this.margin;
    this.optimized = null;
    this.tried = [];
    this.searchFaults = [];
    try {
      const { answer } = await this.#engine.long("search", { op: "optimize", text: this.text, margin: this.margin }, (told) => {
        if (sought !== this.#sought) return;
        this.searching = told;
        if (told.holds !== null) this.tried = [...this.tried, told];
      });
      if (sought !== this.#sought) return;
      if (isFailed(answer)) this.searchFaults = answer.errors;
      else this.optimized = answer;
    } catch (error) {
      if (!(error instanceof TakenBack)) this.notice = words(error);
    } finally {
      if (sought === this.#sought) this.searching = null;
    }
  }

  stopSearch(): void {
    this.#sought += 1;
    this.#engine.takeBack("search");
    this.searching = null;
  }

  /** Takes a design that was found: a step that can be undone. */
  async take(text: string): Promise<void> {
    await this.#written;
    this.#version += 1;
    this.text = text;
    this.#record(null);
    await this.#read();
  }

  // ---- comparing -------------------------------------------------------------------

  /**
   * Keeps this run: what is changed from now on goes on from it, at this minute. Where something was changed since it was
   * kept, that is moved to this minute.
   */
  fork(): void {
    if (!this.plan || !this.run) return;
    const hour = Math.round(this.hour * 60) / 60;
    if (this.held && this.held.text !== this.text) {
      this.held = { ...this.held, hour };
      this.#compute();
    } else {
      this.held = { title: this.plan.title, text: this.text, hour, runs: this.#runs };
    }
  }

  /** What the run goes on from; nothing where it is the kept one itself. */
  #from(): { text: string; at_s: number } | null {
    return this.held && this.held.text !== this.text ? { text: this.held.text, at_s: Math.round(this.held.hour * 3600) } : null;
  }

  /** Goes back to the run that was kept. */
  async takeHeldBack(): Promise<void> {
    const held = this.held;
    if (!held) return;
    this.held = null;
    await this.take(held.text);
  }

  /** Lets the kept run go: this plan has its own past again. */
  release(): void {
    const isForked = this.#from() !== null;
    this.held = null;
    if (isForked && this.isReadable && this.missing.length === 0) this.#compute();
  }

  /** The kept run that may be compared with the one that is shown: of the same fidelity, or none. */
  get counterpart(): Run | null {
    const run = this.run;
    return (run && this.held?.runs[run.fidelity]) ?? null;
  }

  get places(): string[] {
    return [CLIENTS, ...(this.plan?.topology.nodes.map((node) => node.id) ?? [])];
  }
}

function words(error: unknown): string {
  return error instanceof Error ? `the engine stopped: ${error.message}` : String(error);
}
