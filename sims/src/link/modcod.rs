//! Modulation and coding: what each needs, what each carries, and which one is next.
//!
//! ```text
//! Es/N0 ─► ladder (least noisy that fits, with margin) ─► adaptation (hysteresis, hold) ─► MODCOD
//! ```

use super::waterfall::Waterfall;

/// How many bits a symbol stands for before coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modulation {
    /// One bit.
    Bpsk,
    /// Two, offset or not.
    Qpsk,
    /// Three.
    Psk8,
    /// Four on two rings.
    Apsk16,
    /// Five on three rings.
    Apsk32,
}

impl Modulation {
    /// Bits a symbol.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Bpsk => 1,
            Self::Qpsk => 2,
            Self::Psk8 => 3,
            Self::Apsk16 => 4,
            Self::Apsk32 => 5,
        }
    }
}

/// A modulation with a code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modcod {
    /// As the standard calls it.
    pub name: &'static str,
    /// Bits a symbol carries for the user, without pilots (DVB-S2: EN 302 307-1 table 13).
    pub bits_per_symbol: f64,
    /// Energy of a symbol over noise that it needs, dB: Es/N0, not Eb/N0. DVB-S2: for one frame in
    /// ten million lost (same table, normal frames); CCSDS: one in ten thousand.
    pub es_n0_db: f64,
    /// What the code's bits become.
    pub modulation: Modulation,
    /// Bits of the user in one frame of the code: what is lost at once.
    pub frame_bits: f64,
    /// How losses grow below what it needs.
    pub waterfall: Waterfall,
}

/// Symbols of a slot, and of the pilots after each sixteen of them (EN 302 307-1 §5.5).
const SLOT: u32 = 90;
const PILOTS: u32 = 36;
/// Bits of a normal frame of DVB-S2.
const NORMAL_FRAME: u32 = 64_800;

impl Modcod {
    /// One of DVB-S2.
    const fn new(name: &'static str, bits_per_symbol: f64, es_n0_db: f64) -> Self {
        let modulation = match name.as_bytes() {
            [b'8', ..] => Modulation::Psk8,
            [b'1', ..] => Modulation::Apsk16,
            [b'3', ..] => Modulation::Apsk32,
            _ => Modulation::Qpsk,
        };
        let symbols = SLOT * (NORMAL_FRAME / modulation.bits() / SLOT + 1);
        Self {
            name,
            bits_per_symbol,
            es_n0_db,
            modulation,
            frame_bits: bits_per_symbol * symbols as f64,
            waterfall: Waterfall::QuasiErrorFree,
        }
    }

    /// What it needs as energy of a bit over noise, dB.
    pub fn eb_n0_db(&self) -> f64 {
        self.es_n0_db - 10.0 * self.bits_per_symbol.log10()
    }

    /// Share of frames lost at an Es/N0.
    pub fn frame_error(&self, es_n0_db: f64) -> f64 {
        match self.waterfall {
            Waterfall::QuasiErrorFree => Waterfall::below(es_n0_db - self.es_n0_db),
            waterfall => waterfall.frame_error(es_n0_db - 10.0 * self.bits_per_symbol.log10()),
        }
    }

    /// Bits a second for the user; pilots are DVB-S2's.
    pub fn rate_bps(&self, symbol_rate_baud: f64, pilots: bool) -> f64 {
        let share = if pilots { self.share_without_pilots() } else { 1.0 };
        symbol_rate_baud * self.bits_per_symbol * share
    }

    /// Share of symbols that are no pilots, where there are pilots.
    pub fn share_without_pilots(&self) -> f64 {
        if self.waterfall != Waterfall::QuasiErrorFree {
            return 1.0;
        }
        let slots = NORMAL_FRAME / self.modulation.bits() / SLOT;
        let frame = f64::from(SLOT * (slots + 1));
        frame / (frame + f64::from(PILOTS * ((slots - 1) / 16)))
    }
}

