// The transcripts are played against the session: the test is the server. What a transcript's
// client sends the session is made to send, through its API; what the server says it is told, and
// what the application hears of it is compared. Ids and the client's own times are mapped.

import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CODECS, type Message } from "../src/codec.js";
import { CLOSES } from "../src/codes.js";
import { LIMITS, RejectError, type RoomListener, type State, type Wishes } from "../src/face.js";
import { type Connected, type Fields, type Joined, type Publication, toBase64 } from "../src/frames.js";
import { Session } from "../src/session.js";
import { readCommand, writeFrame } from "./wire.js";

const dir = new URL("../../../conformance/", import.meta.url);
const files = readdirSync(dir).filter((name) => name.endsWith(".jsonl"));

/** Lines that the session never sends, whatever the application asks for: all there are, by name of the transcript. */
const NEVER_SENT: Record<string, Record<string, string>> = {
  "bounds.jsonl": { "b 2 join": "joins wait for the connection", "b 3 join": "joins wait for the connection" },
  "filter.jsonl": { "a 10 filter": "a room that is not joined is not filtered" },
  "malformed.jsonl": { raw: "frames that no client of ours writes" },
  "malformed-binary.jsonl": { raw: "frames that no client of ours writes" },
  "rejects.jsonl": {
    "a 1 join": "joins wait for the connection",
    "a 3 connect": "one connection is connected once",
    "a 6 join": "a room is joined once; a second join throws",
    "a 7 leave": "a room that is not joined is not left",
  },
  "tokens.jsonl": { "a 13 leave": "a room that the server removed is not left" },
};

/** What else a line may have: about the server, or raw frames. */
const KNOWN = ["name", "tokens", "config", "post", "body", "server", "mute", "send_text", "send_hex"];

const EPOCH = "00000000000000aa";
const CONNECTED = { connection: "c0-1", user: "someone", ping_ms: 25_000, frame_bytes_max: 65_536, reconnect_ms: 2_000 };
const JOINED = { epoch: EPOCH, recovery: "none", replayed: 0 };
const PAGE = { epoch: EPOCH, offset: 0, oldest: 1, more: false };

/** What one application hears, in order, in the protocol's words. */
type Heard = [name: string, about: unknown];

class Player {
  now = 1_764_800_000_000;
  slotAt: number | undefined;
  ticket = 0;
  sent: Message[] = [];
  heard: Heard[] = [];
  /** By the transcript's id: the session's, the command, and what became of the promise. */
  readonly commands = new Map<number, { id: number; name: string; body: Fields }>();
  readonly settled = new Map<number, Heard>();
  readonly session: Session;
  /** Keys of a state that are still to come, by room. */
  readonly promised = new Map<string, number>();

  constructor(private readonly codec: "json" | "binary") {
    const host = {
      now: () => this.now,
      random: () => 0.5,
      fetchToken: (ticket: number) => {
        this.ticket = ticket;
      },
      open: () => this.heard.push(["opening", ""]),
      send: (message: Message) => this.sent.push(message),
      close: () => this.heard.push(["dropped", ""]),
      wakeAt: () => {},
    };
    const listener = {
      onState: (state: State, why: string) => this.heard.push(["state", [state, why]]),
      onConnected: (connected: Connected) => this.heard.push(["connected", connected]),
      onDraining: (inMs: number) => this.heard.push(["draining", inMs]),
    };
    this.session = new Session(host, listener, CODECS[codec], { name: "test", version: "0" });
  }

  /** Makes the session send this command; false when it does not. */
  send(id: number, name: string, body: Fields): boolean {
    this.sent = [];
    try {
      this.ask(id, name, body);
    } catch {
      return false;
    }
    const sent = this.sent.map(readCommand).filter((frame) => name === "ping" || !("ping" in frame));
    if (sent.length === 0) {
      if (name === "join") this.session.leave(String(body.room));
      return false;
    }
    expect(sent).toHaveLength(1);
    const [frame] = sent as [Fields];
    expect(Object.keys(frame).sort()).toEqual(["id", name].sort());
    this.compare(name, frame[name] as Fields, body);
    this.commands.set(id, { id: frame.id as number, name, body });
    if (name === "connect") this.mapResumed(frame.connect as Fields, body);
    return true;
  }

