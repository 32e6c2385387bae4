//! Who receives a publication: room sizes put into a few places.
//!
//! A publication is more likely to be in a large room, as more users are there to publish: sizes are
//! weighed by their members. Rooms that grow with the users (one for all, Zipf's) are taken at the
//! users a publication meets on average, E[N²] / E[N], so that the deliveries of the whole run are right; [`Rooms::at`]
//! says how many those are, and an engine may scale with the users of the moment. The largest room is that of the peak.

use crate::plan::RoomLaw;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rooms {
    /// (receivers, share of the publications), by receivers.
    pub receivers: Vec<(f64, f64)>,
    /// Users of whom that is true, if rooms grow with them; else 0.
    pub at: f64,
    pub max: f64,
}

/// Users of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Crowd {
    /// As a publication meets them on average.
    pub met: f64,
    pub peak: f64,
}

impl Crowd {
    /// Of a course by straight lines.
    pub fn of(course: &[(f64, f64)]) -> Self {
        let (mut sum, mut squares, mut peak) = (0.0, 0.0, 0.0_f64);
        for two in course.windows(2) {
            let ((from, a), (to, b)) = (two[0], two[1]);
            sum += (to - from) * (a + b) / 2.0;
            // Relative to the larger, so that the square of a huge one stays finite.
            squares += (to - from) * (a * a + a * b + b * b) / 3.0;
            peak = peak.max(a).max(b);
        }
        let met = if sum > 0.0 { squares / sum } else { 0.0 };
        Self {
            met: if met.is_finite() { met.min(peak) } else { peak },
            peak,
        }
    }
}

/// Ranks of Zipf's law that are looked at one by one; those beyond share what is left.
const RANKS_MAX: u32 = 2_000;

/// The rooms of a law among that crowd.
pub(super) fn rooms(law: RoomLaw, crowd: Crowd) -> Rooms {
    let whole = |size: f64| if size.is_finite() { size.max(1.0) } else { 1.0 };
    match law {
        RoomLaw::Fixed { size } => {
            let size = whole(size).min(crowd.peak.max(1.0));
            Rooms {
                receivers: vec![(size, 1.0)],
                at: 0.0,
                max: size,
            }
        }
        RoomLaw::Everyone => Rooms {
            receivers: vec![(whole(crowd.met), 1.0)],
            at: whole(crowd.met),
            max: whole(crowd.peak),
        },
        RoomLaw::Geometric { mean } => {
            let mean = whole(mean).min(crowd.peak.max(1.0));
            let receivers = geometric(mean);
            // The largest of as many rooms as there are at the peak.
            let count = (crowd.peak / mean).max(1.0);
            let max = (mean * (1.0 + libm::log(count))).min(crowd.peak.max(1.0));
            Rooms {
                receivers,
                at: 0.0,
                max,
            }
        }
        RoomLaw::Zipf {
            exponent,
            largest_share,
        } => {
            let share = if largest_share.is_nan() {
                0.0
            } else {
                largest_share.clamp(0.0, 1.0)
            };
            Rooms {
                receivers: zipf(exponent, share, whole(crowd.met)),
                at: whole(crowd.met),
                max: whole(share * crowd.peak),
            }
        }
    }
}

/// Sizes of 1, 2, … with that mean, each weighed by its members, in places that hold as much of the whole each.
fn geometric(mean: f64) -> Vec<(f64, f64)> {
    if mean < 1.5 {
        return vec![(mean, 1.0)];
    }
    // Weighed by members, a geometric of large mean is a gamma of shape 2: x e^-x of x = size / mean. Its part below x is
    // 1 - (1 + x) e^-x, and its mean below x 2 - (2 + 2x + x²) e^-x, so that each place has the mean of what it holds.
    let below = |x: f64| 1.0 - (1.0 + x) * libm::exp(-x);
    let first = |x: f64| 2.0 - (2.0 + 2.0 * x + x * x) * libm::exp(-x);
    let cuts = [0.0, 0.4, 0.8, 1.2, 1.7, 2.2, 2.8, 3.6, 4.6, 6.0, 8.0, 40.0];
    // The mean that members see is 2 mean - 1.
    let scale = (2.0 * mean - 1.0) / 2.0;
    cuts.windows(2)
        .map(|two| {
            let share = below(two[1]) - below(two[0]);
            (((first(two[1]) - first(two[0])) / share * scale).max(1.0), share)
        })
        .collect()
}

