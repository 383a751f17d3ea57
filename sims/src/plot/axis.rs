//! Scales and their ticks.

use codecs::time::Tai;

/// Seconds from an axis's zero that have a date: some thirty years.
const CLOCK_MAX_S: f64 = 1e9;

/// How values become lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten; what is not positive has no place.
    Log,
    /// Seconds after an instant, told in UTC.
    Clock(Tai),
}

/// One axis: what it measures, with its unit, and from where to where.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Its name with the unit.
    pub name: String,
    /// How values become lengths.
    pub scale: Scale,
    /// Least and greatest; none: what the data have.
    pub range: Option<(f64, f64)>,
    /// Whether zero is on the axis whatever the data are.
    pub zero: bool,
}

impl Axis {
    /// An even axis as long as the data.
    pub fn linear(name: &str) -> Self {
        Self { name: name.into(), scale: Scale::Linear, range: None, zero: false }
    }

    /// The same from one value to another.
    pub fn between(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }

    /// The same with zero on it: what is twice as much is twice as high.
    pub fn from_zero(self) -> Self {
        Self { zero: true, ..self }
    }

    /// An axis of powers of ten.
    pub fn log(name: &str) -> Self {
        Self { name: name.into(), scale: Scale::Log, range: None, zero: false }
    }

    /// An axis of time, in seconds after `zero`.
    pub fn clock(zero: Tai) -> Self {
        Self { name: "UTC".into(), scale: Scale::Clock(zero), range: None, zero: false }
    }

    /// Lays the axis over data: never empty, never endless.
    pub fn fit(&self, data: impl Iterator<Item = f64>) -> Fitted {
        let has_place = |value: &f64| match self.scale {
            Scale::Linear => value.is_finite(),
            Scale::Log => value.is_finite() && *value > 0.0,
            Scale::Clock(_) => value.abs() < CLOCK_MAX_S,
        };
        let (low, high) = self.range.unwrap_or_else(|| {
            data.filter(has_place)
                .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        });
        let (mut low, mut high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        if self.zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        match self.scale {
            Scale::Log => {
                low = 10f64.powf(low.max(1e-12).log10().floor());
                high = 10f64.powf(high.max(1e-12).log10().ceil());
                if high <= low {
                    high = low * 10.0;
                }
            }
            Scale::Linear if self.range.is_none() => {
                let step = step(high - low, 6.0);
                (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
                if high <= low {
                    high = low + 1.0;
                }
            }
            _ => {
                if high <= low {
                    high = low + 1.0;
                }
            }
        }
        Fitted { scale: self.scale, low, high }
    }
}

/// An axis over its data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Fitted {
    /// Where a value stands, 0 to 1 within the axis; none where it has no place.
    pub fn place(&self, value: f64) -> Option<f64> {
        let at = match self.scale {
            Scale::Log if value <= 0.0 => return None,
            Scale::Log => (value / self.low).log10() / (self.high / self.low).log10(),
            _ => (value - self.low) / (self.high - self.low),
        };
        at.is_finite().then_some(at)
    }

    /// Marks within the axis: where, 0 to 1, and what stands there.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let values: Vec<(f64, String)> = match self.scale {
            Scale::Linear => {
                let step = step(self.high - self.low, 6.0);
                counted(self.low, self.high, step)
                    .map(|value| (value, number(value, step)))
                    .collect()
            }
            Scale::Log => {
                let (low, high) =
                    (self.low.log10().round() as i32, self.high.log10().round() as i32);
                let every = usize::try_from((high - low) / 7).unwrap_or(0) + 1;
                let powers = (low..=high).step_by(every).map(|power| 10f64.powi(power));
                powers.map(|value| (value, short(value))).collect()
            }
            Scale::Clock(zero) => {
                let step = clock_step(self.high - self.low);
                // Marks stand on whole steps of the day, whenever the data begin.
                let phase = utc_second(zero).rem_euclid(step);
                counted(self.low + phase, self.high + phase, step)
                    .map(|value| value - phase)
                    .map(|value| (value, clock(zero, value, step)))
                    .collect()
            }
        };
        let placed =
            values.into_iter().filter_map(|(value, words)| Some((self.place(value)?, words)));
        placed.filter(|(at, _)| (-1e-9..=1.0 + 1e-9).contains(at)).collect()
    }
}

