//! The one table of codes: why a command was rejected, why a connection ends.
//!
//! The number's range tells a client what to do, so that an old client understands
//! a new code:
//!
//! ```text
//!  reject  100-199  the same command may succeed later (see `retry_after_ms`)
//!          200-299  the same command will not succeed
//!          300-399  get a new token first
//!  close  4000-4099 come back, with backoff
//!         4100-4199 come back with a new token
//!         4500-4599 stay away: coming back as you are will not help
//! ```
//!
//! Violations of RFC 6455 itself close with its own numbers (1002, 1007, 1009).

/// Declares a closed set of codes with its numbers and names, once.
macro_rules! codes {
    ($(#[$doc:meta])* $type:ident {
        $($(#[$vdoc:meta])* $variant:ident = $number:literal $name:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum $type { $($(#[$vdoc])* $variant = $number,)* }

        impl $type {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Returns the number that travels.
            pub fn number(self) -> u16 { self as u16 }
            /// Returns the name that travels beside it.
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            /// Finds the code with this number.
            pub fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// Why one command was not done. The connection goes on.
    RejectCode {
        /// More than the allowed rate or count in flight.
        RateLimited = 100 "rate_limited",
        /// The engine cannot be reached or cannot store now: not acknowledged, so repeat it with the same `msg`.
        Unavailable = 101 "unavailable",
        /// The server has too much waiting.
        Overloaded = 102 "overloaded",
        /// No answer within the time allowed: a publish may or may not have happened; repeat it with the same `msg`.
        Timeout = 103 "timeout",
        /// The server is going away.
        Draining = 104 "draining",
        /// A field is missing, of the wrong kind or out of bounds.
        Malformed = 200 "malformed",
        /// The room's namespace is not configured.
        UnknownNamespace = 201 "unknown_namespace",
        /// The token grants no such thing in this room.
        Forbidden = 202 "forbidden",
        /// The command needs a join first.
        NotJoined = 203 "not_joined",
        /// This connection is in the room already.
        AlreadyJoined = 204 "already_joined",
        /// The payload is larger than the namespace allows.
        TooLarge = 205 "too_large",
        /// A bound of this connection is reached, such as rooms joined.
        Limit = 206 "limit",
        /// `connect` must come first.
        NotConnected = 207 "not_connected",
        /// `connect` was sent twice.
        AlreadyConnected = 208 "already_connected",
        /// The namespace keeps no history, or no presence.
        Disabled = 209 "disabled",
        /// The token is missing, not ours, or damaged.
        TokenInvalid = 300 "token_invalid",
        /// The token has expired.
        TokenExpired = 301 "token_expired",
    }
}

codes! {
    /// Why the server ended a connection: the WebSocket close code and its reason text.
    CloseReason {
        /// The server stops.
        Shutdown = 4000 "shutdown",
        /// The reader fell behind its outbox's bound; resume by position.
        TooSlow = 4001 "too_slow",
        /// No pong, or nothing at all, within the timeout.
        PingTimeout = 4002 "ping_timeout",
        /// The server sheds connections.
        Overloaded = 4003 "overloaded",
        /// No `connect` within the handshake timeout.
        HandshakeTimeout = 4004 "handshake_timeout",
        /// The token expired and was not refreshed.
        TokenExpired = 4100 "token_expired",
        /// The token was refused.
        TokenInvalid = 4101 "token_invalid",
        /// Not a frame of this protocol.
        Malformed = 4500 "malformed",
        /// An operator or the HTTP API ended this user's connections.
        Disconnected = 4501 "disconnected",
        /// Too many commands without waiting for answers.
        Flood = 4502 "flood",
    }
}

/// The answer "no" to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub code: RejectCode,
    /// For codes 100 to 199: when to try again, in milliseconds from now.
    pub retry_after_ms: Option<u32>,
    /// A sentence for the developer, with the thing and the value; may be empty.
    pub detail: String,
}

impl Reject {
    /// A reject with a sentence and no retry time.
    pub fn new(code: RejectCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            retry_after_ms: None,
            detail: detail.into(),
        }
    }

    /// A reject that says when to try again.
    pub fn retry(code: RejectCode, retry_after_ms: u32, detail: impl Into<String>) -> Self {
        Self {
            code,
            retry_after_ms: Some(retry_after_ms),
            detail: detail.into(),
        }
    }
}

/// What a client should do after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComeBack {
    /// Reconnect with backoff and full jitter.
    Yes,
    /// Get a new token, then reconnect.
    WithNewToken,
    /// Do not reconnect.
    No,
}

impl CloseReason {
    /// Tells from the number's range whether the client should come back.
    pub fn come_back(self) -> ComeBack {
        match self.number() {
            4100..=4199 => ComeBack::WithNewToken,
            4500..=4599 => ComeBack::No,
            _ => ComeBack::Yes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_in_their_ranges() {
        let mut seen = std::collections::BTreeSet::new();
        for code in RejectCode::ALL {
            assert!(seen.insert(code.number().to_string()) && seen.insert(code.name().into()));
            assert!((100..400).contains(&code.number()));
            assert_eq!(RejectCode::from_number(code.number()), Some(*code));
        }
        let mut seen = std::collections::BTreeSet::new();
        for code in CloseReason::ALL {
            assert!(seen.insert(code.number().to_string()) && seen.insert(code.name().into()));
            assert!((4000..5000).contains(&code.number()));
            assert_eq!(CloseReason::from_number(code.number()), Some(*code));
        }
    }
}
