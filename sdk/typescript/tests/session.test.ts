// Stories through a session with a hand-moved clock and chosen chance.

import { beforeEach, describe, expect, test } from "vitest";
import { CODECS } from "../src/codec.js";
import { type JoinOptions, LIMITS, type Limits, type Rejected, type RejectError, type State } from "../src/face.js";
import type { Publication } from "../src/frames.js";
import { Session } from "../src/session.js";

const EPOCH = "00000000000000aa";

interface Sent {
  id: number;
  [command: string]: unknown;
}

class World {
  now = 1_000_000;
  chance = 0.5;
  opened = 0;
  tokens = 0;
  closes = 0;
  ticket = 0;
  wake: number | undefined;
  sent: Sent[] = [];
  states: [State, string][] = [];
  rejected: Rejected[] = [];
  slots: number[] = [];
  readonly session: Session;

  constructor(limits: Partial<Limits> = {}) {
    const host = {
      now: () => this.now,
      random: () => this.chance,
      fetchToken: (ticket: number) => {
        this.tokens++;
        this.ticket = ticket;
      },
      open: () => {
        this.opened++;
      },
      send: (message: unknown) => {
        this.sent.push(JSON.parse(String(message)));
      },
      close: () => {
        this.closes++;
      },
      wakeAt: (time: number | undefined) => {
        this.wake = time;
      },
    };
    const listener = {
      onState: (state: State, why: string) => this.states.push([state, why]),
      onConnected: () => {},
      onRejected: (rejected: Rejected) => this.rejected.push(rejected),
      onDraining: (inMs: number) => this.slots.push(inMs),
    };
    this.session = new Session(host, listener, CODECS.json, { name: "test", version: "0" }, { ...LIMITS, ...limits });
  }

  /** The frames sent since last asked, pings left out. */
  take(): Sent[] {
    return this.sent.splice(0).filter((frame) => !("ping" in frame));
  }

  say(frame: unknown): void {
    this.session.received(JSON.stringify(frame));
  }

  /** From nothing, or from waiting, to connected. Returns the connect frame. */
  connect(more: object = {}): Sent {
    if (this.session.state === "waiting") this.wakeUp();
    else this.session.connect();
    this.session.tokenFetched(this.ticket, "t");
    this.session.opened();
    const [connect] = this.take();
    if (!connect) throw new Error("no connect was sent");
    const ok = { connection: "c", user: "ann", ping_ms: 25_000, frame_bytes_max: 65_536, reconnect_ms: 2_000 };
    this.say({ id: connect.id, ok: { ...ok, ...more } });
    return connect;
  }

  /** Lets time pass as the host would, answering pings or not. */
  pass(ms: number, server: "answers" | "is silent" = "answers"): void {
    const end = this.now + ms;
    while (this.wake !== undefined && this.wake <= end && this.session.state === "connected") {
      this.wakeUp();
      const pings = this.sent.filter((frame) => "ping" in frame);
      this.sent = this.sent.filter((frame) => !("ping" in frame));
      if (server === "is silent") continue;
      for (const { id } of pings) this.say({ id, ok: { t0: this.now, t1: this.now + 5, t2: this.now + 5 } });
    }
    this.now = Math.max(this.now, end);
  }

  wakeUp(): void {
    if (this.wake === undefined) throw new Error("nothing is planned");
    this.now = Math.max(this.now, this.wake);
    this.session.tick();
  }
}

class Listened {
  events: number[] = [];
  gaps: string[] = [];
  removed: RejectError[] = [];
  joined = 0;
  onJoined = () => {
    this.joined++;
  };
  onEvent = (publication: Publication) => {
    this.events.push(publication.offset);
  };
  states: [string, number][][] = [];
  onState = (publications: ReadonlyMap<string, Publication>) => {
    this.states.push([...publications].map(([key, { offset }]) => [key, offset]));
  };
  onMembers = () => {};
  onGap = (reason: string) => {
    this.gaps.push(reason);
  };
  onRemoved = (error: RejectError) => {
    this.removed.push(error);
  };
}

function joined(id: number, offset: number, more: object = {}) {
  return { id, ok: { room: "chat:a", epoch: EPOCH, offset, recovery: "none", replayed: 0, ...more } };
}

function event(offset: number) {
  return { event: { room: "chat:a", offset, data: offset } };
}

let world: World;
beforeEach(() => {
  world = new World();
});

