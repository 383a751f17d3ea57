//! Seeded random numbers: small, portable, the same on every machine and in every version.

/// The xoshiro256++ generator (Blackman and Vigna), seeded by SplitMix64.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
    spare: Option<f64>,
}

/// Mixes a counter into 64 even bits: seeds, and names for places and times.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// A generator for one purpose: equal seeds and purposes give equal streams.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut key = mix(seed);
        for byte in purpose.bytes() {
            key = mix(key ^ u64::from(byte));
        }
        let state = [0, 1, 2, 3].map(|index| mix(key.wrapping_add(index)));
        Self { state, spare: None }
    }

    /// 64 even bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform, 0 to just under 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform between two numbers.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with a probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Normal, mean 0 and standard deviation 1 (Box and Muller, both halves used).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (self.unit() * std::f64::consts::TAU).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_and_apart() {
        let mut first = Random::new(7, "gyro");
        let mut again = Random::new(7, "gyro");
        let mut other = Random::new(7, "loss");
        let row: Vec<u64> = (0..4).map(|_| first.bits()).collect();
        assert_eq!(row, (0..4).map(|_| again.bits()).collect::<Vec<_>>());
        assert_ne!(row, (0..4).map(|_| other.bits()).collect::<Vec<_>>());
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let mut random = Random::new(1, "moments");
        let draws: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let square = draws.iter().map(|draw| draw * draw).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.04, "{mean} {square}");
    }
}
