//! Scores without a model: what a static build, or one without a runtime library, goes by.

/// A level that moved by this many robust standard deviations scores one half.
pub const LIMIT_SIGMAS: f64 = 8.0;

/// How far the newest samples of a window left the level that the older ones held, 0 to 1.
///
/// The level is the median of the `older` first samples, the spread their median absolute
/// deviation, which a few outliers cannot move. The spread is at least a quarter of the older
/// samples' range, so that a wave may turn; at least one `quantum`, the smallest step that the
/// channel's converter makes; and at least a ten-thousandth of the level. `scratch` is reused.
pub fn deviation(
    mut samples: impl Iterator<Item = f64>,
    older: usize,
    quantum: f64,
    scratch: &mut Vec<f64>,
) -> f64 {
    scratch.clear();
    scratch.extend(samples.by_ref().take(older));
    if scratch.is_empty() {
        return 0.0;
    }
    let level = median(scratch);
    // They were sorted for the median.
    let range = scratch[scratch.len() - 1] - scratch[0];
    scratch.iter_mut().for_each(|value| *value = (*value - level).abs());
    // 1.4826 turns the median deviation into the sigma of a normal distribution.
    let sigma = (1.4826 * median(scratch)).max(range / 4.0).max(quantum).max(level.abs() * 1e-4);
    let farthest = samples.map(|value| (value - level).abs()).fold(0.0, f64::max);
    squash(farthest / sigma.max(f64::MIN_POSITIVE))
}

/// Maps a number of standard deviations to 0..1, [`LIMIT_SIGMAS`] to one half.
fn squash(sigmas: f64) -> f64 {
    1.0 - (-sigmas / LIMIT_SIGMAS).exp2()
}

/// The middle one of some samples, 0 of none. `scratch` is reused.
pub fn middle(samples: impl Iterator<Item = f64>, scratch: &mut Vec<f64>) -> f64 {
    scratch.clear();
    scratch.extend(samples);
    if scratch.is_empty() { 0.0 } else { median(scratch) }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

/// How cloudy one pixel looks, 0 to 1, from red, green, blue and near infrared of 0 to 255.
///
/// Clouds are bright in blue, where almost no ground is, and about as bright in every other band.
pub fn cloudiness([red, green, blue, infrared]: [u8; 4]) -> f32 {
    let [red, green, blue, infrared] = [red, green, blue, infrared].map(f32::from);
    let bright = ((blue - 70.0) / 60.0).clamp(0.0, 1.0);
    let most = red.max(green).max(blue).max(infrared).max(1.0);
    let least = red.min(green).min(blue).min(infrared);
    let even = ((least / most - 0.5) / 0.25).clamp(0.0, 1.0);
    bright * even
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(values: &[f64], older: usize) -> f64 {
        deviation(values.iter().copied(), older, 0.0, &mut Vec::new())
    }

    #[test]
    fn a_step_scores_high_and_a_ramp_low() {
        let noise = |index: usize| ((index * 7919) % 13) as f64 / 13.0;
        let quiet = (0..128).map(|index| 50.0 + noise(index)).collect::<Vec<_>>();
        assert!(score(&quiet, 96) < 0.3, "{}", score(&quiet, 96));
        let mut step = quiet.clone();
        step[120..].iter_mut().for_each(|value| *value += 20.0);
        assert!(score(&step, 96) > 0.9);
        let ramp = (0..128).map(f64::from).collect::<Vec<_>>();
        assert!(score(&ramp, 96) < 0.3, "{}", score(&ramp, 96));
    }

    #[test]
    fn a_value_that_never_moved_is_judged_by_its_size() {
        let mut values = vec![5.0; 128];
        assert_eq!(score(&values, 96), 0.0);
        values[127] = 5.0005;
        assert!(score(&values, 96) < 0.2);
        values[127] = 6.0;
        assert!(score(&values, 96) > 0.99);
        assert!(score(&[0.0, 0.0, 1e-300], 2).is_finite());
        values[127] = 6.0;
        let coarse = deviation(values.iter().copied(), 96, 1.0, &mut Vec::new());
        assert!(coarse < 0.2, "one step of a coarse converter: {coarse}");
    }

    #[test]
    fn clouds_are_bright_and_even() {
        assert!(cloudiness([200, 200, 205, 195]) > 0.9);
        for (name, pixel) in [
            ("water", [10, 15, 25, 6]),
            ("vegetation", [16, 30, 20, 100]),
            ("soil", [62, 55, 48, 85]),
            ("desert", [110, 95, 75, 125]),
        ] {
            assert!(cloudiness(pixel) < 0.3, "{name}: {}", cloudiness(pixel));
        }
    }
}
