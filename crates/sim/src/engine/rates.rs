//! The rates of publishes, where all shards' come together: the real buckets, and beside them the
//! same said naively, by scope. What is granted is never more than a rate allows.

use std::collections::BTreeMap;

use tidegate_core::{
    Admission, Moment, Policies,
    admission::{Quotas, Rate, Rates},
    request::{NewPublication, Source},
};
use tidegate_wire::Reject;

use super::Engine;
use crate::{
    checks::{Violation, broken},
    mutation::Mutation,
};

/// What is not exact in counting with fractions.
const NOISE: f64 = 1e-6;

/// See the module.
pub struct Rated {
    quotas: Quotas,
    rates: Rates,
    /// So few keys have a bucket of their own that the same one may take from it and from the one that others share.
    shares: bool,
    /// Tokens, and when it was so many.
    levels: BTreeMap<String, (f64, Moment)>,
    found: Option<Violation>,
}

impl Rated {
    pub fn new(admission: &Admission, policies: &Policies, seed: u64) -> Self {
        Self {
            quotas: Quotas::new(admission, policies, seed, Moment(0)),
            rates: admission.rates.clone(),
            shares: admission.keys_max < 1_000,
            levels: BTreeMap::new(),
            found: None,
        }
    }

    fn grant(&mut self, scope: String, rate: Option<Rate>, now: Moment) {
        let Some(rate) = rate else {
            return;
        };
        let times = if self.shares { 2.0 } else { 1.0 };
        let full = f64::from(rate.burst) * times;
        let (level, at) = self.levels.get(&scope).copied().unwrap_or((full, now));
        let refill = now.since(at).as_secs_f64() * f64::from(rate.per_second) * times;
        let left = (level + refill).min(full) - 1.0;
        if left < -NOISE {
            let detail = format!("{scope} was granted {:.3} more than {rate:?}", -left);
            self.found = broken::<()>("rate", detail).err();
        }
        self.levels.insert(scope, (left, now));
    }
}

impl Engine {
    /// A promise about rates that was broken.
    pub fn check_rates(&mut self) -> Result<(), Violation> {
        self.rated.found.take().map_or(Ok(()), Err)
    }

    /// Whether a publish is within its rates.
    pub(super) fn admit(&mut self, publish: &NewPublication, now: Moment) -> Result<(), Reject> {
        let NewPublication {
            room, from, source, ..
        } = publish;
        let taken = self.rated.quotas.try_take(from, *source, room, now);
        if let Err(exceeded) = taken
            && !self.planted.is(Mutation::IgnoreRates)
        {
            return Err(exceeded.reject(self.chance.below(1_000) as f64 / 1_000.0));
        }
        let policy = self.policies.of(room).cloned();
        let rates = self.rated.rates.clone();
        let rated = &mut self.rated;
        rated.grant(format!("user {from:?}"), rates.user_publishes, now);
        if let Source::Client(address) = source {
            rated.grant(format!("{address:?}"), rates.address_publishes, now);
        }
        if let Some(policy) = policy {
            rated.grant(format!("room {room:?}"), policy.room_publish_rate, now);
            let namespace = format!("namespace {:?}", policy.namespace);
            rated.grant(namespace, policy.publish_rate, now);
        }
        rated.grant("the server".to_owned(), rates.server_publishes, now);
        Ok(())
    }
}