/// All of DVB-S2 for normal frames, in the standard's order.
#[rustfmt::skip]
pub const DVB_S2: [Modcod; 28] = [
    Modcod::new("QPSK 1/4", 0.490_243, -2.35),
    Modcod::new("QPSK 1/3", 0.656_448, -1.24),
    Modcod::new("QPSK 2/5", 0.789_412, -0.30),
    Modcod::new("QPSK 1/2", 0.988_858, 1.00),
    Modcod::new("QPSK 3/5", 1.188_304, 2.23),
    Modcod::new("QPSK 2/3", 1.322_253, 3.10),
    Modcod::new("QPSK 3/4", 1.487_473, 4.03),
    Modcod::new("QPSK 4/5", 1.587_196, 4.68),
    Modcod::new("QPSK 5/6", 1.654_663, 5.18),
    Modcod::new("QPSK 8/9", 1.766_451, 6.20),
    Modcod::new("QPSK 9/10", 1.788_612, 6.42),
    Modcod::new("8PSK 3/5", 1.779_991, 5.50),
    Modcod::new("8PSK 2/3", 1.980_636, 6.62),
    Modcod::new("8PSK 3/4", 2.228_124, 7.91),
    Modcod::new("8PSK 5/6", 2.478_562, 9.35),
    Modcod::new("8PSK 8/9", 2.646_012, 10.69),
    Modcod::new("8PSK 9/10", 2.679_207, 10.98),
    Modcod::new("16APSK 2/3", 2.637_201, 8.97),
    Modcod::new("16APSK 3/4", 2.966_728, 10.21),
    Modcod::new("16APSK 4/5", 3.165_623, 11.03),
    Modcod::new("16APSK 5/6", 3.300_184, 11.61),
    Modcod::new("16APSK 8/9", 3.523_143, 12.89),
    Modcod::new("16APSK 9/10", 3.567_342, 13.13),
    Modcod::new("32APSK 3/4", 3.703_295, 12.73),
    Modcod::new("32APSK 4/5", 3.951_571, 13.64),
    Modcod::new("32APSK 5/6", 4.119_540, 14.28),
    Modcod::new("32APSK 8/9", 4.397_854, 15.69),
    Modcod::new("32APSK 9/10", 4.453_027, 16.05),
];

/// Modcods of which each carries more than the one before and needs more: what needs more and
/// carries less than another is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder(Vec<Modcod>);

impl Ladder {
    /// Orders some modcods; none where the list is empty.
    pub fn new(of: &[Modcod]) -> Option<Self> {
        let mut steps = of.to_vec();
        steps.sort_by(|a, b| {
            a.es_n0_db.total_cmp(&b.es_n0_db).then(b.bits_per_symbol.total_cmp(&a.bits_per_symbol))
        });
        let mut most = f64::NEG_INFINITY;
        steps.retain(|step| {
            let more = step.bits_per_symbol > most;
            most = most.max(step.bits_per_symbol);
            more
        });
        (!steps.is_empty()).then_some(Self(steps))
    }

    /// Its steps, from the sturdiest.
    pub fn steps(&self) -> &[Modcod] {
        &self.0
    }

    /// The highest step that an Es/N0 allows; none where not even the sturdiest is decoded.
    pub fn highest(&self, es_n0_db: f64) -> Option<usize> {
        self.0.partition_point(|step| step.es_n0_db <= es_n0_db).checked_sub(1)
    }
}

/// How a link goes from one modcod to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margins {
    /// Kept between what is measured and what a modcod needs, dB.
    pub margin_db: f64,
    /// Above it, before a higher one is taken, dB.
    pub hysteresis_db: f64,
    /// For how long that must hold before a higher one is taken, ns. Lower ones are taken at once.
    pub hold_ns: i64,
}

/// A sender that adapts to what the receiver says (ACM). Time comes as an argument and does not
/// run back.
#[derive(Clone, Debug)]
pub struct Adaptation {
    ladder: Ladder,
    margins: Margins,
    at: usize,
    /// Since when a higher step has been allowed.
    better_ns: Option<i64>,
    changes: u64,
}

impl Adaptation {
    /// Starts with the sturdiest.
    pub fn new(ladder: Ladder, margins: Margins) -> Self {
        Self { ladder, margins, at: 0, better_ns: None, changes: 0 }
    }

    /// The modcod in use.
    pub fn modcod(&self) -> Modcod {
        self.ladder.0[self.at.min(self.ladder.0.len() - 1)]
    }

