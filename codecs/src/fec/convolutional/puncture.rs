//! Puncturing: which of the two symbols of each bit are sent.

/// The rates of CCSDS 131.0-B-6 §3.3 and §3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rate {
    /// 1/2: every symbol is sent.
    Half,
    /// 2/3.
    TwoThirds,
    /// 3/4.
    ThreeQuarters,
    /// 5/6.
    FiveSixths,
    /// 7/8.
    SevenEighths,
}

impl Rate {
    /// All rates, the strongest code first.
    pub const ALL: [Self; 5] =
        [Self::Half, Self::TwoThirds, Self::ThreeQuarters, Self::FiveSixths, Self::SevenEighths];

    /// The puncturing pattern, one (C1 sent, C2 sent) a bit (131.0-B-6 §3.4, table of patterns).
    pub const fn pattern(self) -> &'static [(bool, bool)] {
        const BOTH: (bool, bool) = (true, true);
        const C1: (bool, bool) = (true, false);
        const C2: (bool, bool) = (false, true);
        match self {
            Self::Half => &[BOTH],
            Self::TwoThirds => &[BOTH, C2],
            Self::ThreeQuarters => &[BOTH, C2, C1],
            Self::FiveSixths => &[BOTH, C2, C1, C2, C1],
            Self::SevenEighths => &[BOTH, C2, C2, C2, C1, C2, C1],
        }
    }

    /// Bits a pattern.
    pub const fn bits(self) -> usize {
        self.pattern().len()
    }

    /// Symbols sent a pattern: one more than its bits, for each of these codes.
    pub const fn symbols(self) -> usize {
        self.bits() + 1
    }

    /// Bits that a traceback runs before its bits are trusted: long enough that survivors of any
    /// state have merged. Five constraint lengths suffice for rate 1/2 from the best state; a
    /// start from any state and the thinner codes need more.
    pub const fn traceback(self) -> usize {
        match self {
            Self::Half | Self::TwoThirds => 96,
            Self::ThreeQuarters => 128,
            Self::FiveSixths => 160,
            Self::SevenEighths => 192,
        }
    }
}