function join(options: JoinOptions = {}): Listened {
  const room = new Listened();
  world.session.join("chat:a", options, room);
  return room;
}

describe("connecting", () => {
  test("a token is fetched, then the socket opened, then connect sent", () => {
    world.session.connect();
    expect([world.tokens, world.opened]).toEqual([1, 0]);
    world.session.tokenFetched(world.ticket, "secret");
    expect(world.opened).toBe(1);
    world.session.opened();
    expect(world.take()[0]).toMatchObject({ connect: { token: "secret", client: { name: "test" } } });
    expect(world.session.state).toBe("connecting");
  });

  test("the first wait is within the server's window, later ones double, all of them by chance", () => {
    world.connect();
    world.chance = 0.25;
    world.session.closed(1006);
    expect(world.wake).toBe(world.now + 500);
    const waits = [1, 2, 3, 4].map(() => {
      world.wakeUp();
      world.session.closed(1006);
      return (world.wake ?? 0) - world.now;
    });
    // The window is 2 s: no attempt is drawn from less, whoever refuses it.
    expect(waits).toEqual([500, 500, 1_000, 2_000]);
    for (let n = 0; n < 20; n++) {
      world.wakeUp();
      world.session.closed(1006);
    }
    expect((world.wake ?? 0) - world.now).toBe(LIMITS.backoffMax * 0.25);
  });

  test("a slot is kept to the millisecond, however the connection ends before it", () => {
    for (const code of [4000, 1006, 4001]) {
      world = new World();
      join();
      const { resume } = world.connect().connect as { resume: [{ id: number }] };
      world.say(joined(resume[0].id, 41));
      world.say({ notice: { kind: "draining", in_ms: 4_200 } });
      expect(world.slots).toEqual([4_200]);
      const slot = world.now + 4_200;
      world.now += 700;
      world.say(event(42));
      world.chance = 0.9;
      world.session.closed(code);
      expect([world.session.state, world.wake]).toEqual(["waiting", slot]);
      // Neither a page that is seen again nor an early timer makes it come before.
      world.session.hurry();
      world.now = slot - 1;
      world.session.tick();
      expect([world.session.state, world.opened]).toEqual(["waiting", 1]);
      expect(world.connect().connect).toMatchObject({
        resume: [{ room: "chat:a", since: { epoch: EPOCH, offset: 42 } }],
      });
      expect(world.now).toBe(slot);
      // It counts for that one time.
      world.session.closed(1006);
      expect(world.wake).toBe(world.now + 0.9 * 2_000);
    }
  });

  test("closed at its slot it comes back at once; lost after it, at random", () => {
    for (const [code, wait] of [[4000, 0], [1006, 500]] as const) {
      world = new World();
      world.connect();
      world.say({ notice: { kind: "draining", in_ms: 1_000 } });
      world.now += 1_200;
      world.chance = 0.25;
      world.session.closed(code);
      expect((world.wake ?? 0) - world.now).toBe(wait);
    }
  });

  test("refused at its slot it waits within the server's window, and longer each time", () => {
    world.connect({ reconnect_ms: 3_000 });
    world.say({ notice: { kind: "draining", in_ms: 1_000 } });
    world.session.closed(4000);
    world.chance = 0.5;
    const waits = [1, 2, 3, 4, 5].map(() => {
      world.wakeUp();
      world.session.closed(1006);
      return (world.wake ?? 0) - world.now;
    });
    expect(waits).toEqual([1_500, 1_500, 1_500, 2_000, 4_000]);
  });

  test("an absurd slot is bounded, and one that is past is now", () => {
    for (const [inMs, wait] of [[1e15, 7_200_000], [-5, 0]] as const) {
      world = new World();
      world.connect();
      world.say({ notice: { kind: "draining", in_ms: inMs } });
      world.session.closed(4000);
      expect((world.wake ?? 0) - world.now).toBe(wait);
    }
  });

  test("what is rejected because the server drains is repeated on the next connection, at once", async () => {
    world.connect();
    const published = world.session.publish("chat:a", 1, { msg: "m-1" });
    const [first] = world.take();
    world.say({ notice: { kind: "draining", in_ms: 2_000 } });
    world.say({ id: first?.id, reject: { code: 104, name: "draining", retry_after_ms: 2_000 } });
    world.session.closed(4000);
    world.connect();
    const [again] = world.take();
    expect(again).toMatchObject({ publish: { msg: "m-1" } });
    world.say({ id: again?.id, ok: { epoch: EPOCH, offset: 1, duplicate: false } });
    expect((await published).position.offset).toBe(1);
  });

  test("codes say whether to come back, and with what", () => {
    world.connect();
    world.session.closed(4100);
    expect(world.session.state).toBe("waiting");
    world.wakeUp();
    expect(world.tokens).toBe(2);
    world.session.tokenFetched(world.ticket, "new");
    world.session.opened();
    world.session.closed(4501);
    expect(world.states.at(-1)).toEqual(["closed", "disconnected"]);
    expect(world.wake).toBeUndefined();
  });

  test("a good token is used again", () => {
    world.connect();
    world.session.closed(4001);
    world.wakeUp();
    expect([world.tokens, world.opened]).toEqual([1, 2]);
  });

  test("a silent server is given up, one that answers is not", () => {
    world.connect();
    world.pass(300_000);
    expect(world.session.state).toBe("connected");
    const heardLast = world.now;
    world.pass(60_000, "is silent");
    expect(world.states.at(-1)).toEqual(["waiting", "the server is silent"]);
    expect(world.closes).toBe(1);
    expect(world.now - heardLast).toBeLessThanOrEqual(60_000);
  });

  test("a page whose timers slept does not take that for silence", () => {
    world.connect();
    world.pass(30_000);
    world.now += 600_000;
    world.session.tick();
    expect(world.session.state).toBe("connected");
    expect(world.sent.some((frame) => "ping" in frame)).toBe(true);
  });

  test("back online it asks at once whether anyone is there", () => {
    world.connect();
    world.pass(30_000);
    world.session.hurry();
    world.pass(5_000, "is silent");
    expect(world.states.at(-1)).toEqual(["waiting", "the server is silent"]);
    world.session.hurry();
    expect(world.session.state).toBe("connecting");
  });

  test("an expiring token is refreshed when the server asks", () => {
    world.connect();
    world.say({ notice: { kind: "token_expiring", in_ms: 30_000 } });
    world.say({ notice: { kind: "token_expiring", in_ms: 30_000 } });
    expect(world.tokens).toBe(2);
    world.session.tokenFetched(world.ticket, "second");
    expect(world.take()).toMatchObject([{ refresh: { token: "second" } }]);
  });

  test("a token is renewed before it expires, once each time", () => {
    world.connect({ expires_in_ms: 600_000 });
    world.pass(530_000);
    expect(world.tokens).toBe(1);
    world.pass(30_000);
    expect(world.tokens).toBe(2);
    world.session.tokenFetched(world.ticket, "second");
    const [refresh] = world.take();
    world.say({ id: refresh?.id, ok: { expires_in_ms: 600_000 } });
    world.pass(500_000);
    expect(world.tokens).toBe(2);
    world.pass(60_000);
    expect(world.tokens).toBe(3);
  });

  test("the same expiring token again is not asked for in circles", () => {
    world.connect({ expires_in_ms: 100_000 });
    for (let n = 0; n < 5; n++) {
      world.pass(20_000);
      world.session.tokenFetched(world.ticket, "t");
      const [refresh] = world.take();
      if (refresh) world.say({ id: refresh.id, ok: { expires_in_ms: Math.max(0, 1_100_000 - world.now) } });
    }
    expect(world.tokens).toBe(2);
  });

  test("a refresh that fails is tried again", () => {
    world.connect({ expires_in_ms: 600_000 });
    world.pass(560_000);
    world.session.tokenFailed(world.ticket, "the network");
    world.pass(10_000);
    expect(world.tokens).toBe(3);
    world.session.tokenFetched(world.ticket, "bad");
    const [refresh] = world.take();
    world.say({ id: refresh?.id, reject: { code: 300, name: "token_invalid" } });
    world.pass(10_000);
    expect(world.tokens).toBe(4);
    expect(world.session.state).toBe("connected");
  });

  test("a token that comes too late is nobody's", () => {
    world.session.connect();
    const late = world.ticket;
    world.now += LIMITS.openTimeout;
    world.session.tick();
    expect(world.states.at(-1)).toEqual(["waiting", "no answer in time"]);
    world.wakeUp();
    world.session.tokenFetched(late, "late");
    expect(world.opened).toBe(0);
    world.session.tokenFetched(world.ticket, "in time");
    expect(world.opened).toBe(1);
  });

  test("what is not our protocol ends the connection", () => {
    world.connect();
    world.session.received("{nonsense");
    expect(world.session.state).toBe("waiting");
  });
});

