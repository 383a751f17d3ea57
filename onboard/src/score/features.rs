//! The eighteen features of a window of telemetry that OPS-SAT-AD defines.
//!
//! Ruszczak et al., "The OPS-SAT benchmark for detecting anomalies in satellite telemetry",
//! Scientific Data 2025, and its published dataset generator: variances are of the population,
//! kurtosis is Fisher's, a peak stands out by at least a tenth of the range, smoothing is a
//! centred mean over zero-padded ends. Two things the dataset does not define are ours: a window
//! without variance has skew and kurtosis 0, and the sampling interval is the mean one.

use codecs::time::Tai;

/// Number of features.
pub const COUNT: usize = 18;

/// Their names, in the order of the model's input.
pub const NAMES: [&str; COUNT] = [
    "mean",
    "var",
    "std",
    "kurtosis",
    "skew",
    "n_peaks",
    "smooth10_n_peaks",
    "smooth20_n_peaks",
    "diff_peaks",
    "diff2_peaks",
    "diff_var",
    "diff2_var",
    "gaps_squared",
    "len_weighted",
    "var_div_duration",
    "var_div_len",
    "duration",
    "len",
];

/// Share of the range by which a peak must stand out.
const PROMINENCE: f64 = 0.1;

/// The latest samples of one channel, oldest first, in memory that is taken once.
#[derive(Clone, Debug)]
pub struct Window {
    /// Sample `i` of the window stands at `(start + i) % capacity`.
    values: Box<[f64]>,
    times: Box<[Tai]>,
    start: usize,
    len: usize,
    /// The window in order, and two derived series, for the computation only.
    scratch: [Vec<f64>; 3],
}

impl Window {
    /// A window of so many samples, at least 3.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(3);
        Self {
            values: vec![0.0; capacity].into(),
            times: vec![Tai(0); capacity].into(),
            start: 0,
            len: 0,
            // Smoothing a window shorter than its kernel gives as many values as the kernel.
            scratch: std::array::from_fn(|_| Vec::with_capacity(capacity.max(20))),
        }
    }

    /// Adds a sample; a full window drops its oldest.
    pub fn push(&mut self, time: Tai, value: f64) {
        let capacity = self.values.len();
        let at = (self.start + self.len) % capacity;
        self.values[at] = value;
        self.times[at] = time;
        if self.len < capacity {
            self.len += 1;
        } else {
            self.start = (self.start + 1) % capacity;
        }
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        self.len = 0;
        self.start = 0;
    }

    /// Samples held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no sample is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the next sample drops one.
    pub fn is_full(&self) -> bool {
        self.len == self.values.len()
    }

    /// The time of the latest sample.
    pub fn latest(&self) -> Option<Tai> {
        self.len.checked_sub(1).map(|last| self.time(last))
    }

    fn time(&self, index: usize) -> Tai {
        self.times[(self.start + index) % self.times.len()]
    }

    /// The samples in order.
    pub fn ordered(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.len).map(|index| self.values[(self.start + index) % self.values.len()])
    }

    /// The features of the samples held, in the order of [`NAMES`].
    pub fn features(&mut self) -> [f64; COUNT] {
        let seconds = |nanos: i64| nanos as f64 / 1e9;
        let count = self.len as f64;
        let mut gaps_squared = 0.0;
        for index in 1..self.len {
            gaps_squared += seconds(self.time(index).since(self.time(index - 1))).powi(2);
        }
        let duration = match self.len.checked_sub(1) {
            Some(last) => seconds(self.time(last).since(self.time(0))),
            None => 0.0,
        };
        let per = |value: f64, by: f64| if by > 0.0 { value / by } else { 0.0 };

        let [values, derived, smooth] = &mut self.scratch;
        values.clear();
        let capacity = self.values.len();
        values.extend((0..self.len).map(|i| self.values[(self.start + i) % capacity]));
        let moments = Moments::of(values);
        derived.clear();
        derived.extend(values.windows(2).map(|pair| pair[1] - pair[0]));
        let diff_var = Moments::of(derived).variance;
        let diff_peaks = peaks(derived);
        for index in 1..derived.len() {
            derived[index - 1] = derived[index] - derived[index - 1];
        }
        derived.pop();
        let diff2_var = Moments::of(derived).variance;
        let diff2_peaks = peaks(derived);
        let n_peaks = peaks(values);
        smooth_into(values, 10, smooth);
        let smooth10_peaks = peaks(smooth);
        smooth_into(values, 20, smooth);
        let smooth20_peaks = peaks(smooth);
        [
            moments.mean,
            moments.variance,
            moments.variance.sqrt(),
            moments.kurtosis,
            moments.skew,
            n_peaks as f64,
            smooth10_peaks as f64,
            smooth20_peaks as f64,
            diff_peaks as f64,
            diff2_peaks as f64,
            diff_var,
            diff2_var,
            gaps_squared,
            per(duration, count - 1.0) * count,
            per(moments.variance, duration),
            per(moments.variance, count),
            duration,
            count,
        ]
    }
}

struct Moments {
    mean: f64,
    variance: f64,
    skew: f64,
    kurtosis: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let (mut second, mut third, mut fourth) = (0.0, 0.0, 0.0);
        for value in values {
            let square = (value - mean) * (value - mean);
            second += square;
            third += square * (value - mean);
            fourth += square * square;
        }
        let variance = second / count;
        // Below the rounding error of the mean the shape is noise of the arithmetic.
        let flat = variance <= (f64::EPSILON * mean).powi(2);
        let (skew, kurtosis) = if flat {
            (0.0, 0.0)
        } else {
            (third / count / variance.powf(1.5), fourth / count / (variance * variance) - 3.0)
        };
        Self { mean, variance, skew, kurtosis }
    }
}