/// Multiples of a step from one value to another, at most some dozens.
fn counted(low: f64, high: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (low / step - 1e-9).ceil();
    let count = ((high / step + 1e-9).floor() - first).clamp(0.0, 100.0) as u32;
    (0..=count).map(move |index| (first + f64::from(index)) * step)
}

/// A step of 1, 2 or 5 times a power of ten that cuts a span into about so many parts.
fn step(span: f64, parts: f64) -> f64 {
    let rough = span / parts;
    if rough <= 0.0 || !rough.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

fn clock_step(span_s: f64) -> f64 {
    const STEPS: [f64; 16] = [
        1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0,
        21_600.0, 43_200.0, 86_400.0, 172_800.0,
    ];
    let rough = span_s / 8.0;
    STEPS.into_iter().find(|step| *step >= rough).unwrap_or((rough / 86_400.0).ceil() * 86_400.0)
}

/// Seconds of Unix time at an instant.
fn utc_second(at: Tai) -> f64 {
    at.to_unix_nanos() as f64 / 1e9
}

fn clock(zero: Tai, after_s: f64, step: f64) -> String {
    // A mark of a millionth before the minute would be told as the minute before.
    let words = zero.plus((after_s * 1e9).round() as i64 + 1_000).to_rfc3339();
    let part = if step >= 86_400.0 {
        5..10
    } else if step >= 60.0 {
        11..16
    } else {
        11..19
    };
    words.get(part).unwrap_or_default().to_owned()
}

/// A number with as many digits as its step has.
fn number(value: f64, step: f64) -> String {
    if value.abs() >= 10_000.0 {
        return short(value);
    }
    let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let words = format!("{value:.digits$}");
    if words.starts_with('-') && words.trim_matches(['-', '0', '.']).is_empty() {
        return words[1..].to_owned();
    }
    words
}

/// A number with the prefix of its size.
pub fn short(value: f64) -> String {
    const PREFIXES: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    for (size, prefix) in PREFIXES {
        if value.abs() >= size {
            let scaled = format!("{:.2}", value / size);
            return format!("{}{prefix}", scaled.trim_end_matches('0').trim_end_matches('.'));
        }
    }
    if value != 0.0 && value.abs() < 0.001 {
        return format!("{value:.0e}");
    }
    let words = format!("{value:.3}");
    words.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(axis: &Axis, data: &[f64]) -> Vec<String> {
        axis.fit(data.iter().copied()).ticks().into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn marks_are_round_numbers_that_hold_all_data() {
        assert_eq!(words(&Axis::linear("dB"), &[0.3, 9.7]), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(words(&Axis::linear("dB"), &[-0.02, 0.021]).first().unwrap(), "-0.02");
        assert_eq!(words(&Axis::linear("bit/s"), &[0.0, 3e6]).last().unwrap(), "3M");
        assert_eq!(words(&Axis::log("s"), &[0.02, 30.0]), ["0.01", "0.1", "1", "10", "100"]);
    }

    #[test]
    fn marks_of_time_stand_on_whole_steps_of_the_day() {
        let zero: Tai = Tai::from_rfc3339("2026-11-27T03:07:10Z").unwrap();
        let marks = words(&Axis::clock(zero), &[0.0, 900.0]);
        assert_eq!(marks.first().unwrap(), "03:08");
        assert_eq!(marks.get(1).unwrap(), "03:10");
    }

    #[test]
    fn no_data_and_mad_data_give_an_axis_all_the_same() {
        for data in [&[][..], &[f64::NAN, f64::INFINITY], &[5.0], &[-1e300, 1e300]] {
            for axis in [Axis::linear(""), Axis::log(""), Axis::clock(Tai(0))] {
                let fitted = axis.fit(data.iter().copied());
                assert!(fitted.ticks().len() <= 120, "{axis:?} {data:?}");
                assert!(fitted.place(f64::NAN).is_none());
            }
        }
    }
}