describe("rooms", () => {
  test("a reconnect resumes by position, and what comes twice is told once", () => {
    const room = join({ last: 2 });
    const connect = world.connect();
    const [resume] = (connect.connect as { resume: Sent[] }).resume;
    expect(resume).toMatchObject({ room: "chat:a", last: 2 });
    world.say(joined(resume?.id ?? 0, 5, { recovery: "replay", replayed: 2 }));
    for (const offset of [4, 5, 6]) world.say(event(offset));
    world.session.closed(1006);
    const again = (world.connect().connect as { resume: Sent[] }).resume[0];
    expect(again).toMatchObject({ since: { epoch: EPOCH, offset: 6 } });
    world.say(joined(again?.id ?? 0, 8, { recovery: "replay", replayed: 2 }));
    for (const offset of [6, 7, 8, 8, 9]) world.say(event(offset));
    expect(room.events).toEqual([4, 5, 6, 7, 8, 9]);
    expect(world.session.position("chat:a")).toEqual({ epoch: EPOCH, offset: 9 });
  });

  test("a gap is told, on a join and in between", () => {
    const room = join({ since: { epoch: EPOCH, offset: 3 } });
    const { resume } = world.connect().connect as { resume: Sent[] };
    world.say(joined(resume[0]?.id ?? 0, 90, { recovery: "gap", reason: "trimmed" }));
    expect([room.gaps, room.joined]).toEqual([["trimmed"], 1]);
    world.say(event(91));
    world.say({ gap: { room: "chat:a", reason: "epoch", epoch: "00000000000000bb", offset: 2 } });
    world.say(event(3));
    expect([room.gaps, room.events]).toEqual([["trimmed", "epoch"], [91, 3]]);
  });

  test("a room we may not join is told, one that is busy is tried again", () => {
    world.connect();
    const room = join();
    const [first] = world.take();
    world.say({ id: first?.id, reject: { code: 102, name: "overloaded", retry_after_ms: 400 } });
    world.now += 601;
    world.session.tick();
    const [second] = world.take();
    expect(second).toMatchObject({ join: { room: "chat:a" } });
    world.say({ id: second?.id, reject: { code: 202, name: "forbidden" } });
    expect(room.removed[0]?.code).toBe(202);
  });

  test("a room left while its join is under way with connect is left at the server too", () => {
    join();
    world.session.connect();
    world.session.tokenFetched(world.ticket, "t");
    world.session.opened();
    const [connect] = world.take();
    world.session.leave("chat:a");
    join();
    world.say({ id: connect?.id, ok: { connection: "c", user: "ann", ping_ms: 25_000, frame_bytes_max: 1, reconnect_ms: 1 } });
    expect(world.take()).toMatchObject([{ leave: { room: "chat:a" } }, { join: { room: "chat:a" } }]);
  });

  test("more rooms than fit into connect are joined after it", () => {
    for (let n = 0; n < 500; n++) world.session.join(`chat:${"x".repeat(150)}${n}`, {}, new Listened());
    const connect = world.connect();
    expect(JSON.stringify(connect).length).toBeLessThan(65_536);
    const resumed = (connect.connect as { resume: Sent[] }).resume.length;
    const joins = world.take().filter((frame) => "join" in frame).length;
    expect(resumed).toBeGreaterThan(10);
    expect(resumed + joins).toBe(500);
  });

  test("wishes that come while a join is under way are sent after it, and only then", async () => {
    world.connect();
    join({ wishes: { keys: ["a"] } });
    const [sent] = world.take();
    expect(sent?.join).toMatchObject({ keys: ["a"] });
    await world.session.filter("chat:a", { keys: ["b"], maxRate: 2 });
    expect(world.take()).toEqual([]);
    world.say(joined(sent?.id ?? 0, 0));
    const [filter, ...more] = world.take();
    expect(filter?.filter).toEqual({ room: "chat:a", keys: ["b"], max_rate: 2 });
    expect(more).toEqual([]);
    world.say({ id: filter?.id, ok: {} });

    // The next join asks for them itself, and so does one that is still with `connect`.
    world.session.closed(1006);
    world.wakeUp();
    world.session.opened();
    const [connect] = world.take();
    const resume = (connect?.connect as { resume: Sent[] }).resume[0];
    expect(resume).toMatchObject({ keys: ["b"], max_rate: 2 });
    await world.session.filter("chat:a", {});
    await world.session.filter("chat:a", { keys: ["b"], maxRate: 2 });
    world.say({ id: connect?.id, ok: { connection: "c", user: "ann", ping_ms: 25_000, frame_bytes_max: 65_536 } });
    world.say(joined(resume?.id as number, 0));
    expect(world.take()).toEqual([]);
  });

  test("a listener that leaves as soon as it has joined is not filtered", async () => {
    world.connect();
    const room = join();
    room.onJoined = () => world.session.leave("chat:a");
    const [sent] = world.take();
    await world.session.filter("chat:a", { keys: ["b"] });
    world.say(joined(sent?.id ?? 0, 0));
    expect(world.take().map((frame) => Object.keys(frame)[1])).toEqual(["leave"]);
  });

  test("events after leaving are nobody's", () => {
    world.connect();
    const room = join();
    const [sent] = world.take();
    world.say(joined(sent?.id ?? 0, 0));
    world.session.leave("chat:a");
    world.say(event(1));
    expect(room.events).toEqual([]);
  });
});

