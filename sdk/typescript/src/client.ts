// The client: a session with a WebSocket, the machine's timers, and promises.

import type { Clock } from "./clock.js";
import { CODECS, type Message } from "./codec.js";
import { Emitter } from "./emitter.js";
import {
  type HistoryOptions,
  type JoinOptions,
  LIMITS,
  type Limits,
  type Published,
  type PublishOptions,
  RejectError,
  type Rejected,
  type RoomListener,
  type State,
  type Wishes,
} from "./face.js";
import type {
  Connected,
  GapReason,
  HistoryPage,
  Joined,
  Member,
  Members,
  MembersChange,
  Position,
  Publication,
} from "./frames.js";
import { Session } from "./session.js";

/** The longest that setTimeout can wait, milliseconds. */
const TIMER_MAX = 2 ** 31 - 1;
const VERSION = "0.1.0";

/** The part of a WebSocket that is used. Browsers have it; in Node 20 pass `ws`. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown } & never) => void) | null;
  onclose: ((event: { code: number } & never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(message: Message): void;
  close(code?: number): void;
  binaryType: string;
}

/** How to make a client. */
export interface ClientOptions {
  /** Such as `wss://example.org/v1/ws`. */
  url: string;
  /** Gives a token whenever one is needed: at the start, and before the last one expires. */
  token?: string | (() => string | Promise<string>);
  /** How frames travel: `json` (the default) can be read in the browser's tools, `binary` is smaller, above all for bytes. */
  codec?: keyof typeof CODECS;
  /** A WebSocket constructor, where there is no global one. */
  WebSocket?: new (
    url: string,
    protocols: string,
  ) => unknown;
  /** Other bounds than the defaults. */
  limits?: Partial<Limits>;
}

/** What a client tells. */
export interface ClientEvents {
  /** Its state changed; `why` says what ended the connection. */
  state: { state: State; why: string };
  /** A connection stands. */
  connected: Connected;
  /** The server said no to a command: for now, and it is sent again; or for good, and its promise fails. */
  rejected: Rejected;
  /** The server will close this connection, and wants us back after so many milliseconds: we come by ourselves, and miss nothing. */
  draining: { inMs: number };
}

/** What a room tells. */
export interface RoomEvents {
  /** A publication: in order, each once. */
  event: Publication;
  /** Joined with `state`: the newest publication of each key, before the events that follow it. Comes again when what was missed cannot be replayed: it is in place of all that was known. */
  state: { publications: ReadonlyMap<string, Publication>; position: Position };
  /** Joined, or joined again after a reconnect: what became of the time between. */
  joined: Joined;
  /** Publications were lost; fetch your state anew. */
  gap: { reason: GapReason; position: Position };
  /** We were behind, and so many publications were left out: `conflated`, each replaced by a newer one of its key, or `dropped`. */
  skipped: { reason: "conflated" | "dropped"; count: number };
  /** Who came and went. */
  members: MembersChange;
  /** The server does not let us in, or not any more. The room is over. */
  removed: RejectError;
}

/** One joined room. */
export class Room extends Emitter<RoomEvents> {
  readonly #hasState: boolean;
  #state = new Map<string, Publication>();
  #members = new Map<string, Member>();
  #count = 0;

