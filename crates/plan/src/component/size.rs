//! Sizes of machines: cores, memory and what they cost in nothing but these.
//!
//! A size is an entry of a price book. What it costs stands there; what it can do stands here. Sources: the
//! vendors' pages of instance types, July 2026.

use crate::plan::Kind;

/// A size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    pub name: &'static str,
    /// Cores, as the operating system counts them.
    pub cores: u32,
    /// Bytes.
    pub memory: f64,
    /// Nobody has to run it: it has no machines that could be full or die one by one.
    pub managed: bool,
    /// What it is for; any kind that needs a machine if empty.
    pub kinds: &'static [Kind],
}

const GB: f64 = 1e9;

/// Cores of what is managed: it is never short of them, and its limits are elsewhere.
pub const MANAGED_CORES: u32 = 1_024;

const fn machine(name: &'static str, cores: u32, gb: f64) -> Size {
    Size {
        name,
        cores,
        memory: gb * GB,
        managed: false,
        kinds: &[],
    }
}

const fn of(name: &'static str, cores: u32, gb: f64, kinds: &'static [Kind]) -> Size {
    Size {
        name,
        cores,
        memory: gb * GB,
        managed: false,
        kinds,
    }
}

const fn managed(name: &'static str, kinds: &'static [Kind]) -> Size {
    Size {
        name,
        cores: MANAGED_CORES,
        memory: 1e15,
        managed: true,
        kinds,
    }
}

const DATABASE: &[Kind] = &[Kind::Postgres, Kind::Replica];

/// All that are known.
pub const SIZES: &[Size] = &[
    machine("t4g.small", 2, 2.0),
    machine("t4g.medium", 2, 4.0),
    machine("t3.medium", 2, 4.0),
    machine("c7g.medium", 1, 2.0),
    machine("c7g.large", 2, 4.0),
    machine("c7g.xlarge", 4, 8.0),
    machine("c7i.large", 2, 4.0),
    machine("c8g.large", 2, 4.0),
    machine("m7g.large", 2, 8.0),
    machine("e2-medium", 2, 4.0),
    machine("e2-standard-2", 2, 8.0),
    machine("CX23", 2, 4.0),
    machine("CCX13", 2, 8.0),
    machine("CCX23", 4, 16.0),
    of("db.t4g.micro", 2, 1.0, DATABASE),
    of("db.t4g.small", 2, 2.0, DATABASE),
    of("db.t4g.medium", 2, 4.0, DATABASE),
    of("db.r6g.large", 2, 16.0, DATABASE),
    of("cache.t4g.micro", 2, 0.5, &[Kind::Redis]),
    of("cache.t4g.small", 2, 1.37, &[Kind::Redis]),
    of("cache.m5.large", 2, 6.38, &[Kind::Redis]),
    managed("alb", &[Kind::Lb]),
    managed("hetzner-lb", &[Kind::Lb]),
    managed("sqs", &[Kind::Queue]),
    // Its shards are counted: each takes 1,000 records a second, one after the other.
    Size {
        managed: false,
        ..managed("kinesis-shard", &[Kind::Stream])
    },
    managed("in-process", &[Kind::Limiter]),
    managed("api-gateway", &[Kind::Hosted]),
    managed("ably", &[Kind::Hosted]),
];

/// The size of that name for that kind; an empty name is the kind's own.
pub fn size(name: &str, kind: Kind) -> Option<&'static Size> {
    let name = if name.is_empty() { default_of(kind) } else { name };
    SIZES
        .iter()
        .find(|size| size.name.eq_ignore_ascii_case(name) && is_for(size, kind))
}

/// The sizes that kind may have.
pub fn sizes_of(kind: Kind) -> impl Iterator<Item = &'static Size> {
    SIZES.iter().filter(move |size| is_for(size, kind))
}

/// What a node is that names none.
pub fn default_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Lb => "alb",
        Kind::Ws => "c7g.medium",
        Kind::Server | Kind::Worker | Kind::Stream => "t4g.small",
        Kind::Postgres | Kind::Replica => "db.t4g.medium",
        Kind::Redis => "cache.t4g.micro",
        Kind::Queue => "sqs",
        Kind::Limiter => "in-process",
        Kind::Hosted => "api-gateway",
    }
}

fn is_for(size: &Size, kind: Kind) -> bool {
    // What is hosted has no machine of the user's own.
    size.kinds.contains(&kind) || (size.kinds.is_empty() && kind != Kind::Hosted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_size() {
        for component in crate::component::ALL {
            assert!(size("", component.kind).is_some(), "{:?}", component.kind);
            assert!(sizes_of(component.kind).count() > 0);
        }
        assert_eq!(size("ccx13", Kind::Ws).unwrap().cores, 2);
        assert!(size("sqs", Kind::Postgres).is_none());
        assert!(size("c7g.medium", Kind::Hosted).is_none());
    }
}