/// A centred mean over `width` samples with zeros beyond both ends, as long as the longer of the
/// two (numpy's `convolve(..., mode="same")`).
fn smooth_into(values: &[f64], width: usize, out: &mut Vec<f64>) {
    out.clear();
    let (longer, shorter) = (values.len().max(width), values.len().min(width));
    if shorter == 0 {
        return;
    }
    for index in 0..longer {
        let last = index + (shorter - 1) / 2;
        let first = (last + 1).saturating_sub(width);
        let inside = values.get(first..values.len().min(last + 1)).unwrap_or_default();
        out.push(inside.iter().sum::<f64>() / width as f64);
    }
}

/// Peaks that stand out by a tenth of the series' range.
///
/// A peak is a value, or a run of equal values, above both neighbours; neither end is one. It
/// stands out by its height over the higher of the two valleys that part it from higher ground.
fn peaks(values: &[f64]) -> usize {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let needed = PROMINENCE * (high - low);
    let (mut count, mut index) = (0, 1);
    while index + 1 < values.len() {
        if values[index - 1] < values[index] {
            let mut ahead = index + 1;
            while ahead + 1 < values.len() && values[ahead] == values[index] {
                ahead += 1;
            }
            if values[ahead] < values[index] {
                let valley = |side: &mut dyn Iterator<Item = f64>| {
                    side.take_while(|value| *value <= values[index]).fold(values[index], f64::min)
                };
                let left = valley(&mut values[..index].iter().rev().copied());
                let right = valley(&mut values[ahead..].iter().copied());
                count += usize::from(values[index] - left.max(right) >= needed);
                index = ahead;
            }
        }
        index += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(values: &[f64], step_s: f64) -> Window {
        let mut window = Window::new(values.len());
        for (index, value) in values.iter().enumerate() {
            window.push(Tai((index as f64 * step_s * 1e9) as i64), *value);
        }
        window
    }

    #[test]
    fn peaks_need_prominence_and_shoulders() {
        assert_eq!(peaks(&[]), 0);
        assert_eq!(peaks(&[0.0, 1.0]), 0);
        assert_eq!(peaks(&[0.0, 1.0, 0.0]), 1);
        assert_eq!(peaks(&[0.0, 1.0, 1.0, 1.0, 0.0]), 1, "a plateau is one peak");
        assert_eq!(peaks(&[1.0, 1.0, 0.0]), 0, "an end is no peak");
        assert_eq!(peaks(&[0.0, 1.0, 1.0]), 0, "an end is no peak");
        assert_eq!(peaks(&[0.0, 10.0, 9.5, 10.0, 0.0]), 2, "equal heights part nothing");
    }

    #[test]
    fn a_ring_forgets_its_oldest_and_keeps_the_order() {
        let mut ring = Window::new(4);
        for index in 0..11 {
            ring.push(Tai(index), index as f64);
        }
        assert_eq!(ring.ordered().collect::<Vec<_>>(), [7.0, 8.0, 9.0, 10.0]);
        assert_eq!((ring.latest(), ring.is_full()), (Some(Tai(10)), true));
        let mut fresh = window(&[7.0, 8.0, 9.0, 10.0], 1e-9);
        assert_eq!(ring.features()[..12], fresh.features()[..12]);
    }

    #[test]
    fn a_constant_series_is_finite() {
        for count in 0..30 {
            let mut window = window(&vec![0.1; count], 1.0);
            let features = window.features();
            assert!(features.iter().all(|feature| feature.is_finite()), "{count}: {features:?}");
            // Smoothing pads with zeros, so that its series is not flat: only the others are.
            assert_eq!((features[5], &features[8..12]), (0.0, &[0.0; 4][..]), "{count}");
        }
    }

    #[test]
    fn computing_takes_no_memory_beyond_the_first() {
        let mut window = window(&[1.0; 16], 1.0);
        window.features();
        let before = window.scratch.each_ref().map(Vec::capacity);
        window.features();
        assert_eq!(before, window.scratch.each_ref().map(Vec::capacity));
        assert!(before.iter().all(|capacity| *capacity == 20), "{before:?}");
    }

    #[test]
    fn features_equal_those_of_scipy() {
        #[derive(serde::Deserialize)]
        struct Golden {
            name: String,
            times_ns: Vec<i64>,
            values: Vec<f64>,
            features: Vec<f64>,
        }
        let golden = include_str!("features.golden.json");
        let golden = serde_json::from_str::<Vec<Golden>>(golden).unwrap();
        assert!(golden.len() >= 10);
        for Golden { name, times_ns, values, features } in golden {
            let mut window = Window::new(values.len());
            // Earlier samples, which the ring must have forgotten.
            (0..5).for_each(|index| window.push(Tai(index), 1e9));
            for (time, value) in times_ns.iter().zip(&values) {
                window.push(Tai(*time), *value);
            }
            let found = window.features();
            for ((feature, found), wanted) in NAMES.iter().zip(found).zip(features) {
                // These three are sums that cancel; the others are sums of squares, or counts.
                let cancels = matches!(*feature, "mean" | "skew" | "kurtosis");
                let near = (found - wanted).abs() <= 1e-8 * wanted.abs()
                    || cancels && (found - wanted).abs() < 1e-10;
                assert!(near, "{name}: {feature} is {found}, scipy says {wanted}");
            }
        }
    }
}