  private ask(id: number, name: string, body: Fields): void {
    const { session } = this;
    const room = String(body.room);
    switch (name) {
      case "connect":
        for (const { room, ...options } of (body.resume ?? []) as Fields[]) this.join(String(room), options);
        session.connect();
        session.tokenFetched(this.ticket, String(body.token ?? ""));
        if (session.state === "connecting") session.opened();
        return;
      case "refresh":
        // The session asks for a token when it is told that its own expires.
        this.hear({ notice: { kind: "token_expiring", in_ms: 30_000 } }, "");
        return session.tokenFetched(this.ticket, String(body.token));
      case "join":
        return this.join(room, body);
      case "filter":
        return this.settle(id, session.filter(room, wishes(body)));
      case "leave":
        return session.leave(room);
      case "publish": {
        const { data, bytes, msg, key, lane, sent_at } = body;
        if (body.delete === true) return this.settle(id, session.delete(room, String(key ?? ""), msg ? { msg: String(msg) } : {}));
        if (sent_at !== undefined) this.now = Number(sent_at);
        const payload = bytes === undefined ? data : Uint8Array.from(atob(String(bytes)), (char) => char.charCodeAt(0));
        const options = {
          ...(msg ? { msg: String(msg) } : {}),
          ...(key ? { key: String(key) } : {}),
          ...(lane ? { lane: lane as "lossy" } : {}),
        };
        return this.settle(id, session.publish(room, payload, options));
      }
      case "history":
        return this.settle(id, session.history(room, body));
      case "presence":
        return this.settle(id, session.presence(room, body.limit as number | undefined));
      case "ping":
        this.now = Number((body as { t0: number }).t0);
        return session.hurry();
    }
  }

  private join(name: string, options: Fields): void {
    const hear = (what: string) => (about: unknown) => this.heard.push([`${name} ${what}`, about]);
    const listener: RoomListener = {
      onJoined: hear("joined"),
      onEvent: hear("event"),
      onState: (publications, position) => this.heard.push([`${name} state`, { publications: [...publications], position }]),
      onMembers: hear("members"),
      onGap: (reason, position, count) =>
        this.heard.push([`${name} gap`, { reason, ...position, ...(count > 0 ? { count } : {}) }]),
      onRemoved: hear("removed"),
    };
    const { last, since, enter, members, state } = options as Parameters<Session["join"]>[1];
    this.session.join(
      name,
      {
        ...(last === undefined ? {} : { last }),
        ...(since === undefined ? {} : { since }),
        ...(enter ? { enter } : {}),
        ...(members ? { members } : {}),
        ...(state ? { state } : {}),
        wishes: wishes(options),
      },
      listener,
    );
  }

  private settle(id: number, promise: Promise<unknown>): void {
    promise.then(
      (value) => this.settled.set(id, ["ok", value]),
      (error) => this.settled.set(id, ["reject", error]),
    );
  }

  /** What was sent is what the transcript has, and nothing that it has not but what the session adds by itself. */
  private compare(name: string, sent: Fields, body: Fields): void {
    const { resume = [], token = "", ...connect } = body;
    const withoutIds = (joins: unknown) => (joins as Fields[]).map(({ id, ...join }) => join);
    if (name === "connect") {
      expect({ ...sent, resume: withoutIds(sent.resume ?? []) }).toEqual({
        token,
        resume: withoutIds(resume),
        client: { name: "test", version: "0" },
      });
      expect(Object.keys(connect).every((key) => key === "client")).toBe(true);
    } else if (name === "publish") {
      expect(sent).toEqual({ msg: expect.any(String), sent_at: this.now, ...body });
    } else expect(sent).toEqual(body);
  }

  private mapResumed(sent: Fields, body: Fields): void {
    for (const [place, { id, ...join }] of ((body.resume ?? []) as Fields[]).entries()) {
      const mapped = (sent.resume as Fields[])[place];
      this.commands.set(Number(id), { id: Number(mapped?.id), name: "join", body: join });
    }
  }

