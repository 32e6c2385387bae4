export { Client, type ClientEvents, type ClientOptions, Room, type RoomEvents, type WebSocketLike } from "./client.js";
export { Clock } from "./clock.js";
export { CLOSES, REJECTS } from "./codes.js";
export {
  type HistoryOptions,
  type JoinOptions,
  type Limits,
  type Published,
  type PublishOptions,
  RejectError,
  type Rejected,
  type State,
  type Wishes,
} from "./face.js";
export type {
  Connected,
  GapReason,
  HistoryPage,
  Joined,
  Member,
  Members,
  MembersChange,
  Position,
  Publication,
  Stamps,
} from "./frames.js";
