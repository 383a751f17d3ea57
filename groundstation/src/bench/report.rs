//! Measurements into medians, medians into ratios, ratios into a table.

use serde::{Deserialize, Serialize};

/// What is measured, in the order in which each contains the one before.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The folder alone: 1 MiB blocks past the page cache, synced as often as the archive does.
    Disk,
    /// QUIC alone: streams read and dropped.
    Bare,
    /// The daemon without its archive: units checked, frames verified, packets taken out.
    Decoded,
    /// The daemon with its archive: receipted after the sync, then verified and taken apart.
    Durable,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Disk, Self::Bare, Self::Decoded, Self::Durable];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Bare => "bare",
            Self::Decoded => "decoded",
            Self::Durable => "durable",
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Bytes of frames (of blocks, for the disk).
    pub bytes: u64,
    /// Frames; 0 for the disk.
    pub frames: u64,
    /// From the first byte to the last answer.
    pub wall_s: f64,
    /// Processor time of the receiver, user and system.
    pub cpu_s: f64,
}

impl Sample {
    fn gbit_s(&self) -> f64 {
        self.bytes as f64 * 8e-9 / self.wall_s
    }

    fn cpu_s_per_gb(&self) -> f64 {
        self.cpu_s / (self.bytes as f64 * 1e-9)
    }
}

/// Medians of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Payload.
    pub gbit_s: f64,
    /// Frames; absent for the disk.
    pub frames_s: Option<f64>,
    /// Receiver, user and system.
    pub cpu_s_per_gb: f64,
    /// Its rate to that of `bare`, the median of the rounds' ratios.
    pub ratio_wall: f64,
    /// Processor time of `bare` to its own, likewise: 1 is as cheap, 0.5 is twice as dear.
    pub ratio_cpu: f64,
    /// Slowest and fastest round.
    pub gbit_s_range: [f64; 2],
}

/// All stages at one MTU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// UDP payload of the sender's packets, bytes.
    pub mtu: u16,
    /// Stages in order.
    pub stages: Vec<(Stage, Figures)>,
}

/// The middle one; of an even number the mean of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Figures of a stage; the rounds of `bare` ran beside its own, one by one.
pub fn figures(rounds: &[Sample], bare: &[Sample]) -> Figures {
    let ratio = |of: fn(&Sample, &Sample) -> f64| {
        median(rounds.iter().zip(bare).map(|(own, bare)| of(own, bare)))
    };
    let rates = rounds.iter().map(Sample::gbit_s);
    let has_frames = rounds.iter().any(|round| round.frames > 0);
    Figures {
        gbit_s: median(rates.clone()),
        frames_s: has_frames
            .then(|| median(rounds.iter().map(|round| round.frames as f64 / round.wall_s))),
        cpu_s_per_gb: median(rounds.iter().map(Sample::cpu_s_per_gb)),
        ratio_wall: ratio(|own, bare| own.gbit_s() / bare.gbit_s()),
        ratio_cpu: ratio(|own, bare| bare.cpu_s_per_gb() / own.cpu_s_per_gb()),
        gbit_s_range: [rates.clone().fold(f64::INFINITY, f64::min), rates.fold(0.0, f64::max)],
    }
}

/// For people.
pub fn table(runs: &[Run]) -> String {
    let mut out = format!(
        "{:>5}  {:<8} {:>7} {:>15} {:>10} {:>9} {:>6} {:>6}\n",
        "mtu", "stage", "Gbit/s", "slowest-fastest", "frames/s", "CPU-s/GB", "wall", "CPU"
    );
    for run in runs {
        for (stage, it) in &run.stages {
            let frames = it.frames_s.map_or("-".into(), |rate| format!("{rate:.0}"));
            let [low, high] = it.gbit_s_range;
            out.push_str(&format!(
                "{:>5}  {:<8} {:>7.2} {:>15} {frames:>10} {:>9.3} {:>6.2} {:>6.2}\n",
                run.mtu,
                stage.name(),
                it.gbit_s,
                format!("{low:.2}-{high:.2}"),
                it.cpu_s_per_gb,
                it.ratio_wall,
                it.ratio_cpu,
            ));
        }
    }
    out.push_str("wall and CPU are ratios to bare: 1 is as good, less is slower or dearer.");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(gigabytes: u64, wall_s: f64, cpu_s: f64) -> Sample {
        Sample { bytes: gigabytes * 1_000_000_000, frames: gigabytes * 1_000, wall_s, cpu_s }
    }

    #[test]
    fn ratios_are_of_rounds_that_ran_together() {
        // A machine that halves its speed after the first round: the ratio does not notice.
        let bare = [sample(1, 1.0, 0.8), sample(1, 2.0, 1.6), sample(1, 2.0, 1.6)];
        let own = [sample(1, 2.0, 1.6), sample(1, 4.0, 3.2), sample(1, 4.0, 3.2)];
        let figures = figures(&own, &bare);
        assert_eq!((figures.ratio_wall, figures.ratio_cpu), (0.5, 0.5));
        assert_eq!((figures.gbit_s, figures.gbit_s_range), (2.0, [2.0, 4.0]));
        assert_eq!((figures.frames_s, figures.cpu_s_per_gb), (Some(250.0), 3.2));
    }

    #[test]
    fn medians_of_even_and_odd() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
