// The client: a session with a WebSocket, the machine's timers, and promises.

import type { Clock } from "./clock.js";
import { Emitter } from "./emitter.js";
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
import {
  type HistoryOptions,
  type JoinOptions,
  LIMITS,
  type Limits,
  type Published,
  type PublishOptions,
  RejectError,
  type RoomListener,
  Session,
  type State,
} from "./session.js";

const SUBPROTOCOL = "tidegate.v1.json";
const VERSION = "0.1.0";

/** The part of a WebSocket that is used. Browsers have it; in Node 20 pass `ws`. */
export interface WebSocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown } & never) => void) | null;
  onclose: ((event: { code: number } & never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** How to make a client. */
export interface ClientOptions {
  /** Such as `wss://example.org/v1/ws`. */
  url: string;
  /** Gives a token whenever one is needed: at the start, and before the last one expires. */
  token?: string | (() => string | Promise<string>);
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
}

/** What a room tells. */
export interface RoomEvents {
  /** A publication: in order, each once. */
  event: Publication;
  /** Joined, or joined again after a reconnect: what became of the time between. */
  joined: Joined;
  /** Publications were lost; fetch your state anew. */
  gap: { reason: GapReason; position: Position };
  /** Who came and went. */
  members: MembersChange;
  /** The server does not let us in, or not any more. The room is over. */
  removed: RejectError;
}

/** One joined room. */
export class Room extends Emitter<RoomEvents> {
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
    const listener: RoomListener = {
      onJoined: (joined) => {
        if (joined.members) this.#reset(joined.members.count, joined.members.sample);
        this.emit("joined", joined);
      },
      onEvent: (publication) => this.emit("event", publication),
      onGap: (reason, position) => this.emit("gap", { reason, position }),
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

  /** Leaves. */
  leave(): void {
    this.session.leave(this.name);
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
  #socket: WebSocketLike | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #connected: Connected | undefined;

  constructor(options: ClientOptions) {
    super();
    this.#options = options;
    const host = {
      now: () => Date.now(),
      random: () => Math.random(),
      fetchToken: () => this.#fetchToken(),
      open: () => this.#open(),
      send: (text: string) => this.#socket?.send(text),
      close: () => this.#drop(),
      wakeAt: (time: number | undefined) => this.#wakeAt(time),
    };
    const listener = {
      onState: (state: State, why: string) => this.emit("state", { state, why }),
      onConnected: (connected: Connected) => {
        this.#connected = connected;
        this.emit("connected", connected);
      },
    };
    const limits = { ...LIMITS, ...options.limits };
    this.#session = new Session(host, listener, { name: "tidegate-js", version: VERSION }, limits);
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

  /** How far it has come. */
  get state(): State {
    return this.#session.state;
  }

  /** Who the server says we are. */
  get user(): string | undefined {
    return this.#connected?.user;
  }

  /** The server's clock, as far as it can be known. */
  get clock(): Clock {
    return this.#session.clock;
  }

  /** Ends for good. */
  close(): void {
    this.#session.close();
    this.#listenToBrowser(false);
  }

  #fetchToken(): void {
    const { token } = this.#options;
    const fetched = typeof token === "function" ? Promise.resolve().then(token) : Promise.resolve(token ?? "");
    fetched.then(
      (value) => this.#session.tokenFetched(value),
      (error: unknown) => this.#session.tokenFailed(String(error)),
    );
  }

  #open(): void {
    const Constructor = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!Constructor) throw new Error("there is no WebSocket here: pass one as `WebSocket`, such as npm's `ws`");
    const socket = new Constructor(this.#options.url, SUBPROTOCOL) as WebSocketLike;
    this.#socket = socket;
    // An old socket's late words are nobody's.
    const isCurrent = () => this.#socket === socket;
    socket.onopen = () => isCurrent() && this.#session.opened();
    socket.onmessage = ({ data }) => isCurrent() && this.#session.received(String(data));
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
    this.#timer = time === undefined ? undefined : setTimeout(() => this.#session.tick(), Math.max(0, time - Date.now()));
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
