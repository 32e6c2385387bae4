//! What conflating does to a class of events, for one reader.
//!
//! A reader of whom `turns` a second are allowed is sent the first publication at once. What comes within the turn that
//! begins then waits for its end, when the newest of each key leaves together, and the next turn begins; a turn in
//! which nothing came ends the row. So does Tidegate's `max_rate`. Publications come as a Poisson process.
//!
//! With `all` of them a second to the reader, `each` of one key, and turns of length `T`: of a key's the newest in a turn
//! is as old as the time since, whose density is `each e^(-each a)` for ages `a` up to `T`; one turn sends
//! `(all / each)(1 - e^(-each T))` of them, and with the chance `e^(-all T)` that nothing came, the next goes at once.

use crate::plan::KeyOf;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conflation {
    /// Share of the publications that is sent.
    pub kept: f64,
    /// What one write holds, on average.
    pub in_one: f64,
    /// Of those sent, the share that waits for the end of a turn.
    waits: f64,
    turn: f64,
    each: f64,
}

impl Conflation {
    /// Of a class of which each of the room's `members` sends `rate` a second, to a reader with `turns` a second, above 0.
    pub fn of(rate: f64, members: f64, key: KeyOf, turns: f64) -> Self {
        let turn = 1.0 / turns;
        let all = rate * members.max(1.0);
        let each = match key {
            KeyOf::User => rate,
            KeyOf::Room => all,
        };
        let (came, at_once) = (all * turn, libm::exp(-all * turn));
        if came < 1e-9 {
            return Self {
                kept: 1.0,
                in_one: 1.0,
                waits: 0.0,
                turn,
                each,
            };
        }
        let at_end = all / each * -libm::expm1(-each * turn);
        let in_one = at_end + at_once;
        Self {
            kept: in_one / (came + at_once),
            in_one,
            waits: at_end / in_one,
            turn,
            each,
        }
    }

    /// Seconds one waits that is sent, by its place among them: 0 to 1.
    pub fn wait(&self, place: f64) -> f64 {
        let at_once = 1.0 - self.waits;
        if place <= at_once || self.waits <= 0.0 {
            return 0.0;
        }
        let place = ((place - at_once) / self.waits).clamp(0.0, 1.0);
        let within = -libm::expm1(-self.each * self.turn);
        (-libm::log1p(-place * within) / self.each).min(self.turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Key, Purpose, Stream};

    /// The same, event by event: what is sent of what was published, how many a write holds, and the mean and the 95th
    /// percentile of the waits.
    fn played(rate: f64, members: usize, key: KeyOf, turns: f64) -> [f64; 4] {
        let mut stream = Stream::new(Key {
            seed: 1,
            replication: 0,
            entity: 0,
            purpose: Purpose::Arrival,
        });
        let turn = 1.0 / turns;
        let all = rate * members as f64;
        let (mut now, mut ends) = (0.0, f64::NEG_INFINITY);
        let mut newest: Vec<Option<f64>> = vec![None; members];
        let (mut waits, mut writes, mut published) = (Vec::new(), 0.0, 0.0);
        while published < 300_000.0 {
            now += -libm::log1p(-stream.unit()) / all;
            while ends <= now && newest.iter().any(Option::is_some) {
                waits.extend(newest.iter_mut().filter_map(Option::take).map(|at| ends - at));
                writes += 1.0;
                ends += turn;
            }
            published += 1.0;
            if now >= ends {
                waits.push(0.0);
                writes += 1.0;
                ends = now + turn;
                continue;
            }
            let of = match key {
                KeyOf::User => stream.below(members as u32) as usize,
                KeyOf::Room => 0,
            };
            newest[of] = Some(now);
        }
        waits.sort_by(f64::total_cmp);
        let sent = waits.len() as f64;
        let mean = waits.iter().sum::<f64>() / sent;
        let p95 = waits[(sent * 0.95) as usize];
        [sent / published, sent / writes, mean, p95]
    }

    #[test]
    fn it_is_what_is_seen_event_by_event() {
        let cases = [
            (5.0, 10, KeyOf::User, 8.0),
            (5.0, 10, KeyOf::Room, 12.0),
            (0.5, 3, KeyOf::User, 1.0),
            (20.0, 4, KeyOf::User, 5.0),
            (0.01, 10, KeyOf::Room, 5.0),
        ];
        for (rate, members, key, turns) in cases {
            let told = Conflation::of(rate, members as f64, key, turns);
            let places: Vec<f64> = (0..10_000).map(|n| (f64::from(n) + 0.5) / 1e4).collect();
            let mean = places.iter().map(|place| told.wait(*place)).sum::<f64>() / 1e4;
            let told = [told.kept, told.in_one, mean, told.wait(0.95)];
            let seen = played(rate, members, key, turns);
            for (told, seen) in told.iter().zip(seen) {
                assert!(
                    (told - seen).abs() <= 0.02 * seen.abs() + 0.001,
                    "{rate} {members} {key:?} {turns}: {told} {seen}"
                );
            }
        }
    }

    #[test]
    fn any_numbers_give_shares() {
        let values = [0.0, 1e-300, 1e-9, 1.0, 1e6, 1e12];
        for rate in values {
            for members in values {
                for turns in [1e-6, 1.0, 1e6] {
                    for key in [KeyOf::User, KeyOf::Room] {
                        let told = Conflation::of(rate, members, key, turns);
                        assert!(
                            (0.0..=1.0 + 1e-12).contains(&told.kept),
                            "{rate} {members} {turns} {told:?}"
                        );
                        for place in [0.0, 0.5, 1.0] {
                            let wait = told.wait(place);
                            assert!((0.0..=1.0 / turns).contains(&wait), "{told:?} {wait}");
                        }
                    }
                }
            }
        }
    }
}
