//! The kinds of nodes by name, and who may call whom: the rule that files, compiling and the canvas share.

use crate::plan::Kind;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Lb,
        Self::Ws,
        Self::Server,
        Self::Postgres,
        Self::Replica,
        Self::Redis,
        Self::Stream,
        Self::Queue,
        Self::Worker,
        Self::Limiter,
        Self::Hosted,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lb => "lb",
            Self::Ws => "ws",
            Self::Server => "server",
            Self::Postgres => "postgres",
            Self::Replica => "replica",
            Self::Redis => "redis",
            Self::Stream => "stream",
            Self::Queue => "queue",
            Self::Worker => "worker",
            Self::Limiter => "limiter",
            Self::Hosted => "hosted",
        }
    }

    /// The kinds that the clients may call.
    pub const FIRST: &[Self] = &[Self::Lb, Self::Ws, Self::Hosted, Self::Server, Self::Limiter];

    /// The kinds it may call.
    pub fn calls(self) -> &'static [Self] {
        match self {
            Self::Lb => &[Self::Ws, Self::Hosted, Self::Server, Self::Limiter],
            Self::Limiter => &[Self::Lb, Self::Ws, Self::Hosted, Self::Server, Self::Redis],
            Self::Ws | Self::Hosted => &[
                Self::Server,
                Self::Postgres,
                Self::Replica,
                Self::Redis,
                Self::Stream,
                Self::Queue,
                Self::Limiter,
                Self::Worker,
            ],
            Self::Server => &[
                Self::Postgres,
                Self::Replica,
                Self::Redis,
                Self::Stream,
                Self::Queue,
                Self::Ws,
                Self::Hosted,
                Self::Limiter,
            ],
            Self::Worker => &[
                Self::Postgres,
                Self::Replica,
                Self::Redis,
                Self::Stream,
                Self::Queue,
                Self::Server,
                Self::Ws,
                Self::Hosted,
            ],
            Self::Stream => &[Self::Worker, Self::Ws, Self::Server],
            Self::Queue => &[Self::Worker],
            Self::Redis => &[Self::Ws, Self::Redis],
            Self::Postgres => &[Self::Replica, Self::Postgres],
            Self::Replica => &[],
        }
    }
}
