// Stories through a session with a hand-moved clock and chosen chance.

import { beforeEach, describe, expect, test } from "vitest";
import type { Publication } from "../src/frames.js";
import { LIMITS, type JoinOptions, type Limits, type RejectError, Session, type State } from "../src/session.js";

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
  wake: number | undefined;
  sent: Sent[] = [];
  states: [State, string][] = [];
  readonly session: Session;

  constructor(limits: Partial<Limits> = {}) {
    const host = {
      now: () => this.now,
      random: () => this.chance,
      fetchToken: () => {
        this.tokens++;
      },
      open: () => {
        this.opened++;
      },
      send: (text: string) => {
        this.sent.push(JSON.parse(text));
      },
      close: () => {},
      wakeAt: (time: number | undefined) => {
        this.wake = time;
      },
    };
    const listener = { onState: (state: State, why: string) => this.states.push([state, why]), onConnected: () => {} };
    this.session = new Session(host, listener, { name: "test", version: "0" }, { ...LIMITS, ...limits });
  }

  /** The frames sent since last asked, pings left out. */
  take(): Sent[] {
    return this.sent.splice(0).filter((frame) => !("ping" in frame));
  }

  say(frame: unknown): void {
    this.session.received(JSON.stringify(frame));
  }

  /** From nothing, or from waiting, to connected. Returns the connect frame. */
  connect(): Sent {
    if (this.session.state === "waiting") this.wakeUp();
    else this.session.connect();
    this.session.tokenFetched("t");
    this.session.opened();
    const [connect] = this.take();
    if (!connect) throw new Error("no connect was sent");
    this.say({ id: connect.id, ok: { connection: "c", user: "ann", ping_ms: 25_000, reconnect_ms: 2_000 } });
    return connect;
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
    world.session.tokenFetched("secret");
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
    expect(waits).toEqual([250, 500, 1_000, 2_000]);
    for (let n = 0; n < 20; n++) {
      world.wakeUp();
      world.session.closed(1006);
    }
    expect((world.wake ?? 0) - world.now).toBe(LIMITS.backoffMax * 0.25);
  });

  test("codes say whether to come back, and with what", () => {
    world.connect();
    world.session.closed(4100);
    expect(world.session.state).toBe("waiting");
    world.wakeUp();
    expect(world.tokens).toBe(2);
    world.session.tokenFetched("new");
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

  test("a silent server is given up, a pinged one is not", () => {
    world.connect();
    world.now += 25_000;
    world.session.tick();
    const ping = world.sent.find((frame) => "ping" in frame && frame.id > 2);
    expect(ping).toBeDefined();
    world.say({ id: ping?.id, ok: { t0: world.now, t1: world.now + 5, t2: world.now + 5 } });
    world.now += 49_000;
    world.session.tick();
    expect(world.session.state).toBe("connected");
    world.now += 1_001;
    world.session.tick();
    expect(world.states.at(-1)).toEqual(["waiting", "the server is silent"]);
  });

  test("an expiring token is refreshed", () => {
    world.connect();
    world.say({ notice: { kind: "token_expiring", in_ms: 30_000 } });
    expect(world.tokens).toBe(2);
    world.session.tokenFetched("second");
    expect(world.take()[0]).toMatchObject({ refresh: { token: "second" } });
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

  test("without an answer it is sent again", () => {
    world.connect();
    world.session.publish("chat:a", 1, {}).catch(() => {});
    const [first] = world.take();
    world.now += LIMITS.answerTimeout;
    world.session.tick();
    expect(world.take()[0]?.publish).toEqual(first?.publish);
  });

  test("closing tells those who wait", async () => {
    const published = world.session.publish("chat:a", 1, {});
    world.session.connect();
    world.session.close();
    await expect(published).rejects.toMatchObject({ reason: "closed" });
    await expect(world.session.publish("chat:a", 1, {})).rejects.toMatchObject({ reason: "closed" });
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
