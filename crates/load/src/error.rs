//! What goes wrong with the generator itself, in words for whoever runs it. What is lost, doubled
//! or out of order is no error but part of the report.

/// What went wrong; said to whoever runs it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The address.
    #[error("{0:?} is not an address like ws://127.0.0.1:8600/v1/ws")]
    Url(String),
    /// The system.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        why: std::io::Error,
    },
    /// The server.
    #[error("the server {0}")]
    Server(String),
    /// The token.
    #[error("cannot make a token: {0}")]
    Token(String),
    /// The server, to someone who wanted to come in.
    #[error(
        "{why}: of {wanted} connections {joined} were let in and {refused} refused{}",
        way_out(why)
    )]
    Refused {
        /// Its words.
        why: String,
        /// Connections that are in.
        joined: usize,
        /// Connections that were turned away; then no more were tried.
        refused: usize,
        /// Connections this process wanted.
        wanted: usize,
    },
    /// Descriptors.
    #[error(
        "{wanted} connections do not fit in {} of {allowed} descriptors each; \
         raise `ulimit -n`, or want fewer connections",
        processes_of(*processes)
    )]
    Descriptors {
        /// Wanted.
        wanted: usize,
        /// How many there may be.
        processes: usize,
        /// Allowed.
        allowed: u64,
    },
    /// A workload that cannot be split.
    #[error(
        "`{0}` runs in one process only: all its connections publish, and one process publishes on schedule"
    )]
    OneProcess(&'static str),
    /// One of several processes.
    #[error("process {number} of {of} {why}; the others are ended too")]
    Part {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        of: usize,
        /// What it did.
        why: String,
    },
    /// A process that is not there, or was not named.
    #[error("{0}; name the server's process with `--pid`, on this machine")]
    Process(String),
    /// Something could not be measured.
    #[error("{0}")]
    Unmeasured(String),
    /// A parent of another version.
    #[error("the command {0} is unknown")]
    Command(String),
}

fn processes_of(count: usize) -> String {
    match count {
        1 => "one process".to_owned(),
        count => format!("{count} processes"),
    }
}

/// What can be done about a refusal.
fn way_out(why: &str) -> &'static str {
    match why.contains(" 503") {
        true => {
            ". A server says 503 when it is out of descriptors or at its `limits.connections_max`; \
             raise `ulimit -n` where it starts, or want fewer connections"
        }
        false => "",
    }
}

impl LoadError {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |why| Self::System { what, why }
    }
}
