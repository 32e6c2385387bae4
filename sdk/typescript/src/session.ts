// The client's side of a connection as a pure state machine: no sockets, no timers, no clock.
//
//   host.fetchToken ─► host.open ─► connect (with every room to resume) ─► connected
//        ▲                                                                    │
//        └── waiting, for a random time ◄── closed, unless told to stay away ◄┘
//
// Publications keep their message id over every repeat, so that each happens once (what waits and
// what is in flight: calls.ts). Rooms keep their position, so that a reconnect misses nothing, or is
// told what it missed.

import { RetryBudget } from "./budget.js";
import { type Call, Calls } from "./calls.js";
import { Clock } from "./clock.js";
import type { Codec, CommandName, Message } from "./codec.js";
import { CLOSES, comeBack, isRetryable, needsToken } from "./codes.js";
import {
  type HistoryOptions,
  type Host,
  type JoinOptions,
  LIMITS,
  type Limits,
  type Listener,
  type Published,
  type PublishOptions,
  RejectError,
  type RoomListener,
  type State,
  type Wishes,
} from "./face.js";
import {
  type Connected,
  type Fields,
  type Frame,
  type HistoryPage,
  type Joined,
  type Members,
  number,
  type Position,
  type Publication,
  ProtocolError,
  readConnected,
  readHistory,
  readJoined,
  readMembers,
  readPosition,
  readRefreshed,
  type RejectFrame,
} from "./frames.js";
import { Snapshot } from "./snapshot.js";
import { Inbox, type WholeFrame } from "./parts.js";

/** First wait between two attempts, before it doubles. */
const BACKOFF_MIN = 500;
/** A server may ask for no longer wait before the first attempt. */
const RECONNECT_MAX = 10 * 60_000;
/** No server spreads slots over a longer time. */
const SLOT_MAX = 2 * 60 * 60_000;
/** The server stops, or sends this client away: by a close with this code at its slot, or before. */
const SHUTDOWN = 4000;
/** The command begins something on a connection that is about to end. */
const DRAINING = 104;
/** A token is renewed this long before it expires, or a fifth of its time, where that is less. */
const REFRESH_AHEAD_MAX = 60_000;
/** Wait before a refresh that failed is tried again. */
const REFRESH_RETRY = 5_000;
/** While the clock has fewer samples than this, pings follow each other faster. */
const CLOCK_SAMPLES = 4;
const CLOCK_PING = 1_000;
/** How long a server that is asked whether it is there may take. */
const PROBE = 5_000;
/** Longest message before the server has told its own bound. */
const FRAME_BYTES = 64 << 10;

interface RoomState {
  readonly name: string;
  readonly options: JoinOptions;
  readonly listener: RoomListener;
  wishes: Wishes;
  /** The wishes of its last join. */
  asked: Wishes;
  epoch: string | undefined;
  /** The last offset seen; undefined before the first join or while a fresh replay has not begun. */
  seen: number | undefined;
  /** The state that was promised and has not come whole. */
  snapshot: Snapshot | undefined;
  isJoined: boolean;
  joinId: number;
  retryAt: number | undefined;
}

/** See the file. */
export class Session {
  readonly clock = new Clock();
  #state: State = "idle";
  #token: string | undefined;
  #isOpen = false;
  #isRefreshing = false;
  #attempts = 0;
  #reconnectMs = BACKOFF_MIN;
  /** When the server wants us back: neither earlier nor at a random time. */
  #slotAt: number | undefined;
  #frameBytesMax = FRAME_BYTES;
  #pingMs = 25_000;
  #pingAt = 0;
  /** There is a ping on the way: nothing heard until then means that nobody is there. */
  #silentAt: number | undefined;
  #tokenTicket = 0;
  #expiresAt: number | undefined;
  #refreshAt: number | undefined;
  #retryAt: number | undefined;
  #openBy: number | undefined;
  #inbox: Inbox;
  #nextId = 1;
  #nextMsg = 1;
  #connectId = 0;
  #refreshId = 0;
  readonly #msgPrefix: string;
  readonly #rooms = new Map<string, RoomState>();
  /** Left while their join was on its way with `connect`. */
  readonly #left = new Set<string>();
  readonly #calls: Calls;
  readonly #budget: RetryBudget;
  readonly #joins = new Map<number, RoomState>();
  readonly #pings = new Map<number, number>();

