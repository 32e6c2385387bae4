// The server's codes, held equal to its own table by a test. The range of a number tells what to
// do, so that this client understands codes that are newer than itself.

/** Why a command was rejected, by number. */
export const REJECTS = {
  100: "rate_limited",
  101: "unavailable",
  102: "overloaded",
  103: "timeout",
  104: "draining",
  200: "malformed",
  201: "unknown_namespace",
  202: "forbidden",
  203: "not_joined",
  204: "already_joined",
  205: "too_large",
  206: "limit",
  207: "not_connected",
  208: "already_connected",
  209: "disabled",
  300: "token_invalid",
  301: "token_expired",
} as const;

/** Why the server closed a connection, by number. */
export const CLOSES = {
  4000: "shutdown",
  4001: "too_slow",
  4002: "ping_timeout",
  4003: "overloaded",
  4004: "handshake_timeout",
  4100: "token_expired",
  4101: "token_invalid",
  4500: "malformed",
  4501: "disconnected",
  4502: "flood",
} as const;

/** What a close asks of the client. */
export type ComeBack = "yes" | "with_new_token" | "no";

/** Tells from a close code whether to come back. */
export function comeBack(code: number): ComeBack {
  if (code >= 4100 && code < 4200) return "with_new_token";
  if (code >= 4500 && code < 4600) return "no";
  // RFC 6455's own: we spoke wrongly, and would again.
  if (code === 1002 || code === 1003 || code === 1007 || code === 1009) return "no";
  return "yes";
}

/** Whether the same command may succeed later. */
export function isRetryable(code: number): boolean {
  return code >= 100 && code < 200;
}

/** Whether a new token is needed first. */
export function needsToken(code: number): boolean {
  return code >= 300 && code < 400;
}
