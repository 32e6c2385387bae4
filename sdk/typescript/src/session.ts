// The client's side of a connection as a pure state machine: no sockets, no timers, no clock.
//
//   host.fetchToken ─► host.open ─► connect (with every room to resume) ─► connected
//        ▲                                                                    │
//        └── waiting, for a random time ◄── closed, unless told to stay away ◄┘
//
// Publications keep their message id over every repeat, so that each happens once. Rooms keep their
// position, so that a reconnect misses nothing, or is told what it missed.

import { Clock } from "./clock.js";
import { CLOSES, comeBack, isRetryable, needsToken } from "./codes.js";
import {
  type Connected,
  type Fields,
  type Frame,
  type HistoryPage,
  type Joined,
  type Members,
  type MembersChange,
  number,
  type Position,
  type Publication,
  ProtocolError,
  readConnected,
  readFrames,
  readHistory,
  readJoined,
  readMembers,
  readPosition,
  type RejectFrame,
  toBase64,
} from "./frames.js";

/** How far the client has come. */
export type State = "idle" | "connecting" | "connected" | "waiting" | "closed";

/** Why a command failed. */
export class RejectError extends Error {
  constructor(
    /** The server's number; 0 for a reason of the client's own. */
    readonly code: number,
    /** Its name, such as `forbidden`; of the client's own: `queue_full`, `timeout`, `closed`. */
    readonly reason: string,
    detail: string,
  ) {
    super(detail ? `${reason}: ${detail}` : reason);
    this.name = "RejectError";
  }
}

/** How to join a room. */
export interface JoinOptions {
  /** Start with the last n publications. */
  last?: number;
  /** Start after this position, kept from an earlier time. */
  since?: Position;
  /** Be listed among the members. */
  enter?: boolean;
  /** Hear who comes and goes. */
  members?: boolean;
}

/** How to publish. */
export interface PublishOptions {
  /** What it is about, for the receivers. */
  key?: string;
  /** Your own id of it; made up where absent. */
  msg?: string;
}

/** Where a publication stands. */
export interface Published {
  readonly position: Position;
  /** It had been published before, under the same id. */
  readonly duplicate: boolean;
}

/** Which publications to read. */
export interface HistoryOptions {
  since?: Position;
  limit?: number;
  reverse?: boolean;
}

/** What the session needs of the world. */
export interface Host {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** From 0 to 1. */
  random(): number;
  fetchToken(): void;
  open(): void;
  send(text: string): void;
  close(): void;
  /** Call `tick` at this time, in place of any earlier wish. */
  wakeAt(time: number | undefined): void;
}

/** What the session tells. */
export interface Listener {
  onState(state: State, why: string): void;
  onConnected(connected: Connected): void;
}

/** What a room is told. */
export interface RoomListener {
  onJoined(joined: Joined): void;
  onEvent(publication: Publication): void;
  onMembers(change: MembersChange): void;
  onGap(reason: string, position: Position): void;
  onRemoved(error: RejectError): void;
}

/** Bounds and times, all with defaults. Milliseconds. */
export interface Limits {
  /** Publications waiting; beyond it `publish` fails with `queue_full`. */
  queueCount: number;
  /** And their bytes of JSON. */
  queueBytes: number;
  /** Without an answer for this long, a command is sent again. */
  answerTimeout: number;
  /** How often a publication that was rejected for now is tried again. */
  tries: number;
  /** A socket that is not open after this is given up. */
  openTimeout: number;
  /** Longest wait between two attempts to connect. */
  backoffMax: number;
}

export const LIMITS: Limits = {
  queueCount: 1_000,
  queueBytes: 1 << 20,
  answerTimeout: 10_000,
  tries: 8,
  openTimeout: 10_000,
  backoffMax: 30_000,
};

/** First wait between two attempts, before it doubles. */
const BACKOFF_MIN = 500;
/** Commands sent without waiting for answers; the server's own bound is higher. */
const IN_FLIGHT_MAX = 16;

/** A command until its answer has come. */
interface Call {
  readonly name: string;
  readonly body: Fields;
  readonly bytes: number;
  readonly isPublish: boolean;
  tries: number;
  /** Its id on this connection; 0 while it waits. */
  id: number;
  sentAt: number;
  notBefore: number;
  resolve(body: Fields): void;
  reject(error: RejectError): void;
}

