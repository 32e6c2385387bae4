//! Student's t: how far a mean of few replications may be from what it estimates (W. Gosset, 1908).

/// Share of the law with so many degrees of freedom that is at or below `t`.
pub(super) fn below(t: f64, freedom: f64) -> f64 {
    if t.is_nan() {
        return 0.5;
    }
    let tail = 0.5 * beta(freedom / (freedom + t * t), freedom / 2.0, 0.5);
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The `t` that a share of the law is at or below; of shares from one half to below 1.
pub fn quantile(share: f64, freedom: f64) -> f64 {
    let mut high = 1.0;
    while below(high, freedom) < share && high < 1e12 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if below(middle, freedom) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Terms of the continued fraction; it needs about the root of the larger parameter.
const TERMS_MAX: u32 = 500;

/// The regularised incomplete beta function of `x`, by its continued fraction (W. Lentz's way to evaluate one).
fn beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // It converges fast below the mean of the law; above it, the other tail does.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta(1.0 - x, b, a);
    }
    let scale = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b);
    let front = libm::exp(scale + a * libm::log(x) + b * libm::log1p(-x)) / a;
    let away = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut over = 1.0;
    let mut under = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = under;
    for term in 1..=TERMS_MAX {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for factor in [even, odd] {
            under = 1.0 / away(1.0 + factor * under);
            over = away(1.0 + factor / over);
            change = over * under;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-14 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_tables() {
        // Published tables of Student's t, two-sided 95 % and 99 %.
        for (share, freedom, t) in [
            (0.975, 1.0, 12.706),
            (0.975, 4.0, 2.776),
            (0.975, 7.0, 2.365),
            (0.995, 7.0, 3.499),
            (0.975, 31.0, 2.040),
            (0.995, 120.0, 2.617),
            (0.95, 1_000.0, 1.646),
        ] {
            let found = quantile(share, freedom);
            assert!((found / t - 1.0).abs() < 5e-4, "{share} {freedom}: {found}");
        }
    }

    #[test]
    fn both_sides_are_the_same_and_any_number_is_answered() {
        for freedom in [1.0, 7.0, 63.0, 4_095.0] {
            for t in [0.0, 1e-9, 0.3, 2.0, 40.0, 1e9] {
                let both = below(t, freedom) + below(-t, freedom);
                assert!((both - 1.0).abs() < 1e-12, "{freedom} {t}: {both}");
            }
            assert_eq!(below(f64::INFINITY, freedom), 1.0);
            assert_eq!(below(f64::NEG_INFINITY, freedom), 0.0);
        }
    }
}
