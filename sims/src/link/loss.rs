//! Losses in bursts: the two-state chain of Gilbert and Elliott, everything lost in the bad state.

use crate::rng::Random;

/// How much is lost, and in what portions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossSettings {
    /// Mean share of packets lost, 0 to 1.
    pub mean: f64,
    /// Mean packets lost in a row, at least 1.
    pub burst_packets: f64,
}

impl LossSettings {
    /// Nothing is lost.
    pub const NONE: Self = Self { mean: 0.0, burst_packets: 1.0 };
}

/// The chain itself.
#[derive(Clone, Debug)]
pub struct GilbertElliott {
    settings: LossSettings,
    bad: bool,
    random: Random,
}

impl GilbertElliott {
    /// A chain in its good state.
    pub fn new(settings: LossSettings, seed: u64) -> Self {
        Self { settings, bad: false, random: Random::new(seed, "loss") }
    }

    /// Moves on by one packet: whether it is lost.
    pub fn loses(&mut self) -> bool {
        let LossSettings { mean, burst_packets } = self.settings;
        let mean = mean.clamp(0.0, 1.0);
        // Time spent bad is the mean loss, and a stay there is a burst long.
        let leave = 1.0 / burst_packets.max(1.0);
        let enter = if mean < 1.0 { (leave * mean / (1.0 - mean)).min(1.0) } else { 1.0 };
        let stay = if mean < 1.0 { 1.0 - leave } else { 1.0 };
        self.bad = self.random.chance(if self.bad { stay } else { enter });
        self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_burst_length_come_out_as_asked() {
        for (mean, burst_packets) in [(0.01, 1.0), (0.01, 10.0), (0.1, 5.0), (0.4, 2.0)] {
            let mut chain = GilbertElliott::new(LossSettings { mean, burst_packets }, 11);
            let fates: Vec<bool> = (0..400_000).map(|_| chain.loses()).collect();
            let lost = fates.iter().filter(|lost| **lost).count() as f64;
            let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            let (share, length) = (lost / 400_000.0, lost / bursts);
            assert!((share / mean - 1.0).abs() < 0.1, "{mean} asked, {share} lost");
            // Losses one apart still join now and then, also at a burst length of one.
            let expected = if burst_packets > 1.0 { burst_packets } else { 1.0 / (1.0 - mean) };
            assert!((length / expected - 1.0).abs() < 0.1, "{expected} asked, {length} long");
        }
    }

    #[test]
    fn the_ends_are_certain() {
        let mut never = GilbertElliott::new(LossSettings::NONE, 1);
        let mut always = GilbertElliott::new(LossSettings { mean: 1.0, burst_packets: 3.0 }, 1);
        assert!((0..1000).all(|_| !never.loses() && always.loses()));
    }
}
