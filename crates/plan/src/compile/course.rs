//! The course of the users over a run: their curve (see `shape`) as straight lines.

use crate::plan::Users;

/// Most lines it is made of.
const POINTS_MAX: usize = 4_096;
/// Most users that are taken for true: more than there are people.
const USERS_MAX: f64 = 1e12;

/// (second, users) over a length in seconds, at least one each minute if there is room, through all (hour, users).
pub(super) fn course(points: &[(f64, f64)], length: f64) -> Vec<(f64, f64)> {
    let mut known: Vec<(f64, f64)> = points
        .iter()
        .filter(|(hour, users)| hour.is_finite() && users.is_finite())
        .map(|&(hour, users)| (hour, users.clamp(0.0, USERS_MAX)))
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Points that are nearer than a microsecond are one: the slope between them would be no number.
    known.dedup_by(|b, a| b.0 - a.0 < 1e-9);
    let users = Users {
        shape: None,
        points: known,
    };
    let lines = match users.points.len() {
        0 | 1 => 1,
        _ => ((length / 60.0).max(1.0).min(POINTS_MAX as f64 - 1.0)) as usize,
    };
    (0..=lines)
        .map(|line| {
            let at = length * line as f64 / lines as f64;
            (at, users.at(at / 3_600.0))
        })
        .collect()
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