/// Rooms of a share of all users each, falling by rank; whoever is in none of the first is alone with another.
fn zipf(exponent: f64, largest: f64, users: f64) -> Vec<(f64, f64)> {
    let exponent = if exponent.is_nan() {
        1.0
    } else {
        exponent.clamp(0.0, 100.0)
    };
    let mut places: Vec<(f64, f64)> = Vec::new();
    let mut left = 1.0;
    for rank in 1..=RANKS_MAX {
        let share = (largest / libm::pow(f64::from(rank), exponent)).min(left);
        let size = share * users;
        if size < 2.0 {
            break;
        }
        left -= share;
        // Ranks 1, 2 and 3, 4 to 7, … share a place, with the mean of their members.
        if places.is_empty() || rank.is_power_of_two() {
            places.push((0.0, 0.0));
        }
        let place = places.last_mut().expect("pushed above");
        place.0 += size * share;
        place.1 += share;
    }
    for place in &mut places {
        place.0 /= place.1.max(f64::MIN_POSITIVE);
    }
    if left > 1e-9 || places.is_empty() {
        let smallest = places
            .last()
            .map_or(2.0, |place| place.0.min(2.0))
            .min(users.max(1.0));
        places.push((smallest, left));
    }
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: Crowd = Crowd {
        met: 2_000.0,
        peak: 3_400.0,
    };

    fn mean(rooms: &Rooms) -> f64 {
        let share: f64 = rooms.receivers.iter().map(|(_, share)| share).sum();
        assert!((share - 1.0).abs() < 1e-6, "{share}");
        assert!(rooms.receivers.windows(2).all(|two| two[0].0 <= two[1].0));
        rooms.receivers.iter().map(|(size, share)| size * share).sum()
    }

    #[test]
    fn each_law_has_the_mean_its_members_see() {
        assert_eq!(mean(&rooms(RoomLaw::Fixed { size: 10.0 }, CROWD)), 10.0);
        assert_eq!(mean(&rooms(RoomLaw::Everyone, CROWD)), 2_000.0);
        let geometric = rooms(RoomLaw::Geometric { mean: 20.0 }, CROWD);
        assert!((mean(&geometric) - 39.0).abs() < 0.1, "{}", mean(&geometric));
        assert!(geometric.max > 39.0 && geometric.max < 200.0);
        // Half of all in one room, an eighth in the next: 0.5² + 0.125² + 0.0556² + …
        let zipf = rooms(
            RoomLaw::Zipf {
                exponent: 2.0,
                largest_share: 0.5,
            },
            CROWD,
        );
        let by_hand: f64 = (1..=2_000)
            .map(|rank| 0.5 / f64::from(rank * rank))
            .map(|share| share * share)
            .sum();
        assert!((mean(&zipf) / (by_hand * 2_000.0) - 1.0).abs() < 0.01);
        assert_eq!(zipf.max, 1_700.0);
    }

    #[test]
    fn the_crowd_is_met_more_often_when_it_is_large() {
        let crowd = Crowd::of(&[(0.0, 100.0), (50.0, 100.0), (50.0, 300.0), (100.0, 300.0)]);
        assert_eq!(crowd.peak, 300.0);
        assert!((crowd.met - (100.0 * 100.0 + 300.0 * 300.0) / 400.0).abs() < 1e-9);
        assert_eq!(Crowd::of(&[]), Crowd { met: 0.0, peak: 0.0 });
    }

    #[test]
    fn any_numbers_give_rooms() {
        for value in [0.0, -1.0, 1.0, 1e308, f64::NAN, f64::INFINITY] {
            for peak in [0.0, 1.0, 1e308] {
                let crowd = Crowd { met: peak, peak };
                for law in [
                    RoomLaw::Fixed { size: value },
                    RoomLaw::Geometric { mean: value },
                    RoomLaw::Zipf {
                        exponent: value,
                        largest_share: value,
                    },
                    RoomLaw::Everyone,
                ] {
                    let rooms = rooms(law, crowd);
                    assert!(
                        rooms
                            .receivers
                            .iter()
                            .all(|(size, share)| *size >= 1.0 && (0.0..=1.0001).contains(share)),
                        "{law:?} {rooms:?}"
                    );
                }
            }
        }
    }
}
