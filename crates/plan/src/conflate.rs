//! Conflation: a newer publication takes the place of an older one that was not sent yet.
//!
//! As Tidegate's `max_rate` does it in the lane `latest`. What is published to a room in which nothing was sent for a window
//! goes out at once; then the window is closed for one part in `max_rate` of a second, and at its end the newest of each key
//! that came in it leaves, all in one write. If there was any, the next window follows at once.
//!
//! ```text
//!   published   a      a b    a                c        time ─►
//!   sent        a │    window   │ b a │ window │ c │ …  the older a of the first window is never seen
//! ```
//!
//! What is shown waits from its own send: at most a window, and less the faster its key is published. So a rate does two things,
//! and neither is free: few keys published fast are thinned, many keys published slowly are only put together.

/// What becomes of the publications of one class in one room, if each key is published at random times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conflation {
    /// Share of all that is sent.
    kept: f64,
    /// Share of those sent that does not wait.
    at_once: f64,
    /// Seconds.
    window: f64,
    /// Of one key, a second.
    key_rate: f64,
    /// Publications in one write, on average.
    in_one: f64,
}

impl Conflation {
    /// Everything goes out as it comes.
    pub const NONE: Self = Self {
        kept: 1.0,
        at_once: 1.0,
        window: 0.0,
        key_rate: 0.0,
        in_one: 1.0,
    };

    /// At most so many writes a second, of what is published to the room and of one key so often a second.
    pub fn new(writes_max: f64, room_rate: f64, key_rate: f64) -> Self {
        if !(writes_max > 0.0 && room_rate > 0.0 && key_rate > 0.0) {
            return Self::NONE;
        }
        let window = 1.0 / writes_max;
        let key_rate = key_rate.min(room_rate);
        let (in_room, of_key) = (room_rate * window, key_rate * window);
        // Chance that nothing comes in a window: then the next is sent when it comes.
        let quiet = libm::exp(-in_room);
        let at_once = quiet / (in_room + quiet);
        let newest = if of_key > 1e-6 {
            -libm::expm1(-of_key) / of_key
        } else {
            1.0
        };
        let kept = at_once + (1.0 - at_once) * newest;
        // From one write to the next: a window, and if it was quiet the time until somebody publishes.
        let writes = 1.0 / (window + quiet / room_rate);
        Self {
            kept,
            at_once: at_once / kept,
            window,
            key_rate,
            in_one: (room_rate * kept / writes).max(1.0),
        }
    }

    /// Share of the publications that is sent.
    pub fn kept(&self) -> f64 {
        self.kept
    }

    /// Publications in one write.
    pub fn in_one(&self) -> f64 {
        self.in_one
    }

    /// Seconds that a share of those sent waits at most.
    pub fn wait(&self, share: f64) -> f64 {
        if share <= self.at_once || self.window <= 0.0 {
            return 0.0;
        }
        let share = ((share - self.at_once) / (1.0 - self.at_once).max(f64::MIN_POSITIVE)).min(1.0);
        let of_key = self.key_rate * self.window;
        // Who is the newest of its key at the window's end came late in it.
        if of_key > 1e-6 {
            -libm::log1p(share * libm::expm1(-of_key)) / self.key_rate
        } else {
            share * self.window
        }
    }
}

/// What one class sends to one reader that is behind: bytes of one, and its rates in the room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stream {
    pub bytes: f64,
    pub room_rate: f64,
    pub key_rate: f64,
}