interface RoomState {
  readonly name: string;
  readonly options: JoinOptions;
  readonly listener: RoomListener;
  epoch: string | undefined;
  /** The last offset seen; undefined before the first join or while a fresh replay has not begun. */
  seen: number | undefined;
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
  #pingMs = 25_000;
  #heardAt = 0;
  #pingAt = 0;
  #retryAt: number | undefined;
  #openBy: number | undefined;
  #nextId = 1;
  #nextMsg = 1;
  #connectId = 0;
  #refreshId = 0;
  readonly #msgPrefix: string;
  readonly #rooms = new Map<string, RoomState>();
  readonly #calls: Call[] = [];
  readonly #byId = new Map<number, Call>();
  readonly #joins = new Map<number, RoomState>();
  readonly #pings = new Map<number, number>();
  #queuedBytes = 0;
  #queued = 0;

  constructor(
    private readonly host: Host,
    private readonly listener: Listener,
    private readonly client: { name: string; version: string },
    private readonly limits: Limits = LIMITS,
  ) {
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
      epoch: options.since?.epoch,
      seen: options.since?.offset,
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
    if (this.#state === "connected") this.#send({ id: this.#id(), leave: { room: name } });
  }

  /** The position to keep for another time. */
  position(name: string): Position | undefined {
    const room = this.#rooms.get(name);
    if (room?.epoch === undefined || room.seen === undefined) return undefined;
    return { epoch: room.epoch, offset: room.seen };
  }

  publish(room: string, data: unknown, options: PublishOptions): Promise<Published> {
    const body = {
      room,
      ...(data instanceof Uint8Array ? { bytes: toBase64(data) } : { data }),
      msg: options.msg ?? `${this.#msgPrefix}-${this.#nextMsg++}`,
      ...(options.key === undefined ? {} : { key: options.key }),
      sent_at: this.host.now(),
    };
    const answer = this.#call("publish", body, true);
    return answer.then((ok) => ({ position: readPosition(ok), duplicate: ok.duplicate === true }));
  }

  history(room: string, options: HistoryOptions): Promise<HistoryPage> {
    return this.#call("history", { room, ...options }, false).then(readHistory);
  }

  presence(room: string, limit: number | undefined): Promise<Members> {
    const body = limit === undefined ? { room } : { room, limit };
    return this.#call("presence", body, false).then(readMembers);
  }

  // ---- what the world tells ---------------------------------------------------

  /** The token that was fetched; empty where the server needs none. */
  tokenFetched(token: string): void {
    this.#token = token;
    if (this.#isRefreshing) {
      this.#isRefreshing = false;
      if (this.#state !== "connected") return;
      this.#refreshId = this.#id();
      this.#send({ id: this.#refreshId, refresh: { token } });
    } else if (this.#state === "connecting") {
      this.#openBy = this.host.now() + this.limits.openTimeout;
      this.host.open();
      this.#plan();
    }
  }

  /** There is no token now. */
  tokenFailed(why: string): void {
    if (this.#isRefreshing) this.#isRefreshing = false;
    else if (this.#state === "connecting") this.#wait(`no token: ${why}`);
  }

  opened(): void {
    if (this.#state !== "connecting") return this.host.close();
    this.#isOpen = true;
    this.#heardAt = this.host.now();
    this.#connectId = this.#id();
    const resume = [...this.#rooms.values()].map((room) => this.#joinBody(room));
    const connect = { token: this.#token ?? "", client: this.client, resume };
    this.#send({ id: this.#connectId, connect });
    this.#plan();
  }

  received(text: string): void {
    this.#heardAt = this.host.now();
    let frames: Frame[];
    try {
      frames = readFrames(text);
      for (const frame of frames) this.#onFrame(frame);
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
    else this.#wait(why);
  }

  /** The network may be back, or the page is seen again: do not wait any longer. */
  hurry(): void {
    if (this.#state === "waiting") {
      this.#attempts = 0;
      this.#begin();
    }
  }

  /** The time wished for has come. */
  tick(): void {
    const now = this.host.now();
    if (this.#state === "waiting" && this.#retryAt !== undefined && now >= this.#retryAt) this.#begin();
    else if (this.#state === "connecting" && this.#openBy !== undefined && now >= this.#openBy) {
      this.#drop("no answer to the handshake");
    } else if (this.#state === "connected") {
      if (now >= this.#heardAt + 2 * this.#pingMs) this.#drop("the server is silent");
      else this.#work(now);
    }
    this.#plan();
  }

  // ---- connecting -------------------------------------------------------------

  #begin(): void {
    this.#retryAt = undefined;
    this.#openBy = undefined;
    this.#setState("connecting", "");
    if (this.#token === undefined) this.host.fetchToken();
    else this.tokenFetched(this.#token);
  }

  #drop(why: string): void {
    this.host.close();
    this.#isOpen = false;
    this.#wait(why);
  }

  /** Waits a random time, up to a bound that doubles: full jitter. */
  #wait(why: string): void {
    this.#forgetConnection();
    const bound =
      this.#attempts === 0
        ? this.#reconnectMs
        : Math.min(this.limits.backoffMax, BACKOFF_MIN * 2 ** Math.min(this.#attempts, 16));
    this.#attempts++;
    this.#retryAt = this.host.now() + this.host.random() * bound;
    this.#setState("waiting", why);
    this.#plan();
  }

  #end(why: string): void {
    this.#forgetConnection();
    this.#retryAt = undefined;
    for (const call of this.#calls.splice(0)) this.#settle(call, new RejectError(0, "closed", why));
    this.#setState("closed", why);
    this.#plan();
  }

  #forgetConnection(): void {
    this.#byId.clear();
    this.#joins.clear();
    this.#pings.clear();
    this.#isRefreshing = false;
    this.#openBy = undefined;
    for (const call of this.#calls) call.id = 0;
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

  #onFrame(frame: Frame): void {
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
        return this.#onGap(frame.room, frame.position, frame.reason);
      case "notice":
        return this.#onNotice(frame.notice, frame.room);
    }
  }

  #onOk(id: number, body: Fields): void {
    const call = this.#byId.get(id);
    const room = this.#joins.get(id);
    const pingSentAt = this.#pings.get(id);
    if (call) {
      this.#byId.delete(id);
      this.#remove(call);
      call.resolve(body);
      this.#work(this.host.now());
    } else if (room) {
      this.#joins.delete(id);
      this.#onJoined(room, readJoined(body));
    } else if (pingSentAt !== undefined) {
      this.#pings.delete(id);
      this.clock.add(pingSentAt, number(body.t1), number(body.t2), this.host.now());
    } else if (id === this.#connectId && this.#state === "connecting") {
      this.#onConnected(readConnected(body));
    }
  }

  #onConnected(connected: Connected): void {
    const now = this.host.now();
    this.#attempts = 0;
    this.#reconnectMs = connected.reconnectMs;
    this.#pingMs = Math.max(1_000, connected.pingMs);
    this.#pingAt = now;
    this.#openBy = undefined;
    this.#setState("connected", "");
    this.listener.onConnected(connected);
    // Rooms that were joined while the connect was under way.
    for (const room of this.#rooms.values()) if (room.joinId === 0) this.#sendJoin(room);
    this.#work(now);
  }

  #onReject(id: number, reject: RejectFrame): void {
    const error = new RejectError(reject.code, reject.name, reject.detail);
    const now = this.host.now();
    const after = now + (reject.retryAfterMs ?? 1_000) * (1 + this.host.random());
    const call = this.#byId.get(id);
    const room = this.#joins.get(id);
    if (call) {
      this.#byId.delete(id);
      call.id = 0;
      if (isRetryable(reject.code) && ++call.tries < this.limits.tries) call.notBefore = after;
      else {
        this.#remove(call);
        call.reject(error);
      }
    } else if (room) {
      this.#joins.delete(id);
      if (isRetryable(reject.code)) room.retryAt = after;
      else {
        this.#rooms.delete(room.name);
        room.listener.onRemoved(error);
      }
    } else if (id === this.#connectId || id === this.#refreshId) {
      // The close that follows says whether to come back.
      if (needsToken(reject.code)) this.#token = undefined;
    }
  }

  #onJoined(room: RoomState, joined: Joined): void {
    const isFresh = room.epoch === undefined || joined.recovery === "gap";
    room.isJoined = true;
    room.epoch = joined.position.epoch;
    // Replayed events count from where they begin; with none we stand at the head.
    if (joined.replayed === 0) room.seen = joined.position.offset;
    else if (isFresh) room.seen = undefined;
    room.listener.onJoined(joined);
    if (joined.recovery === "gap") room.listener.onGap(joined.reason ?? "", joined.position);
  }

  #onEvent(name: string, publication: Publication): void {
    const room = this.#rooms.get(name);
    // Left a moment ago, or seen before the connection was lost.
    if (!room?.isJoined || (room.seen !== undefined && publication.offset <= room.seen)) return;
    room.seen = publication.offset;
    room.listener.onEvent(publication);
  }

  #onGap(name: string, position: Position, reason: string): void {
    const room = this.#rooms.get(name);
    if (!room) return;
    room.epoch = position.epoch;
    room.seen = position.offset;
    room.listener.onGap(reason, position);
  }

  #onNotice(notice: string, name: string): void {
    if (notice === "token_expiring" && !this.#isRefreshing) {
      this.#isRefreshing = true;
      this.#token = undefined;
      this.host.fetchToken();
    } else if (notice === "removed") {
      const room = this.#rooms.get(name);
      this.#rooms.delete(name);
      room?.listener.onRemoved(new RejectError(202, "forbidden", "the new token does not grant this room"));
    }
  }

  // ---- commands ---------------------------------------------------------------

  #call(name: string, body: Fields, isPublish: boolean): Promise<Fields> {
    if (this.#state === "closed") return Promise.reject(new RejectError(0, "closed", "the client is closed"));
    const bytes = JSON.stringify(body).length;
    const isOver = this.#queued >= this.limits.queueCount || this.#queuedBytes + bytes > this.limits.queueBytes;
    if (isOver) {
      const detail = `${this.#queued} commands (${this.#queuedBytes} bytes) wait already`;
      return Promise.reject(new RejectError(0, "queue_full", detail));
    }
    return new Promise((resolve, reject) => {
      const call: Call = { name, body, bytes, isPublish, tries: 0, id: 0, sentAt: 0, notBefore: 0, resolve, reject };
      this.#calls.push(call);
      this.#queued++;
      this.#queuedBytes += bytes;
      if (this.#state === "connected") this.#work(this.host.now());
      this.#plan();
    });
  }

  #remove(call: Call): void {
    const place = this.#calls.indexOf(call);
    if (place < 0) return;
    this.#calls.splice(place, 1);
    this.#queued--;
    this.#queuedBytes -= call.bytes;
  }

  #settle(call: Call, error: RejectError): void {
    this.#queued--;
    this.#queuedBytes -= call.bytes;
    call.reject(error);
  }

  /** Sends what may be sent, repeats what was not answered, pings. */
  #work(now: number): void {
    if (this.#state !== "connected") return;
    for (const call of this.#calls) {
      if (call.id !== 0 && now >= call.sentAt + this.limits.answerTimeout) {
        // The answer was lost, or will come: a publish carries its id, a read can be repeated.
        this.#byId.delete(call.id);
        call.id = 0;
      }
    }
    for (const call of this.#calls) {
      if (this.#byId.size >= IN_FLIGHT_MAX) break;
      if (call.id !== 0) continue;
      // What was published first goes first: one that must wait holds up those behind it.
      if (call.notBefore > now) {
        if (call.isPublish) break;
        continue;
      }
      call.id = this.#id();
      call.sentAt = now;
      this.#byId.set(call.id, call);
      this.#send({ id: call.id, [call.name]: call.body });
    }
    for (const room of this.#rooms.values()) {
      if (room.retryAt !== undefined && now >= room.retryAt) this.#sendJoin(room);
    }
    if (now >= this.#pingAt) {
      this.#pingAt = now + this.#pingMs;
      const id = this.#id();
      this.#pings.clear();
      this.#pings.set(id, now);
      this.#send({ id, ping: { t0: now } });
    }
  }

  #sendJoin(room: RoomState): void {
    const { id, ...join } = this.#joinBody(room);
    this.#send({ id, join });
  }

  #joinBody(room: RoomState): { id: number } & Fields {
    const { last, enter, members } = room.options;
    const id = this.#id();
    room.joinId = id;
    room.retryAt = undefined;
    this.#joins.set(id, room);
    const hasPosition = room.epoch !== undefined && room.seen !== undefined;
    return {
      id,
      room: room.name,
      ...(hasPosition ? { since: { epoch: room.epoch, offset: room.seen } } : {}),
      ...(last === undefined ? {} : { last }),
      ...(enter ? { enter } : {}),
      ...(members ? { members } : {}),
    };
  }

  #send(frame: Fields): void {
    this.host.send(JSON.stringify(frame));
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
      wish(this.#heardAt + 2 * this.#pingMs);
      for (const room of this.#rooms.values()) wish(room.retryAt);
      const next = this.#calls[0];
      if (next) wish(next.id !== 0 ? next.sentAt + this.limits.answerTimeout : next.notBefore || undefined);
    }
    this.host.wakeAt(at);
  }
}
