//! The course of the users: a monotone cubic through points (F. Fritsch and R. Carlson, 1980), then straight lines.

/// Most lines it is made of.
const POINTS_MAX: usize = 4_096;

/// (second, users) over a length in seconds, at least one each minute if there is room, through all (hour, users).
pub(super) fn course(points: &[(f64, f64)], length: f64) -> Vec<(f64, f64)> {
    let mut known: Vec<(f64, f64)> = points
        .iter()
        .filter(|(hour, users)| hour.is_finite() && users.is_finite())
        .map(|&(hour, users)| (hour * 3_600.0, users.max(0.0)))
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    known.dedup_by(|b, a| b.0 <= a.0);
    let Some(&(_, first)) = known.first() else {
        return vec![(0.0, 0.0), (length, 0.0)];
    };
    if known.len() == 1 {
        return vec![(0.0, first), (length, first)];
    }
    let slopes = slopes(&known);
    let lines = ((length / 60.0).max(1.0).min(POINTS_MAX as f64 - 1.0)) as usize;
    let mut span = 0;
    (0..=lines)
        .map(|line| {
            let at = length * line as f64 / lines as f64;
            while span + 2 < known.len() && known[span + 1].0 <= at {
                span += 1;
            }
            (at, between(&known, &slopes, span, at))
        })
        .collect()
}

/// Slopes at the points, such that no span overshoots its ends.
fn slopes(known: &[(f64, f64)]) -> Vec<f64> {
    let secants: Vec<f64> = known
        .windows(2)
        .map(|two| (two[1].1 - two[0].1) / (two[1].0 - two[0].0))
        .collect();
    let last = secants.len() - 1;
    let mut slopes: Vec<f64> = (0..known.len())
        .map(|point| match point {
            0 => secants[0],
            point if point > last => secants[last],
            point if secants[point - 1] * secants[point] <= 0.0 => 0.0,
            point => (secants[point - 1] + secants[point]) / 2.0,
        })
        .collect();
    for (span, &secant) in secants.iter().enumerate() {
        if secant == 0.0 {
            slopes[span] = 0.0;
            slopes[span + 1] = 0.0;
            continue;
        }
        let (a, b) = (slopes[span] / secant, slopes[span + 1] / secant);
        let long = a * a + b * b;
        if long > 9.0 {
            let shorter = 3.0 / long.sqrt();
            slopes[span] = shorter * a * secant;
            slopes[span + 1] = shorter * b * secant;
        }
    }
    slopes
}

fn between(known: &[(f64, f64)], slopes: &[f64], span: usize, at: f64) -> f64 {
    let ((left, from), (right, to)) = (known[span], known[span + 1]);
    if at <= left {
        return from;
    }
    if at >= right {
        return to;
    }
    let width = right - left;
    let t = (at - left) / width;
    let (t2, t3) = (t * t, t * t * t);
    let users = (2.0 * t3 - 3.0 * t2 + 1.0) * from
        + (t3 - 2.0 * t2 + t) * width * slopes[span]
        + (3.0 * t2 - 2.0 * t3) * to
        + (t3 - t2) * width * slopes[span + 1];
    let users = if users.is_finite() { users } else { from };
    users.clamp(from.min(to), from.max(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_through_its_points_and_never_beyond() {
        let points = [
            (0.0, 220.0),
            (10.0, 300.0),
            (20.0, 3_400.0),
            (40.0, 3_400.0),
            (60.0, 220.0),
        ];
        let course = course(&points, 60.0 * 3_600.0);
        assert_eq!(course.len(), 3_601);
        for (hour, users) in points {
            let at = course
                .iter()
                .find(|(second, _)| (second - hour * 3_600.0).abs() < 1e-6)
                .unwrap();
            assert!((at.1 - users).abs() < 1e-6, "{hour}");
        }
        assert!(
            course
                .iter()
                .all(|&(_, users)| (220.0..=3_400.0).contains(&users))
        );
        assert!(course.windows(2).take(1_200).all(|two| two[1].1 >= two[0].1));
    }

    #[test]
    fn odd_points_are_borne() {
        assert_eq!(course(&[], 10.0), [(0.0, 0.0), (10.0, 0.0)]);
        assert_eq!(course(&[(1.0, 5.0)], 10.0)[1].1, 5.0);
        let wild = [
            (0.0, 1e308),
            (0.0, 3.0),
            (1e-300, -1.0),
            (f64::NAN, 1.0),
            (1.0, f64::INFINITY),
            (2.0, 1e308),
        ];
        assert!(
            course(&wild, 7_200.0)
                .iter()
                .all(|(at, users)| at.is_finite() && users.is_finite())
        );
    }
}