    /// How often it changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes a report of the Es/N0 at the receiver, and gives what is to be used from now on.
    pub fn report(&mut self, es_n0_db: f64, now_ns: i64) -> Modcod {
        let Margins { margin_db, hysteresis_db, hold_ns } = self.margins;
        let allowed = self.ladder.highest(es_n0_db - margin_db).unwrap_or(0);
        let wanted = self.ladder.highest(es_n0_db - margin_db - hysteresis_db).unwrap_or(0);
        if allowed < self.at {
            self.go(allowed);
        } else if wanted > self.at {
            let since = *self.better_ns.get_or_insert(now_ns);
            if now_ns - since >= hold_ns {
                self.go(wanted);
            }
        } else {
            self.better_ns = None;
        }
        self.modcod()
    }

    fn go(&mut self, to: usize) {
        self.at = to;
        self.better_ns = None;
        self.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MARGINS: Margins = Margins { margin_db: 1.0, hysteresis_db: 0.5, hold_ns: 1_000 };

    fn ladder() -> Ladder {
        Ladder::new(&DVB_S2).unwrap()
    }

    #[test]
    fn a_ladder_leaves_out_what_another_beats() {
        let ladder = ladder();
        // 8PSK 3/5 needs less than QPSK 8/9 and 9/10, and carries more than the one.
        assert!(ladder.steps().iter().all(|step| step.name != "QPSK 8/9"));
        assert!(ladder.steps().iter().all(|step| step.name != "8PSK 8/9"));
        for two in ladder.steps().windows(2) {
            assert!(two[0].es_n0_db < two[1].es_n0_db);
            assert!(two[0].bits_per_symbol < two[1].bits_per_symbol);
        }
        assert_eq!(ladder.highest(-3.0), None);
        assert_eq!(ladder.highest(50.0), Some(ladder.steps().len() - 1));
        assert!(Ladder::new(&[]).is_none());
    }

    #[test]
    fn pilots_cost_what_the_frames_say() {
        // EN 302 307-1: QPSK has 360 slots and 22 groups of pilots, 32APSK 144 and 8.
        let share = 32_490.0 / (32_490.0 + 22.0 * 36.0);
        assert!((DVB_S2[3].share_without_pilots() - share).abs() < 1e-12);
        let share = 13_050.0 / (13_050.0 + 8.0 * 36.0);
        assert!((DVB_S2[27].share_without_pilots() - share).abs() < 1e-12);
        let (with, without) = (DVB_S2[3].rate_bps(1e6, true), DVB_S2[3].rate_bps(1e6, false));
        assert!((with / without - 0.976_2).abs() < 1e-3);
        // A baseband frame of QPSK 1/2: 32,208 bits less 80 of its header.
        assert!((DVB_S2[3].frame_bits - 32_128.0).abs() < 1.0, "{}", DVB_S2[3].frame_bits);
    }

    #[test]
    fn energy_of_a_bit_is_not_that_of_a_symbol() {
        // QPSK 1/2: 1.00 dB a symbol, about 1.05 dB a bit; 32APSK 9/10: 16.05 and 9.57.
        assert!((DVB_S2[3].eb_n0_db() - 1.05).abs() < 0.01);
        assert!((DVB_S2[27].eb_n0_db() - 9.56).abs() < 0.01);
    }

    #[test]
    fn a_fade_is_answered_at_once_and_a_recovery_after_a_while() {
        let mut link = Adaptation::new(ladder(), MARGINS);
        assert_eq!(link.modcod().name, "QPSK 1/4");
        link.report(12.0, 0);
        assert_eq!(link.report(12.0, 999).name, "QPSK 1/4");
        assert_eq!(link.report(12.0, 1_000).name, "16APSK 3/4");
        assert_eq!(link.report(5.0, 1_001).name, "QPSK 2/3");
        // Half a decibel is not worth a change, however long it lasts.
        let edge = DVB_S2[6].es_n0_db + 1.0 + 0.4;
        for at in 2..12 {
            link.report(edge, 1_000 * at);
        }
        assert_eq!((link.modcod().name, link.changes()), ("QPSK 2/3", 2));
    }

    proptest! {
        /// Whatever the air does, nothing is used that the last report does not allow.
        #[test]
        fn what_is_used_can_be_decoded(reports in prop::collection::vec(-5.0f64..20.0, 1..200)) {
            let mut link = Adaptation::new(ladder(), MARGINS);
            for (at, es_n0_db) in reports.into_iter().enumerate() {
                let used = link.report(es_n0_db, 400 * at as i64);
                prop_assert!(used == ladder().steps()[0] || used.es_n0_db + 1.0 <= es_n0_db);
            }
        }
    }
}
