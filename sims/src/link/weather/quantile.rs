//! The normal distribution: how often a deviation is exceeded, and which is.

use std::f64::consts::{SQRT_2, TAU};

/// Share of a standard normal above a value, with a relative error below 1e-13.
pub fn exceedance(deviations: f64) -> f64 {
    0.5 * complement(deviations / SQRT_2)
}

/// The value that a standard normal exceeds with a probability of 0 to 1 (without the ends).
pub fn exceedance_quantile(probability: f64) -> f64 {
    let p = probability.clamp(1e-300, 1.0 - 1e-16);
    if p > 0.5 {
        return -exceedance_quantile(1.0 - p);
    }
    // A start from the tail's shape, then Newton on its logarithm, which is nearly a parabola.
    let mut x = (-2.0 * p.ln()).sqrt() * (1.0 - 0.5 * (p * 2.0).powf(0.1)).max(0.0);
    for _ in 0..60 {
        let tail = exceedance(x);
        let density = (-0.5 * x * x).exp() / TAU.sqrt();
        let step = (tail.ln() - p.ln()) * tail / density;
        x += step;
        if step.abs() < 1e-14 * (1.0 + x.abs()) {
            break;
        }
    }
    x
}

/// The complementary error function: a series near zero, a continued fraction beyond.
fn complement(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - complement(-x);
    }
    let square = x * x;
    if x < 2.5 {
        let mut term = x;
        let mut sum = x;
        let mut n = 0.0;
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= 2.0 * square / (2.0 * n + 1.0);
            sum += term;
        }
        // All terms are of one sign: nothing cancels.
        return 1.0 - 2.0 / std::f64::consts::PI.sqrt() * (-square).exp() * sum;
    }
    let mut fraction = 0.0;
    for n in (1..=80).rev() {
        fraction = f64::from(n) / 2.0 / (x + fraction);
    }
    (-square).exp() / std::f64::consts::PI.sqrt() / (x + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        // Abramowitz and Stegun, table 26.1 and 26.2.
        for (x, tail) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457),
            (2.0, 0.022_750_131_948_179),
            (3.0, 1.349_898_031_630e-3),
            (4.0, 3.167_124_183_312e-5),
            (6.0, 9.865_876_450_377e-10),
        ] {
            assert!((exceedance(x) / tail - 1.0).abs() < 1e-11, "{x}: {}", exceedance(x));
            assert!((exceedance_quantile(tail) - x).abs() < 1e-9, "{tail}");
            assert!((exceedance(-x) - (1.0 - tail)).abs() < 1e-12);
        }
    }

    #[test]
    fn quantiles_undo_exceedances() {
        // Far below zero the share is so near to one that the value is lost in rounding.
        for step in 0..300 {
            let x = -4.0 + 0.04 * f64::from(step);
            let p = exceedance(x);
            assert!((exceedance_quantile(p) - x).abs() < 1e-9, "{x} {p}");
        }
        assert!(exceedance_quantile(0.0).is_finite() && exceedance_quantile(1.0).is_finite());
    }
}
