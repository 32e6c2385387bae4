//! The kinds of nodes, as a page offers them.

use serde::Serialize;
use tidegate_plan::{component, plan::Kind};

/// What a page must know of a kind before a node of it is drawn.
#[derive(Debug, Serialize)]
pub struct KindFacts {
    kind: Kind,
    what: &'static str,
    fails: &'static [&'static str],
    calls: &'static [Kind],
    /// Whether the clients may call it.
    is_first: bool,
    /// The first is its own.
    sizes: Vec<SizeFacts>,
}

#[derive(Debug, Serialize)]
struct SizeFacts {
    name: &'static str,
    /// None of what is managed: nobody counts its cores.
    cores: Option<u32>,
    memory_bytes: Option<f64>,
}

/// All of them.
pub fn kinds() -> Vec<KindFacts> {
    component::ALL
        .iter()
        .map(|component| {
            let kind = component.kind;
            let own = component::default_of(kind);
            let mut sizes: Vec<SizeFacts> = component::sizes_of(kind)
                .map(|size| SizeFacts {
                    name: size.name,
                    cores: (size.cores < component::MANAGED_CORES).then_some(size.cores),
                    memory_bytes: (size.cores < component::MANAGED_CORES).then_some(size.memory),
                })
                .collect();
            sizes.sort_by_key(|size| size.name != own);
            KindFacts {
                kind,
                what: component.what,
                fails: component.fails,
                calls: kind.calls(),
                is_first: Kind::FIRST.contains(&kind),
                sizes,
            }
        })
        .collect()
}