  /** The server says this. */
  hear(frame: Fields, command: string): void {
    this.session.received(writeFrame(this.codec, frame, command));
  }

  /** The server says what a transcript expects, and the application hears it. */
  async receive(frame: Fields): Promise<void> {
    this.heard = [];
    if (frame.id === undefined) {
      this.hear(frame, "");
      return this.heardPush(frame);
    }
    const command = this.commands.get(Number(frame.id));
    if (!command) throw new Error(`an answer to nothing: ${JSON.stringify(frame)}`);
    const { id, name, body } = command;
    const { samples } = this.session.clock;
    const reject = frame.reject as Fields | undefined;
    const ok = frame.ok === undefined ? undefined : whole(name, body, frame.ok as Fields);
    this.hear(ok ? { id, ok } : { id, reject }, name);
    await Promise.resolve().then(() => {});
    if (ok) {
      if (name === "ping") expect(this.session.clock.samples).toBe(samples + 1);
      else this.heardOk(Number(frame.id), name, body, ok);
    } else if (reject) await this.heardReject(Number(frame.id), name, body, reject);
  }

  private heardOk(id: number, name: string, body: Fields, ok: Fields): void {
    const about = this.heard.map(([what]) => what);
    const position = { epoch: ok.epoch, offset: ok.offset };
    switch (name) {
      case "connect":
        expect(about).toEqual(["state", "connected"]);
        expect(this.session.state).toBe("connected");
        expect(this.heard[1]?.[1]).toMatchObject({ user: ok.user, pingMs: ok.ping_ms, frameBytesMax: ok.frame_bytes_max });
        return;
      case "join": {
        const room = String(body.room);
        const isGap = ok.recovery === "gap";
        const isWhole = ok.state === 0 ? [`${room} state`] : [];
        expect(about).toEqual([`${room} joined`, ...(isGap ? [`${room} gap`] : []), ...isWhole]);
        if (ok.state) {
          this.promised.set(room, Number(ok.state));
          return expect(this.session.position(room)).toBeUndefined();
        }
        const joined = this.heard[0]?.[1] as Joined;
        expect(joined).toMatchObject({ room, position, recovery: ok.recovery, replayed: ok.replayed });
        expect([joined.reason, joined.members]).toEqual([ok.reason, ok.members]);
        if (isGap) expect(this.heard[1]?.[1]).toEqual({ reason: ok.reason, ...position });
        if (ok.replayed === 0) expect(this.session.position(room)).toEqual(position);
        return;
      }
      case "filter":
        expect(this.settled.get(id)).toEqual(["ok", undefined]);
        break;
      case "publish":
        expect(this.settled.get(id)).toEqual(["ok", { position, duplicate: ok.duplicate }]);
        break;
      case "presence":
        expect(this.settled.get(id)).toEqual(["ok", ok]);
        break;
      case "history": {
        const [, page] = this.settled.get(id) ?? [];
        expect(page).toMatchObject({ head: position, oldest: ok.oldest, more: ok.more });
        const { publications, gap } = page as { publications: Publication[]; gap?: string };
        expect(gap).toBe(ok.gap);
        expect(publications).toHaveLength((ok.publications as Fields[]).length);
        for (const [place, said] of (ok.publications as Fields[]).entries()) matches(publications[place], said);
        break;
      }
    }
    expect(about).toEqual([]);
  }

  private async heardReject(id: number, name: string, body: Fields, reject: Fields): Promise<void> {
    const code = Number(reject.code);
    const why = { code, reason: reject.name };
    const about = this.heard.map(([what]) => what);
    if (code < 200 && name !== "refresh" && name !== "connect") return this.repeated(id, name);
    if (name === "join") {
      expect(about).toEqual([`${String(body.room)} removed`]);
      expect(this.heard[0]?.[1]).toBeInstanceOf(RejectError);
      expect(this.heard[0]?.[1]).toMatchObject(why);
      return this.isForgotten(String(body.room));
    }
    expect(about).toEqual([]);
    if (this.settled.has(id)) expect(this.settled.get(id)).toMatchObject(["reject", why]);
    else expect(["connect", "refresh", "leave"]).toContain(name);
    if (name === "connect") expect(this.session.state).toBe("connecting");
    if (name === "refresh") expect(this.session.state).toBe("connected");
  }