describe("publishing", () => {
  test("what was not answered is repeated under the same id after a reconnect", async () => {
    world.connect();
    const published = world.session.publish("chat:a", { n: 1 }, {});
    const [first] = world.take();
    world.session.closed(1006);
    world.connect();
    const [again] = world.take();
    expect(again?.publish).toEqual(first?.publish);
    world.say({ id: again?.id, ok: { epoch: EPOCH, offset: 7, duplicate: true } });
    expect(await published).toEqual({ position: { epoch: EPOCH, offset: 7 }, duplicate: true });
  });

  test("an offline queue is sent in order, no faster than answers come", () => {
    for (let n = 0; n < 40; n++) world.session.publish("chat:a", n, {}).catch(() => {});
    world.connect();
    const first = world.take();
    expect(first.map((frame) => (frame.publish as { data: number }).data)).toEqual([...Array(16).keys()]);
    world.say({ id: first[0]?.id, ok: { epoch: EPOCH, offset: 1, duplicate: false } });
    expect(world.take().map((frame) => (frame.publish as { data: number }).data)).toEqual([16]);
  });

  test("the queue is bounded by count and by bytes", async () => {
    world = new World({ queueCount: 2, queueBytes: 500 });
    world.session.publish("chat:a", 1, {}).catch(() => {});
    const big = world.session.publish("chat:a", "x".repeat(600), {});
    await expect(big).rejects.toMatchObject({ reason: "queue_full" });
    world.session.publish("chat:a", 2, {}).catch(() => {});
    await expect(world.session.publish("chat:a", 3, {})).rejects.toMatchObject({ reason: "queue_full" });
  });

  test("a reject for now is obeyed and tried again, a reject for good is told", async () => {
    world.connect();
    const published = world.session.publish("chat:a", 1, {});
    const behind = world.session.publish("chat:a", 2, {});
    behind.catch(() => {});
    const [first] = world.take();
    world.say({ id: first?.id, reject: { code: 100, name: "rate_limited", retry_after_ms: 1_000 } });
    world.session.tick();
    expect(world.take()).toEqual([]);
    world.now += 1_501;
    world.session.tick();
    const [again] = world.take();
    expect(again?.publish).toEqual(first?.publish);
    world.say({ id: again?.id, reject: { code: 205, name: "too_large", detail: "too much" } });
    await expect(published).rejects.toMatchObject({ code: 205, reason: "too_large" });
  });

  test("without an answer it is sent again, a bounded number of times", async () => {
    world.connect();
    const published = world.session.publish("chat:a", 1, {});
    const failed = expect(published).rejects.toMatchObject({ reason: "timeout" });
    const all: unknown[] = [];
    for (let n = 0; n < LIMITS.tries; n++) {
      all.push(...world.take().map((frame) => frame.publish));
      world.pass(LIMITS.answerTimeout);
    }
    await failed;
    expect(all).toHaveLength(LIMITS.tries);
    expect(new Set(all.map((body) => JSON.stringify(body))).size).toBe(1);
  });

  test("after a rejected one the order of those behind it is kept, and reads go on", () => {
    world.connect();
    for (let n = 0; n < 18; n++) world.session.publish("chat:a", n, {}).catch(() => {});
    const sent = world.take();
    // The newest in flight and the oldest are rejected: they go again in their old order, before the rest.
    const reject = { code: 102, name: "overloaded", retry_after_ms: 1_000 };
    world.say({ id: sent[15]?.id, reject });
    world.say({ id: sent[0]?.id, reject });
    world.session.history("chat:a", {}).catch(() => {});
    expect(world.take()).toMatchObject([{ history: { room: "chat:a" } }]);
    world.pass(2_001);
    expect(world.take().map((frame) => (frame.publish as { data: number }).data)).toEqual([0]);
  });

  test("tries are bounded when the server always says later", async () => {
    world.connect();
    const published = world.session.publish("chat:a", 1, {});
    const failed = expect(published).rejects.toMatchObject({ code: 100 });
    let count = 0;
    for (let [sent] = world.take(); sent; [sent] = world.take()) {
      count++;
      world.say({ id: sent.id, reject: { code: 100, name: "rate_limited", retry_after_ms: 100 } });
      world.pass(200);
    }
    await failed;
    expect(count).toBe(LIMITS.tries);
  });

  test("what is larger than the server takes fails by itself, not the connection", async () => {
    world.connect({ frame_bytes_max: 1_000 });
    await expect(world.session.publish("chat:a", "x".repeat(1_000), {})).rejects.toMatchObject({ reason: "too_large" });
    await expect(world.session.publish("chat:a", undefined, {})).rejects.toMatchObject({ reason: "malformed" });
    expect(world.take()).toEqual([]);
    expect(world.session.state).toBe("connected");
  });

  test("closing tells those who wait", async () => {
    const published = world.session.publish("chat:a", 1, {});
    world.session.connect();
    world.session.close();
    await expect(published).rejects.toMatchObject({ reason: "closed" });
    await expect(world.session.publish("chat:a", 1, {})).rejects.toMatchObject({ reason: "closed" });
  });
});