  constructor(
    private readonly host: Host,
    private readonly listener: Listener,
    private readonly codec: Codec,
    private readonly client: { name: string; version: string },
    private readonly limits: Limits = LIMITS,
  ) {
    this.#calls = new Calls(limits);
    this.#budget = new RetryBudget(host.now());
    this.#inbox = new Inbox(codec);
    const word = () => Math.floor(host.random() * 0x1_0000_0000).toString(36);
    this.#msgPrefix = `${word()}${word()}`;
  }

  get state(): State {
    return this.#state;
  }

  // ---- what the application asks ----------------------------------------------

  connect(): void {
    if (this.#state === "idle" || this.#state === "closed") this.#begin();
  }

  /** Ends for good. Commands that wait fail with `closed`. */
  close(): void {
    if (this.#isOpen) this.host.close();
    this.#isOpen = false;
    this.#end("closed by the application");
  }

  join(name: string, options: JoinOptions, listener: RoomListener): void {
    if (this.#rooms.has(name)) throw new Error(`room ${name} is joined already`);
    const room: RoomState = {
      name,
      options,
      listener,
      wishes: options.wishes ?? {},
      asked: {},
      epoch: options.since?.epoch,
      seen: options.since?.offset,
      snapshot: undefined,
      isJoined: false,
      joinId: 0,
      retryAt: undefined,
    };
    this.#rooms.set(name, room);
    if (this.#state === "connected") this.#sendJoin(room);
  }

  leave(name: string): void {
    const room = this.#rooms.get(name);
    if (!room) return;
    this.#rooms.delete(name);
    this.#joins.delete(room.joinId);
    if (this.#state === "connected") this.#sendLeave(name);
    else if (room.joinId !== 0) this.#left.add(name);
  }

  /** Changes what a joined room sends; every later join asks for the same. */
  async filter(name: string, wishes: Wishes): Promise<void> {
    const room = this.#rooms.get(name);
    if (!room) throw new RejectError(0, "closed", `${name} is not joined`);
    room.wishes = wishes;
    // Otherwise its next join says so, or what follows the one that is under way.
    if (room.isJoined) await this.#sendFilter(room);
  }

  /** The position to keep for another time. */
  position(name: string): Position | undefined {
    const room = this.#rooms.get(name);
    if (room?.epoch === undefined || room.seen === undefined || room.snapshot) return undefined;
    return { epoch: room.epoch, offset: room.seen };
  }

  async publish(room: string, data: unknown, options: PublishOptions): Promise<Published> {
    if (data === undefined) throw new RejectError(0, "malformed", "there is nothing to publish");
    const payload = data instanceof Uint8Array ? { bytes: data } : { data };
    return published(await this.#call("publish", this.#publishBody(room, payload, options)));
  }

  /** Takes a key out of the room's state. */
  async delete(room: string, key: string, options: PublishOptions): Promise<Published> {
    if (key === "") throw new RejectError(0, "malformed", "a delete needs a key");
    const body = this.#publishBody(room, { delete: true }, { ...options, key });
    return published(await this.#call("publish", body));
  }

  #publishBody(room: string, payload: Fields, options: PublishOptions): Fields {
    return {
      room,
      ...payload,
      msg: options.msg ?? `${this.#msgPrefix}-${this.#nextMsg++}`,
      ...(options.key === undefined ? {} : { key: options.key }),
      ...(options.lane === undefined ? {} : { lane: options.lane }),
      sent_at: this.host.now(),
    };
  }

  async history(room: string, options: HistoryOptions): Promise<HistoryPage> {
    return readHistory(await this.#call("history", { room, ...options }));
  }

  async presence(room: string, limit: number | undefined): Promise<Members> {
    return readMembers(await this.#call("presence", limit === undefined ? { room } : { room, limit }));
  }

  // ---- what the world tells ---------------------------------------------------

  /** The token that was fetched; empty where the server needs none. */
  tokenFetched(ticket: number, token: string): void {
    if (ticket !== this.#tokenTicket) return;
    if (this.#state === "connected" && this.#isRefreshing) {
      this.#token = token;
      this.#refreshId = this.#id();
      this.#send(this.#refreshId, "refresh", { token });
    } else if (this.#state === "connecting" && !this.#isOpen) {
      this.#token = token;
      this.host.open();
    }
  }

  /** There is no token now. */
  tokenFailed(ticket: number, why: string): void {
    if (ticket !== this.#tokenTicket) return;
    if (this.#state === "connected" && this.#isRefreshing) this.#refreshLater(REFRESH_RETRY);
    else if (this.#state === "connecting" && !this.#isOpen) this.#wait(`no token: ${why}`);
    this.#plan();
  }

  opened(): void {
    if (this.#state !== "connecting") return this.host.close();
    this.#isOpen = true;
    this.#inbox = new Inbox(this.codec);
    this.#connectId = this.#id();
    // What does not fit into half a message is joined afterwards, room by room.
    let rest = this.#frameBytesMax / 2;
    const resume: Fields[] = [];
    for (const room of this.#rooms.values()) {
      rest -= 3 * room.name.length + 160;
      if (rest < 0) break;
      resume.push(this.#joinBody(room));
    }
    const connect = { token: this.#token ?? "", client: this.client, resume };
    this.#send(this.#connectId, "connect", connect);
    this.#plan();
  }

  received(message: unknown): void {
    this.#silentAt = undefined;
    try {
      for (const frame of this.#inbox.read(message)) this.#onFrame(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      // Not our server, or not our protocol: nothing that follows can be trusted.
      this.#drop(`the server sent ${error.message}`);
    }
    this.#plan();
  }

  /** The socket is gone; 1006 where no code was given. */
  closed(code: number): void {
    if (this.#state === "closed" || this.#state === "waiting" || this.#state === "idle") return;
    this.#isOpen = false;
    const why = (CLOSES as Record<number, string>)[code] ?? `closed ${code}`;
    const back = comeBack(code);
    if (back === "with_new_token") this.#token = undefined;
    if (back === "no") this.#end(why);
    else this.#wait(why, code === SHUTDOWN);
  }

  /** The network may be back, or the page is seen again: do not wait any longer, and see whether anyone is there. */
  hurry(): void {
    if (this.#state === "waiting") {
      // Everyone else's page may be seen again too; a slot is kept.
      if (this.#slotAt !== undefined) return;
      this.#attempts = 0;
      this.#begin();
    } else if (this.#state === "connected") {
      this.#ping(this.host.now(), PROBE);
      this.#plan();
    }
  }

  /** The time wished for has come. */
  tick(): void {
    const now = this.host.now();
    if (this.#state === "waiting" && isDue(this.#retryAt, now)) this.#begin();
    else if (this.#state === "connecting" && isDue(this.#openBy, now)) this.#drop("no answer in time");
    else if (this.#state === "connected" && isDue(this.#silentAt, now)) this.#drop("the server is silent");
    else this.#work(now);
    this.#plan();
  }

  // ---- connecting -------------------------------------------------------------

  #begin(): void {
    const now = this.host.now();
    this.#retryAt = undefined;
    this.#slotAt = undefined;
    this.#openBy = now + this.limits.openTimeout;
    this.#setState("connecting", "");
    if (isDue(this.#expiresAt, now)) this.#token = undefined;
    if (this.#token === undefined) this.host.fetchToken(++this.#tokenTicket);
    else this.host.open();
    this.#plan();
  }

  #drop(why: string): void {
    this.host.close();
    this.#isOpen = false;
    this.#wait(why);
  }

  /** Waits for our slot, or a random time, up to a bound that doubles: full jitter. */
  #wait(why: string, isSentAway = false): void {
    this.#forgetConnection();
    const now = this.host.now();
    // A slot that is over counts only where the server itself closes at it: who lost the connection
    // in another way is one of many, and they would all come at once.
    if (this.#slotAt !== undefined && (isSentAway || this.#slotAt > now)) {
      this.#retryAt = Math.max(now, this.#slotAt);
    } else {
      this.#slotAt = undefined;
      // Never less than the server's own window: it knows how many there are.
      const doubled = BACKOFF_MIN * 2 ** Math.min(this.#attempts, 16);
      const bound =
        this.#attempts === 0 ? this.#reconnectMs : Math.max(this.#reconnectMs, Math.min(this.limits.backoffMax, doubled));
      this.#attempts++;
      this.#retryAt = now + this.host.random() * bound;
    }
    this.#setState("waiting", why);
    this.#plan();
  }

  #end(why: string): void {
    this.#forgetConnection();
    this.#retryAt = undefined;
    this.#slotAt = undefined;
    this.#setState("closed", why);
    for (const call of this.#calls.drain()) call.reject(new RejectError(0, "closed", why));
    this.#plan();
  }

  #forgetConnection(): void {
    this.#calls.connectionLost();
    this.#joins.clear();
    this.#left.clear();
    this.#pings.clear();
    this.#isRefreshing = false;
    this.#refreshAt = undefined;
    this.#silentAt = undefined;
    this.#openBy = undefined;
    // A token that is still being fetched is for the connection that is gone.
    this.#tokenTicket++;
    for (const room of this.#rooms.values()) {
      room.isJoined = false;
      room.joinId = 0;
      room.retryAt = undefined;
    }
  }

  #setState(state: State, why: string): void {
    if (this.#state === state) return;
    this.#state = state;
    this.listener.onState(state, why);
  }

  // ---- frames -----------------------------------------------------------------

  #onFrame(frame: WholeFrame): void {
    switch (frame.kind) {
      case "ok":
        return this.#onOk(frame.id, frame.body);
      case "reject":
        return this.#onReject(frame.id, frame.reject);
      case "event":
        return this.#onEvent(frame.room, frame.publication);
      case "members":
        return this.#rooms.get(frame.room)?.listener.onMembers(frame.change);
      case "gap":
        return this.#onGap(frame);
      case "notice":
        return this.#onNotice(frame);
    }
  }

  #onOk(id: number, body: Fields): void {
    const call = this.#calls.answered(id);
    const room = this.#joins.get(id);
    const pingSentAt = this.#pings.get(id);
    if (call) {
      this.#budget.done();
      call.resolve(body);
      this.#work(this.host.now());
    } else if (room) {
      this.#joins.delete(id);
      this.#onJoined(room, readJoined(body));
    } else if (pingSentAt !== undefined) {
      this.#pings.delete(id);
      this.clock.add(pingSentAt, number(body.t1), number(body.t2), this.host.now());
    } else if (id === this.#refreshId) {
      this.#isRefreshing = false;
      this.#onExpiry(readRefreshed(body), this.#expiresAt);
    } else if (id === this.#connectId && this.#state === "connecting") {
      this.#onConnected(readConnected(body));
    }
  }

  #onConnected(connected: Connected): void {
    const now = this.host.now();
    this.#attempts = 0;
    this.#reconnectMs = Math.min(connected.reconnectMs, RECONNECT_MAX);
    this.#pingMs = Math.max(1_000, connected.pingMs);
    this.#frameBytesMax = connected.frameBytesMax || FRAME_BYTES;
    this.#pingAt = now;
    this.#openBy = undefined;
    this.#onExpiry(connected.expiresInMs, undefined);
    this.#setState("connected", "");
    this.listener.onConnected(connected);
    for (const name of this.#left) this.#sendLeave(name);
    this.#left.clear();
    // Rooms that were joined while the connect was under way, or did not fit into it.
    for (const room of this.#rooms.values()) if (room.joinId === 0) this.#sendJoin(room);
    this.#work(now);
  }

  /** The token is good for so long: plan its renewal, unless it is the same one that was expiring. */
  #onExpiry(expiresInMs: number | undefined, before: number | undefined): void {
    const now = this.host.now();
    const { random } = this.host;
    this.#refreshAt = undefined;
    this.#expiresAt = expiresInMs === undefined ? undefined : now + expiresInMs;
    if (expiresInMs === undefined || (before !== undefined && now + expiresInMs < before + 1_000)) return;
    const ahead = Math.min(REFRESH_AHEAD_MAX, expiresInMs / 5) * (0.75 + 0.25 * random());
    this.#refreshAt = now + Math.max(1_000, expiresInMs - ahead);
  }

  #refresh(): void {
    this.#refreshAt = undefined;
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    this.#token = undefined;
    this.host.fetchToken(++this.#tokenTicket);
  }

  #refreshLater(inMs: number): void {
    this.#isRefreshing = false;
    this.#refreshAt = this.host.now() + inMs * (1 + this.host.random());
  }

  #onReject(id: number, reject: RejectFrame): void {
    const error = new RejectError(reject.code, reject.name, reject.detail);
    const now = this.host.now();
    // Where the connection ends, the next one has a time of its own already.
    const jitter = reject.code === DRAINING ? 0 : this.host.random();
    const after = now + (reject.retryAfterMs ?? 1_000) * (1 + jitter);
    const room = this.#joins.get(id);
    const tell = (command: CommandName, retryAt: number | undefined) => {
      const { code, name: reason, detail } = reject;
      const retryInMs = retryAt === undefined ? undefined : retryAt - now;
      this.listener.onRejected?.({ command, code, reason, detail, retryInMs });
    };
    const call = this.#calls.of(id);
    if (call) {
      this.#onCallRejected(id, call, error, after, tell);
      this.#work(now);
    } else if (room) {
      this.#joins.delete(id);
      tell("join", isRetryable(reject.code) ? after : undefined);
      // A room is not given up: it waits as long as it is told to, and takes no tries from commands.
      if (isRetryable(reject.code)) room.retryAt = after;
      else if (reject.name === "already_joined") {
        // An earlier join was done after all, from a place that we do not know: begin again.
        this.#sendLeave(room.name);
        room.retryAt = after;
      } else {
        this.#rooms.delete(room.name);
        room.listener.onRemoved(error);
      }
    } else if (id === this.#refreshId) {
      if (needsToken(reject.code)) this.#token = undefined;
      this.#refreshLater(Math.max(REFRESH_RETRY, reject.retryAfterMs ?? 0));
    } else if (id === this.#connectId && needsToken(reject.code)) {
      // The close that follows says whether to come back.
      this.#token = undefined;
    }
  }

  #onCallRejected(
    id: number,
    call: Call,
    error: RejectError,
    after: number,
    tell: (command: CommandName, retryAt: number | undefined) => void,
  ): void {
    let why = error;
    if (isRetryable(error.code)) {
      if (!this.#budget.take(this.host.now())) {
        why = new RejectError(error.code, "retries_spent", `too many commands were rejected lately; ${error.message}`);
      } else if (this.#calls.putBack(id, after)) {
        return tell(call.name, after);
      }
    }
    this.#calls.answered(id);
    tell(call.name, undefined);
    call.reject(why);
  }

  #onJoined(room: RoomState, joined: Joined): void {
    const isFresh = room.epoch === undefined || joined.recovery === "gap";
    room.isJoined = true;
    room.epoch = joined.position.epoch;
    room.snapshot = joined.state === undefined ? undefined : new Snapshot(joined.state, joined.position);
    // Replayed events count from where they begin, and so do those of a state; with none we stand at the head.
    if (joined.replayed === 0 && !joined.state) room.seen = joined.position.offset;
    else if (isFresh || joined.state) room.seen = undefined;
    room.listener.onJoined(joined);
    if (joined.recovery === "gap") room.listener.onGap(joined.reason ?? "", joined.position, 0);
    this.#onSnapshot(room);
    // Wishes that came while it was under way. If they are refused, so is the next join with them, which says why.
    const isStill = this.#rooms.get(room.name) === room && room.isJoined;
    if (isStill && !isSame(room.asked, room.wishes)) this.#sendFilter(room).catch(() => {});
  }

  /** Tells the state once it is whole. */
  #onSnapshot(room: RoomState): void {
    const { snapshot } = room;
    if (!snapshot?.isWhole) return;
    room.snapshot = undefined;
    room.seen = snapshot.position.offset;
    room.listener.onState(snapshot.publications, snapshot.position);
  }

  #onEvent(name: string, publication: Publication): void {
    const room = this.#rooms.get(name);
    // Left a moment ago, or seen before the connection was lost.
    if (!room?.isJoined || (room.seen !== undefined && publication.offset <= room.seen)) return;
    room.seen = publication.offset;
    if (!room.snapshot) return room.listener.onEvent(publication);
    room.snapshot.take(publication);
    this.#onSnapshot(room);
  }

  #onGap({ room: name, position, reason, count }: Extract<Frame, { kind: "gap" }>): void {
    const room = this.#rooms.get(name);
    if (!room?.isJoined) return;
    const wasSkipped = reason === "conflated" || reason === "dropped";
    if (reason === "conflated" && room.snapshot) {
      room.snapshot.skip(count);
      return this.#onSnapshot(room);
    }
    room.epoch = position.epoch;
    room.seen = position.offset;
    room.listener.onGap(reason, position, count);
    if (wasSkipped || !room.options.state) return;
    // What was lost cannot be told from what is there: begin again, with the state of now.
    room.isJoined = false;
    room.epoch = undefined;
    room.snapshot = undefined;
    this.#sendLeave(name);
    this.#sendJoin(room);
  }

  #onNotice({ notice, inMs, room: name }: Extract<Frame, { kind: "notice" }>): void {
    if (notice === "token_expiring") this.#refresh();
    else if (notice === "draining") {
      const wait = Math.min(Math.max(0, inMs), SLOT_MAX);
      this.#slotAt = this.host.now() + wait;
      this.listener.onDraining(wait);
    } else if (notice === "removed") {
      const room = this.#rooms.get(name);
      this.#rooms.delete(name);
      room?.listener.onRemoved(new RejectError(202, "forbidden", "the new token does not grant this room"));
    }
  }

  // ---- commands ---------------------------------------------------------------

  #call(name: CommandName, body: Fields): Promise<Fields> {
    if (this.#state === "closed") return Promise.reject(new RejectError(0, "closed", "the client is closed"));
    return new Promise((resolve, reject) => {
      const call: Call = { name, body: this.codec.encode(name, body), resolve, reject };
      if (!this.#calls.add(call)) {
        const { count, bytes } = this.#calls;
        reject(new RejectError(0, "queue_full", `${count} commands (${bytes} bytes) wait already`));
        return;
      }
      this.#work(this.host.now());
      this.#plan();
    });
  }

  /** Does what is due: sends what may be sent, repeats what was not answered, renews the token, pings. */
  #work(now: number): void {
    if (this.#state !== "connected") return;
    for (const call of this.#calls.takeOverdue(now)) {
      call.reject(new RejectError(0, "timeout", `no answer to ${call.name}, asked ${this.limits.tries} times`));
    }
    while (this.#calls.sendNext(now, (call) => this.#sendCall(call)));
    for (const room of this.#rooms.values()) if (isDue(room.retryAt, now)) this.#sendJoin(room);
    if (isDue(this.#refreshAt, now)) this.#refresh();
    if (now >= this.#pingAt) this.#ping(now, this.#pingMs);
  }

  #sendCall(call: Call): number {
    const id = this.#id();
    const message = this.codec.frame(id, call.body);
    const bytes = bytesOf(message, this.#frameBytesMax);
    if (bytes <= this.#frameBytesMax) this.host.send(message);
    else {
      // The server would close the connection, and again with every repeat.
      const detail = `${bytes} bytes; the server takes ${this.#frameBytesMax}`;
      queueMicrotask(() => this.#calls.answered(id)?.reject(new RejectError(0, "too_large", detail)));
    }
    return id;
  }

  /** Asks whether the server is there, and what time it is there. */
  #ping(now: number, patience: number): void {
    this.#pingAt = now + (this.clock.samples < CLOCK_SAMPLES ? CLOCK_PING : this.#pingMs);
    this.#silentAt = Math.min(this.#silentAt ?? now + patience, now + patience);
    const id = this.#id();
    this.#pings.clear();
    this.#pings.set(id, now);
    this.#send(id, "ping", { t0: now });
  }

  #sendJoin(room: RoomState): void {
    const { id, ...join } = this.#joinBody(room);
    this.#send(id, "join", join);
  }

  #sendFilter(room: RoomState): Promise<Fields> {
    return this.#call("filter", { room: room.name, ...wishFields(room.wishes) });
  }

  #sendLeave(name: string): void {
    this.#send(this.#id(), "leave", { room: name });
  }

  #joinBody(room: RoomState): { id: number } & Fields {
    const { last, enter, members, state } = room.options;
    const id = this.#id();
    room.joinId = id;
    room.retryAt = undefined;
    room.asked = room.wishes;
    this.#joins.set(id, room);
    // A state that came in part is asked for anew.
    const hasPosition = room.epoch !== undefined && room.seen !== undefined && !room.snapshot;
    return {
      id,
      room: room.name,
      ...(hasPosition ? { since: { epoch: room.epoch, offset: room.seen } } : {}),
      ...(last === undefined ? {} : { last }),
      ...(enter ? { enter } : {}),
      ...(members ? { members } : {}),
      ...(state ? { state } : {}),
      ...wishFields(room.wishes),
    };
  }

  #send(id: number, name: CommandName, body: Fields): void {
    this.host.send(this.codec.frame(id, this.codec.encode(name, body)));
  }

  #id(): number {
    const id = this.#nextId;
    this.#nextId = id >= 0xffff_fffe ? 1 : id + 1;
    return id;
  }

  /** Tells the host when to tick. */
  #plan(): void {
    let at: number | undefined;
    const wish = (time: number | undefined) => {
      if (time !== undefined && (at === undefined || time < at)) at = time;
    };
    if (this.#state === "waiting") wish(this.#retryAt);
    if (this.#state === "connecting") wish(this.#openBy);
    if (this.#state === "connected") {
      wish(this.#pingAt);
      wish(this.#silentAt);
      wish(this.#refreshAt);
      wish(this.#calls.nextAt());
      for (const room of this.#rooms.values()) wish(room.retryAt);
    }
    this.host.wakeAt(at);
  }
}

function published(ok: Fields): Published {
  return { position: readPosition(ok), duplicate: ok.duplicate === true };
}

function wishFields({ keys, maxRate }: Wishes): Fields {
  return { ...(keys ? { keys } : {}), ...(maxRate === undefined ? {} : { max_rate: maxRate }) };
}

function isSame(one: Wishes, other: Wishes): boolean {
  return JSON.stringify(wishFields(one)) === JSON.stringify(wishFields(other));
}

function isDue(time: number | undefined, now: number): boolean {
  return time !== undefined && now >= time;
}

/** The bytes of a message; only counted where they could pass `max`. */
function bytesOf(message: Message, max: number): number {
  if (typeof message !== "string" || 3 * message.length <= max) return message.length;
  return new TextEncoder().encode(message).length;
}
