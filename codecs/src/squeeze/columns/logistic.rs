//! Tables of the mixing coder, all computed by the compiler.
//!
//! A place on the logistic scale is ln(p / (1 - p)): there, predictions add up.

// An index out of bounds here doesn't compile.
#![allow(clippy::indexing_slicing)]

/// Steps of the logistic scale to one natural logarithm.
const LOGIT_ONE: i32 = 256;
/// Either end of the logistic scale.
pub(super) const LOGIT_MAX: i32 = 2047;

/// Chance of a 1, in 65,536, for each place on the logistic scale from -2048.
pub(super) static CHANCES: [u16; 4096] = {
    let mut chances = [0; 4096];
    let mut place = 0;
    while place < 4096 {
        let logit = (place as f64 - 2048.0) / LOGIT_ONE as f64;
        let chance = 65_536.0 / (1.0 + exponential(-logit));
        chances[place] = if chance < 16.0 { 16 } else { chance as u16 };
        place += 1;
    }
    chances
};

/// Place on the logistic scale of each chance in 4,096: the inverse of [`CHANCES`].
pub(super) static LOGITS: [i16; 4096] = {
    let mut logits = [0; 4096];
    let mut place = 0;
    let mut chance = 0;
    while chance < 4096 {
        while place < 4095 && (CHANCES[place] as usize) < chance * 16 + 8 {
            place += 1;
        }
        logits[chance] = place as i16 - 2048;
        chance += 1;
    }
    logits
};

/// e^x by its series; computed by the compiler, whose floats are alike everywhere.
const fn exponential(x: f64) -> f64 {
    let small = x / 16.0;
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1);
    while n < 16 {
        term = term * small / n as f64;
        sum += term;
        n += 1;
    }
    let (mut power, mut doubled) = (sum, 0);
    while doubled < 4 {
        power *= power;
        doubled += 1;
    }
    power
}

/// Bits after which a slot learns no slower.
pub(super) const SEEN_MAX: u16 = 30;

/// How far a slot moves to the bit that came, of 65,536, by the bits seen: about 1 / (seen + 1.6).
pub(super) const RATES: [u32; SEEN_MAX as usize + 1] = {
    let mut rates = [0; SEEN_MAX as usize + 1];
    let mut seen = 0;
    while seen < rates.len() {
        rates[seen] = 655_360 / (10 * seen as u32 + 16);
        seen += 1;
    }
    rates
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_rises_and_undoes_itself() {
        assert!(CHANCES.is_sorted() && LOGITS.is_sorted());
        assert_eq!(CHANCES[2048], 1 << 15);
        for chance in 8..4088usize {
            let back = usize::from(CHANCES[(LOGITS[chance] + 2048) as usize]) / 16;
            assert!(
                back.abs_diff(chance) <= 1 + chance.min(4096 - chance) / 128,
                "{chance} {back}"
            );
        }
    }
}