describe("a state", () => {
  const keyed = (offset: number, key: string, more: object = {}) => ({
    event: { room: "chat:a", offset, key, data: offset, ...more },
  });
  /** Connects, with the one room. */
  const resume = (): Sent => {
    const [join] = (world.connect().connect as { resume: Sent[] }).resume;
    if (!join) throw new Error("no room was resumed");
    return join;
  };

  test("comes whole, before what follows it", () => {
    const room = join({ state: true });
    const resumed = resume();
    expect(resumed).toMatchObject({ room: "chat:a", state: true });
    world.say(joined(resumed.id, 9, { state: 2 }));
    world.say(keyed(3, "a"));
    expect([room.joined, room.states, world.session.position("chat:a")]).toEqual([1, [], undefined]);
    world.say(keyed(7, "b"));
    expect([room.states, room.events]).toEqual([[[["a", 3], ["b", 7]]], []]);
    expect(world.session.position("chat:a")).toEqual({ epoch: EPOCH, offset: 9 });
    world.say(keyed(10, "a"));
    expect(room.events).toEqual([10]);
  });

  test("is whole when the rest was replaced meanwhile", () => {
    const room = join({ state: true });
    const resumed = resume();
    world.say(joined(resumed.id, 9, { state: 3 }));
    world.say(keyed(3, "a"));
    world.say({ gap: { room: "chat:a", reason: "conflated", epoch: EPOCH, offset: 9, count: 2 } });
    world.say(keyed(10, "b"));
    expect([room.states, room.events, room.gaps]).toEqual([[[["a", 3]]], [10], []]);
  });

  test("that came in part is asked for anew; one that came whole is followed from its position", () => {
    const room = join({ state: true });
    const first = resume();
    world.say(joined(first.id, 9, { state: 2 }));
    world.say(keyed(3, "a"));
    world.session.closed(1006);
    const second = resume();
    expect(second).toMatchObject({ room: "chat:a", state: true });
    expect(second).not.toHaveProperty("since");
    world.say(joined(second.id, 9, { state: 1 }));
    world.say(keyed(3, "a"));
    world.session.closed(1006);
    const third = resume();
    expect(third).toMatchObject({ state: true, since: { epoch: EPOCH, offset: 9 } });
    world.say(joined(third.id, 11, { recovery: "replay", replayed: 1 }));
    world.say(keyed(11, "b"));
    expect([room.states.length, room.events]).toEqual([1, [11]]);
  });

  test("begins again after a gap that cannot be told from it", () => {
    const room = join({ state: true });
    const first = resume();
    world.say(joined(first.id, 9, { state: 0 }));
    expect(room.states).toEqual([[]]);
    const other = "00000000000000bb";
    world.say({ gap: { room: "chat:a", reason: "epoch", epoch: other, offset: 4 } });
    const [leave, again] = world.take();
    expect([leave?.leave, again?.join]).toEqual([{ room: "chat:a" }, { room: "chat:a", state: true }]);
    // What is still on its way is of the subscription before.
    world.say(keyed(5, "b"));
    world.say(joined(Number(again?.id), 5, { epoch: other, state: 1 }));
    world.say(keyed(5, "b"));
    expect([room.states, room.events, room.gaps]).toEqual([[[], [["b", 5]]], [], ["epoch"]]);
  });

  test("loses a key by a delete, which names it", async () => {
    world.connect();
    world.session.delete("chat:a", "k", { msg: "m" });
    expect(world.take()[0]?.publish).toMatchObject({ room: "chat:a", delete: true, key: "k", msg: "m" });
    await expect(world.session.delete("chat:a", "", {})).rejects.toMatchObject({ reason: "malformed" });
  });
});

