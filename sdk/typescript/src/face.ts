// What goes between the session and those around it: what it is asked, what it needs of the world, and
// what it tells. Types and bounds; what becomes of them is in session.ts.

import type { CommandName, Message } from "./codec.js";
import type { Connected, Joined, MembersChange, Position, Publication } from "./frames.js";

/** How far the client has come. */
export type State = "idle" | "connecting" | "connected" | "waiting" | "closed";

/** Why a command failed. */
export class RejectError extends Error {
  constructor(
    /** The server's number; 0 for a reason of the client's own. */
    readonly code: number,
    /** Its name, such as `forbidden`; of the client's own: `queue_full`, `timeout`, `closed`, `retries_spent`. */
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
  /** Receive less: see {@link Wishes}. */
  wishes?: Wishes;
  /** Begin with the newest publication of each key, and so again whenever what was missed cannot be replayed. */
  state?: boolean;
}

/** What a subscriber wants less than everything. */
export interface Wishes {
  /** Only publications with one of these keys; absent for all. */
  keys?: readonly string[];
  /** At most so many batches a second, in the lanes `latest` and `lossy`. */
  maxRate?: number;
}

/** How to publish. */
export interface PublishOptions {
  /** What it is about, for the receivers. */
  key?: string;
  /** The namespace's own, or `lossy`: the first to be left out for a reader that is behind. */
  lane?: "reliable" | "latest" | "lossy";
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
  /** Milliseconds since the Unix epoch; never goes back. */
  now(): number;
  /** From 0 to 1. */
  random(): number;
  /** Answer with `tokenFetched` or `tokenFailed`, and this ticket. */
  fetchToken(ticket: number): void;
  open(): void;
  send(message: Message): void;
  close(): void;
  /** Call `tick` at this time, in place of any earlier wish. */
  wakeAt(time: number | undefined): void;
}

/** What the session tells. */
export interface Listener {
  onState(state: State, why: string): void;
  onConnected(connected: Connected): void;
  onRejected?(rejected: Rejected): void;
  /** The server will close this connection; the session comes back after so many milliseconds. */
  onDraining(inMs: number): void;
}

/** The server said no to a command. */
export interface Rejected {
  /** Which kind. */
  readonly command: CommandName;
  /** The server's number, and its name, such as `overloaded`. */
  readonly code: number;
  readonly reason: string;
  readonly detail: string;
  /** Milliseconds until it is sent again; absent if it is not, and the promise fails. */
  readonly retryInMs: number | undefined;
}

/** What a room is told. */
export interface RoomListener {
  onJoined(joined: Joined): void;
  onEvent(publication: Publication): void;
  /** The room's state, by key; what follows changes it. */
  onState(publications: ReadonlyMap<string, Publication>, position: Position): void;
  onMembers(change: MembersChange): void;
  onGap(reason: string, position: Position, count: number): void;
  onRemoved(error: RejectError): void;
}

/** Bounds and times, all with defaults. Milliseconds. */
export interface Limits {
  /** Commands waiting or in flight; beyond it the newest fails with `queue_full`. */
  queueCount: number;
  /** And their length, encoded. */
  queueBytes: number;
  /** Without an answer for this long, a command is sent again. */
  answerTimeout: number;
  /** How often a command is sent that is rejected for now or not answered, before it fails. */
  tries: number;
  /** A token, a socket and an answer to `connect` must be there within this; else it begins anew. */
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