  /** @internal */
  constructor(
    private readonly session: Session,
    /** Its name, `namespace:name`. */
    readonly name: string,
    options: JoinOptions,
  ) {
    super();
    this.#hasState = options.state === true;
    const listener: RoomListener = {
      onJoined: (joined) => {
        if (joined.members) this.#reset(joined.members.count, joined.members.sample);
        this.emit("joined", joined);
      },
      onEvent: (publication) => {
        if (this.#hasState) this.#change(publication);
        this.emit("event", publication);
      },
      onState: (publications, position) => {
        this.#state = new Map(publications);
        this.emit("state", { publications, position });
      },
      onGap: (reason, position, count) => {
        if (reason === "conflated" || reason === "dropped") this.emit("skipped", { reason, count });
        else this.emit("gap", { reason, position });
      },
      onMembers: (change) => {
        this.#apply(change);
        this.emit("members", change);
      },
      onRemoved: (error) => this.emit("removed", error),
    };
    session.join(name, options, listener);
  }

  /** Publishes. Resolves when the server has it: once, however often the connection breaks meanwhile. */
  publish(data: unknown, options: PublishOptions = {}): Promise<Published> {
    return this.session.publish(this.name, data, options);
  }

  /** Takes a key out of the room's state: everyone here gets an event with `delete`. */
  delete(key: string, options: Pick<PublishOptions, "msg"> = {}): Promise<Published> {
    return this.session.delete(this.name, key, options);
  }

  /** The newest publication of each key, when joined with `state`: kept up by every event. */
  get state(): ReadonlyMap<string, Publication> {
    return this.#state;
  }

  /** Reads kept publications. */
  history(options: HistoryOptions = {}): Promise<HistoryPage> {
    return this.session.history(this.name, options);
  }

  /** Asks who is here. */
  presence(limit?: number): Promise<Members> {
    return this.session.presence(this.name, limit);
  }

  /** The members as last heard of, when joined with `members`; in a large room a sample. */
  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  /** How many members there are. */
  get count(): number {
    return this.#count;
  }

  /** The position to keep for another time, as `since`. */
  get position(): Position | undefined {
    return this.session.position(this.name);
  }

  /** Changes what comes: only these keys, no faster than this; nothing given lifts both. Nothing is replayed: a key that is new here comes with its next publication. */
  filter(wishes: Wishes = {}): Promise<void> {
    const { keys } = wishes;
    for (const key of keys ? this.#state.keys() : []) if (!keys?.includes(key)) this.#state.delete(key);
    return this.session.filter(this.name, wishes);
  }

  /** Leaves. */
  leave(): void {
    this.session.leave(this.name);
  }

  #change(publication: Publication): void {
    if (publication.delete) this.#state.delete(publication.key);
    else if (publication.key !== "") this.#state.set(publication.key, publication);
  }

  #reset(count: number, sample: readonly Member[]): void {
    this.#count = count;
    this.#members = new Map(sample.map((member) => [member.user, member]));
  }

  #apply(change: MembersChange): void {
    if (change.sample) return this.#reset(change.count, change.sample);
    this.#count = change.count;
    for (const user of change.left) this.#members.delete(user);
    for (const member of change.joined) this.#members.set(member.user, member);
  }
}

/** A connection that mends itself, and the rooms on it. */
export class Client extends Emitter<ClientEvents> {
  readonly #session: Session;
  readonly #options: ClientOptions;
  readonly #codec: (typeof CODECS)[keyof typeof CODECS];
  readonly #open: () => void;
  #socket: WebSocketLike | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #connected: Connected | undefined;

  constructor(options: ClientOptions) {
    super();
    const { protocol } = new URL(options.url);
    if (protocol !== "ws:" && protocol !== "wss:") throw new TypeError(`url ${options.url} must begin with ws: or wss:`);
    const Constructor = options.WebSocket ?? globalThis.WebSocket;
    if (!Constructor) throw new TypeError("there is no WebSocket here: pass one as `WebSocket`, such as npm's `ws`");
    this.#options = options;
    this.#codec = CODECS[options.codec ?? "json"];
    this.#open = () => this.#openWith(Constructor);
    const host = {
      now: () => this.now(),
      random: () => Math.random(),
      fetchToken: (ticket: number) => this.#fetchToken(ticket),
      open: () => this.#open(),
      send: (message: Message) => this.#socket?.send(message),
      close: () => this.#drop(),
      wakeAt: (time: number | undefined) => this.#wakeAt(time),
    };
    const listener = {
      onState: (state: State, why: string) => this.emit("state", { state, why }),
      onConnected: (connected: Connected) => {
        this.#connected = connected;
        this.emit("connected", connected);
      },
      onRejected: (rejected: Rejected) => this.emit("rejected", rejected),
      onDraining: (inMs: number) => this.emit("draining", { inMs }),
    };
    const limits = { ...LIMITS, ...options.limits };
    this.#session = new Session(host, listener, this.#codec, { name: "tidegate-js", version: VERSION }, limits);
  }