  /** The room is over: it has no position, and may be joined anew. */
  private isForgotten(room: string): void {
    expect(this.session.position(room)).toBeUndefined();
    expect(() => this.join(room, {})).not.toThrow();
    this.session.leave(room);
  }

  /** Rejected for now: nobody is told, and it is sent again, in a while, as it was. The answer to that is ours. */
  private async repeated(id: number, name: string): Promise<void> {
    expect([this.heard, this.settled.has(id)]).toEqual([[], false]);
    const before = this.commands.get(id);
    this.sent = [];
    this.now += 5_000;
    this.session.tick();
    const [again, ...others] = this.sent.map(readCommand).filter((frame) => name in frame);
    expect(others).toEqual([]);
    if (name === "publish") expect(again?.publish).toMatchObject(before?.body ?? {});
    else expect(again?.[name]).toEqual(before?.body);
    this.hear({ id: again?.id, ok: whole(name, before?.body ?? {}, { publications: [], count: 0 }) }, name);
    await Promise.resolve().then(() => {});
    if (name === "join") expect(this.heard).toMatchObject([[`${String(before?.body.room)} joined`, {}]]);
    else expect(this.settled.get(id)?.[0]).toBe("ok");
  }

  private heardPush(frame: Fields): void {
    const [[kind, said] = ["", {}]] = Object.entries(frame) as [string, Fields][];
    const room = String(said.room);
    if (kind === "notice") {
      if (said.kind === "draining") {
        this.slotAt = this.now + Number(said.in_ms);
        return expect(this.heard).toEqual([["draining", said.in_ms]]);
      }
      if (said.kind !== "removed") return expect(this.heard).toEqual([]);
      expect(this.heard).toMatchObject([[`${room} removed`, { code: 202 }]]);
      return this.isForgotten(room);
    }
    const left = this.promised.get(room) ?? 0;
    if (kind === "event" && left > 0) {
      this.promised.set(room, left - 1);
      expect(this.heard.map(([what]) => what)).toEqual(left > 1 ? [] : [`${room} state`]);
      return this.heardState(room, said);
    }
    expect(this.heard.map(([what]) => what)).toEqual([`${room} ${kind}`]);
    const [[, about]] = this.heard as [Heard];
    if (kind === "event") {
      matches(about as Publication, said);
      expect(this.session.position(room)).toEqual({ epoch: EPOCH, offset: said.offset });
    } else if (kind === "gap") {
      const { reason, epoch, offset, count } = said;
      expect(about).toEqual({ reason, epoch, offset, ...(count === undefined ? {} : { count }) });
      expect(this.session.position(room)).toEqual({ epoch, offset });
    } else expect(about).toMatchObject({ count: said.count, joined: said.joined ?? [], left: said.left ?? [] });
  }

  /** A state is told as one, with its last event. */
  private heardState(room: string, last: Fields): void {
    const [heard] = this.heard;
    if (!heard) return expect(this.session.position(room)).toBeUndefined();
    const { publications, position } = heard[1] as { publications: [string, Publication][]; position: unknown };
    expect(publications.at(-1)?.[0]).toBe(last.key);
    matches(publications.at(-1)?.[1], last);
    expect(this.session.position(room)).toEqual(position);
  }

  /** The server closes: the number says whether the session comes back, and with what. */
  close(code: number): void {
    // A client that a transcript keeps silent is, here, one whose words are lost.
    if (this.session.state === "idle") this.ask(0, "connect", {});
    this.heard = [];
    const ticket = this.ticket;
    this.session.closed(code);
    const why = (CLOSES as Record<number, string>)[code];
    const [stays, needsNew] = [code >= 4500, code >= 4100 && code < 4200];
    expect(this.heard).toEqual([["state", [stays ? "closed" : "waiting", why]]]);
    if (stays) return;
    if (this.slotAt === undefined) this.now += LIMITS.backoffMax;
    else {
      // It was told when to come back, and comes then.
      this.now = this.slotAt - 1;
      this.session.tick();
      expect(this.session.state).toBe("waiting");
      this.now = this.slotAt;
    }
    this.session.tick();
    expect(this.session.state).toBe("connecting");
    // A new token is asked for where the old one was refused; else the old one is used again.
    if (needsNew) expect(this.ticket).toBeGreaterThan(ticket);
    else expect(this.heard.at(-1)).toEqual(["opening", ""]);
  }
}

