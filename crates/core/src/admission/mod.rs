//! Admission: what is let in while there is less of something than is asked for.
//!
//! Three questions with three answers. Does this one ask too often ([`Bucket`],
//! [`Buckets`])? Can what stands behind us take one more ([`Limiter`])? When not
//! everything can be served, what goes first ([`Shedder`])? And who is not let in at once:
//! may it wait ([`Stall`])? All of them are values: time is handed in, and an answer is
//! returned. They are put together in `gate`, and at the server's edge.

mod adaptive;
mod bucket;
mod buckets;
mod limit;
mod quotas;
mod retry;
mod settings;
mod shed;
mod stall;
mod window;

pub use adaptive::{Limiter, Outcome, Permit, Refused, Settings};
pub use bucket::{Bucket, Rate};
pub use buckets::Buckets;
pub use limit::{Aimd, Gradient2, Limit, Measured, Vegas};
pub use quotas::{Exceeded, Quotas, Scope, Table};
pub use retry::retry_ms;
pub use settings::{Adaptive, Admission, Rates, Rule};
pub use shed::{Class, Marks, Pressure, Shed, Shedder};
pub use stall::Stall;
pub use window::{Histogram, LATENCY_MAX, Quantile, Window};