test("the clock trusts the shortest round trip", () => {
  world.connect();
  const { clock } = world.session;
  clock.add(1_000, 1_140, 1_140, 1_080);
  clock.add(2_000, 2_105, 2_105, 2_010);
  clock.add(3_000, 3_400, 3_400, 3_500);
  expect([clock.offset, clock.roundTrip, clock.uncertainty]).toEqual([100, 10, 5]);
});

describe("an overloaded server", () => {
  const reject = (id: number, more: object = {}) => ({
    id,
    reject: { code: 102, name: "overloaded", retry_after_ms: 400, ...more },
  });
  const publishes = (world: World) => world.take().filter((frame) => "publish" in frame);

  test("is asked again with the same msg, not before it said and not all at once", async () => {
    const world = new World();
    world.connect();
    const result = world.session.publish("chat:a", 1, {});
    const [first] = publishes(world);
    world.say(reject(first?.id ?? 0));
    expect(world.rejected).toEqual([
      { command: "publish", code: 102, reason: "overloaded", detail: "", retryInMs: 600 },
    ]);
    world.pass(599);
    expect(publishes(world)).toEqual([]);
    world.pass(1);
    const [again] = publishes(world);
    expect((again?.publish as { msg: string }).msg).toBe((first?.publish as { msg: string }).msg);
    world.say({ id: again?.id, ok: { epoch: EPOCH, offset: 1 } });
    await expect(result).resolves.toMatchObject({ duplicate: false });
  });

  test("is knocked at no more often than a tenth of what it did, and twice a second", async () => {
    const world = new World({ tries: 1_000 });
    world.connect();
    const outcomes: string[] = [];
    let sent = 0;
    for (let n = 0; n < 100; n++) {
      world.session.publish("chat:a", n, {}).catch((error: RejectError) => outcomes.push(error.reason));
      for (const { id } of publishes(world)) {
        sent++;
        world.say(reject(id, { retry_after_ms: 10 }));
      }
      world.pass(100);
      for (const { id } of publishes(world)) {
        sent++;
        world.say(reject(id, { retry_after_ms: 10 }));
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
    // Twenty at the start, two in each of ten seconds: the rest were first tries, and failed at once.
    expect(sent - 100).toBeLessThanOrEqual(40);
    expect(sent - 100).toBeGreaterThan(25);
    expect(outcomes.length).toBeGreaterThan(90);
    expect(new Set(outcomes)).toEqual(new Set(["retries_spent"]));
    expect(world.rejected.filter(({ retryInMs }) => retryInMs === undefined).length).toBe(outcomes.length);
  });

  test("does not lose a room, however often it says no", () => {
    const world = new World();
    const room = new Listened();
    world.connect();
    world.session.join("chat:a", {}, room);
    for (let n = 0; n < 100; n++) {
      const [join] = world.take().filter((frame) => "join" in frame);
      if (!join) throw new Error("no join was sent");
      world.say(reject(join.id));
      world.pass(600);
    }
    const [join] = world.take();
    world.say(joined(join?.id ?? 0, 3));
    expect([room.joined, room.removed.length]).toEqual([1, 0]);
  });
});