/// Writes a second to a reader that takes so many bytes a second: as allowed, or fewer, until what is newest fits.
pub fn writes_that_fit(writes_max: f64, streams: &[Stream], bytes_per_s: f64) -> f64 {
    /// A reader that waits for a day has left.
    const LEAST: f64 = 1e-5;
    let asked = |writes: f64| {
        let sum = |stream: &Stream| {
            stream.bytes
                * stream.room_rate
                * Conflation::new(writes, stream.room_rate, stream.key_rate).kept()
        };
        streams.iter().map(sum).sum::<f64>()
    };
    if writes_max.is_nan() || writes_max <= 0.0 || asked(writes_max) <= bytes_per_s {
        return writes_max;
    }
    let (mut low, mut high) = (LEAST.min(writes_max), writes_max);
    for _ in 0..40 {
        let middle = libm::sqrt(low * high);
        if asked(middle) > bytes_per_s {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Key, Purpose, Stream as Draws};

    /// Keys that publish at random, and a room with a window: share sent, in one write, and the waits of those sent.
    fn played(writes_max: f64, keys: usize, key_rate: f64) -> (f64, f64, Vec<f64>) {
        let mut stream = Draws::new(Key {
            seed: 5,
            replication: 0,
            entity: 1,
            purpose: Purpose::Publish,
        });
        let window = 1.0 / writes_max;
        let (mut now, mut closed_until) = (0.0, 0.0);
        let mut newest: Vec<Option<f64>> = vec![None; keys];
        let (mut published, mut writes) = (0.0, 0.0);
        let mut waits = Vec::new();
        for _ in 0..200_000 {
            now += stream.exponential(1.0 / (key_rate * keys as f64));
            while closed_until <= now && newest.iter().any(Option::is_some) {
                waits.extend(
                    newest
                        .iter_mut()
                        .filter_map(Option::take)
                        .map(|at| closed_until - at),
                );
                writes += 1.0;
                closed_until += window;
            }
            published += 1.0;
            newest[stream.below(keys as u32) as usize] = Some(now);
            if closed_until <= now {
                newest.fill(None);
                waits.push(0.0);
                writes += 1.0;
                closed_until = now + window;
            }
        }
        waits.sort_by(f64::total_cmp);
        (waits.len() as f64 / published, waits.len() as f64 / writes, waits)
    }

    #[test]
    fn it_is_what_a_room_with_a_window_does() {
        for (writes, keys, rate) in [
            (12.0, 10, 5.0),
            (12.0, 1, 50.0),
            (2.0, 3, 0.1),
            (10.0, 8, 2.0),
            (1.0, 1, 0.5),
        ] {
            let (kept, in_one, waits) = played(writes, keys, rate);
            let model = Conflation::new(writes, rate * keys as f64, rate);
            assert!(
                (model.kept() / kept - 1.0).abs() < 0.01,
                "{keys} keys: {} {kept}",
                model.kept()
            );
            assert!(
                (model.in_one() / in_one - 1.0).abs() < 0.01,
                "{} {in_one}",
                model.in_one()
            );
            for share in [0.25, 0.5, 0.95] {
                let (told, waited) = (model.wait(share), waits[(waits.len() as f64 * share) as usize]);
                assert!(
                    (told - waited).abs() < 0.02 / writes,
                    "{keys} keys, {share}: {told} {waited}"
                );
            }
        }
    }

    #[test]
    fn a_slow_reader_gets_what_fits() {
        let streams = [Stream {
            bytes: 100.0,
            room_rate: 50.0,
            key_rate: 5.0,
        }];
        assert_eq!(writes_that_fit(10.0, &streams, 1e6), 10.0);
        let writes = writes_that_fit(10.0, &streams, 2_000.0);
        let sent = 5_000.0 * Conflation::new(writes, 50.0, 5.0).kept();
        assert!((sent / 2_000.0 - 1.0).abs() < 1e-3, "{sent}");
        assert!(writes_that_fit(10.0, &streams, 0.0) <= 1e-5);
        assert_eq!(writes_that_fit(0.0, &streams, 0.0), 0.0);
    }

    #[test]
    fn any_numbers_are_borne() {
        for a in [0.0, -1.0, 1e-300, 1.0, 1e12, f64::NAN, f64::INFINITY] {
            for b in [0.0, 1e-9, 1.0, 1e12, f64::NAN] {
                let model = Conflation::new(a, b, 1.0);
                assert!((0.0..=1.0).contains(&model.kept()), "{a} {b} {model:?}");
                for share in [0.0, 0.5, 1.0] {
                    assert!(model.wait(share) >= 0.0, "{a} {b} {model:?}");
                }
            }
        }
    }
}