function wishes({ keys, max_rate }: Fields): Wishes {
  return {
    ...(keys === undefined ? {} : { keys: keys as string[] }),
    ...(max_rate === undefined ? {} : { maxRate: Number(max_rate) }),
  };
}

/** An answer with all that the server always says, where a transcript leaves it out. */
function whole(name: string, body: Fields, ok: Fields): Fields {
  const since = body.since as { offset: number } | undefined;
  switch (name) {
    case "connect":
      return { ...CONNECTED, ...ok };
    case "join":
      return { room: body.room, offset: since?.offset ?? 0, ...JOINED, ...ok };
    case "publish":
      return { epoch: EPOCH, offset: 1, duplicate: false, ...ok };
    case "history":
      return { room: body.room, ...PAGE, ...ok };
    case "ping":
      return { t1: 1, t2: 1, ...ok };
    default:
      return ok;
  }
}

function matches(publication: Publication | undefined, said: Fields): void {
  for (const [name, value] of Object.entries(said)) {
    if (name === "bytes") expect(toBase64(publication?.bytes ?? new Uint8Array())).toBe(value);
    else if (name !== "room") expect(publication).toMatchObject({ [name]: value });
  }
}

/** A value in the place of a wildcard or of what the server chose, by the field's name. */
function fill(value: unknown, name = ""): unknown {
  if (typeof value === "string" && (value === "*" || value.startsWith("$"))) {
    if (name === "epoch") return EPOCH;
    if (name === "connection" || name === "user" || name === "detail") return "someone";
    if (name === "expires_in_ms") return 3_600_000;
    if (name === "frame_bytes_max") return 65_536;
    return 1_000;
  }
  if (Array.isArray(value)) return value.map((item) => fill(item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, fill(field, key)]));
}

for (const codec of ["json", "binary"] as const) {
  test.each(files)(`%s is played in ${codec}`, async (file) => {
    const players = new Map<string, Player>();
    const unsent = new Set<string>();
    const hostile = new Set<string>();
    const lines = readFileSync(new URL(file, dir), "utf8").trim().split("\n");
    for (const line of lines) {
      const { client, send, send_all, times, expect: said, expect_close, ...raw } = JSON.parse(line);
      expect(KNOWN, line).toEqual(expect.arrayContaining(Object.keys(raw)));
      if (client === undefined) continue;
      const player = players.get(client) ?? new Player(codec);
      players.set(client, player);
      for (let n = 0; n < (times ?? 1); n++) {
        for (const one of send ? [send] : (send_all ?? [])) {
          const { id, ...command } = fill(one) as Fields;
          const [[name, body] = ["", {}]] = Object.entries(command) as [string, Fields][];
          if (!player.send(Number(id) + n, name, body)) unsent.add(`${client} ${Number(id) + n} ${name}`);
        }
      }
      if (raw.send_text !== undefined || raw.send_hex !== undefined) {
        unsent.add("raw");
        hostile.add(client);
      } else if (said) {
        // An answer to what the session never sent is the only thing that is passed over.
        const isPassedOver = said.id !== undefined && !player.commands.has(said.id);
        const isUnsent = [...unsent].some((which) => which.startsWith(`${client} ${said.id} `));
        expect(isPassedOver, line).toBe(isPassedOver && (hostile.has(client) || isUnsent));
        if (!isPassedOver) await player.receive(fill(said) as Fields);
      } else if (expect_close && !hostile.has(client)) player.close(expect_close);
    }
    expect([...unsent]).toEqual(Object.keys(NEVER_SENT[file] ?? {}));
  });
}

test("every transcript that is named exists", () => {
  expect(files).toEqual(expect.arrayContaining(Object.keys(NEVER_SENT)));
});