  /** Connects. Resolves with the first connection; from then on the client mends it by itself. */
  connect(): Promise<Connected> {
    if (this.state === "connected" && this.#connected) return Promise.resolve(this.#connected);
    return new Promise((resolve, reject) => {
      const offs = [
        this.on("connected", (connected) => {
          for (const off of offs) off();
          resolve(connected);
        }),
        this.on("state", ({ state, why }) => {
          if (state !== "closed") return;
          for (const off of offs) off();
          reject(new RejectError(0, "closed", why));
        }),
      ];
      this.#listenToBrowser();
      this.#session.connect();
    });
  }

  /** Joins a room: at once, or when there is a connection. */
  join(name: string, options: JoinOptions = {}): Room {
    return new Room(this.#session, name, options);
  }

  /** Publishes to a room without joining it. */
  publish(room: string, data: unknown, options: PublishOptions = {}): Promise<Published> {
    return this.#session.publish(room, data, options);
  }

  /** Takes a key out of a room's state without joining it. */
  delete(room: string, key: string, options: Pick<PublishOptions, "msg"> = {}): Promise<Published> {
    return this.#session.delete(room, key, options);
  }

  /** How far it has come. */
  get state(): State {
    return this.#session.state;
  }

  /** Who the server says we are. */
  get user(): string | undefined {
    return this.#connected?.user;
  }

  /** This client's clock: milliseconds since the Unix epoch, that never go back when the machine's clock is set. */
  now(): number {
    return performance.timeOrigin + performance.now();
  }

  /** The server's clock, as far as it can be known: `client.now() + client.clock.offset`. */
  get clock(): Clock {
    return this.#session.clock;
  }

  /** Ends for good. */
  close(): void {
    this.#session.close();
    this.#listenToBrowser(false);
  }

  #fetchToken(ticket: number): void {
    const { token } = this.#options;
    const fetched = typeof token === "function" ? Promise.resolve().then(token) : Promise.resolve(token ?? "");
    fetched.then(
      (value) => this.#session.tokenFetched(ticket, value),
      (error: unknown) => this.#session.tokenFailed(ticket, String(error)),
    );
  }

  #openWith(Constructor: new (url: string, protocols: string) => unknown): void {
    const socket = new Constructor(this.#options.url, this.#codec.subprotocol) as WebSocketLike;
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    // An old socket's late words are nobody's.
    const isCurrent = () => this.#socket === socket;
    socket.onopen = () => isCurrent() && this.#session.opened();
    socket.onmessage = ({ data }) => isCurrent() && this.#session.received(data);
    socket.onclose = ({ code }) => {
      if (!isCurrent()) return;
      this.#socket = undefined;
      this.#session.closed(code);
    };
    socket.onerror = () => {};
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close(1000);
  }

  #wakeAt(time: number | undefined): void {
    clearTimeout(this.#timer);
    if (time === undefined) return;
    const wait = Math.min(TIMER_MAX, Math.max(0, time - this.now()));
    this.#timer = setTimeout(() => this.#session.tick(), wait);
  }

  readonly #hurry = () => {
    if (globalThis.document?.visibilityState !== "hidden") this.#session.hurry();
  };

  /** The network is back, or the page is looked at again: a browser tells. */
  #listenToBrowser(on = true): void {
    if (typeof globalThis.addEventListener !== "function") return;
    const change = on ? "addEventListener" : "removeEventListener";
    globalThis[change]("online", this.#hurry);
    globalThis.document?.[change]("visibilitychange", this.#hurry);
  }
}
