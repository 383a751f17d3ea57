//! When what a recording holds was heard, where an operator says it.
//!
//! Nothing in a file tells when its bits came. The operator knows when they began, or that the file
//! was closed as the last one came, and how fast they came: each unit then has the time of its last
//! bit.

use codecs::{frame::cadu::Symbols, link::object::TimeSource, time::Tai};
use std::fmt;

/// Fewest bytes between two times: what a decoder is handed at once.
const PIECE_BYTES_MIN: u64 = 16;
/// Most of them.
const PIECE_BYTES_MAX: u64 = 64 << 10;
/// How close a unit's time is to that of its last bit, where [`PIECE_BYTES_MIN`] lets it.
const PIECES_A_SECOND: u64 = 1_000;
/// Highest rate, bit/s: what no recording on a disk exceeds.
const RATE_MAX: f64 = 1e12;

/// When a unit was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Earth receive time.
    pub received: Tai,
    /// What that rests on.
    pub source: TimeSource,
}

/// When the first bit came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Then.
    At(Tai),
    /// As long before the file was last written as all of it took.
    File,
}

/// When the bits of a recording came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When the first one did.
    pub begun: Begun,
    /// How many of them in a second.
    rate_bps: u64,
    bits_a_byte: u64,
}

impl Recorded {
    /// Understands the keys `received` and `rate`; none where neither is given.
    ///
    /// # Errors
    /// What is wrong, in a sentence that begins with the key.
    pub fn new(
        received: Option<&str>,
        rate: Option<&str>,
        symbols: Symbols,
    ) -> Result<Option<Self>, String> {
        let (received, rate) = match (received, rate) {
            (None, None) => return Ok(None),
            (Some(received), Some(rate)) => (received, rate),
            (Some(_), None) => {
                return Err(
                    "rate: missing; the bit/s at which the recording came, such as \"2M\", \
                            to tell the times of its units apart"
                        .into(),
                );
            }
            (None, Some(_)) => {
                return Err("received: missing; when its first bit came, such as \
                            \"2026-11-20T10:00:00Z\", or \"file\" where the file was last written \
                            as the last one came"
                    .into());
            }
        };
        let begun = match received {
            "file" => Begun::File,
            time => Begun::At(Tai::from_rfc3339(time).ok_or_else(|| {
                format!("received = {time:?}: a time such as \"2026-11-20T10:00:00Z\", or \"file\"")
            })?),
        };
        let bits_a_byte = match symbols {
            Symbols::Packed => 8,
            Symbols::Bits | Symbols::Soft => 1,
        };
        let rate_bps = rate_bps(rate).ok_or_else(|| {
            format!("rate = {rate:?}: bit/s, such as \"9600\", \"512k\", \"2.5M\" or \"1G\"")
        })?;
        Ok(Some(Self { begun, rate_bps, bits_a_byte }))
    }

    /// Bit/s.
    pub const fn rate_bps(&self) -> u64 {
        self.rate_bps
    }

    /// Bytes that may have one time: a millisecond of them, or a few.
    pub fn piece_bytes(&self) -> usize {
        let bytes = self.rate_bps / self.bits_a_byte / PIECES_A_SECOND;
        bytes.clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX) as usize
    }

    /// When the first bit of a file came that has so many bytes and was last written then.
    pub fn begin(&self, bytes: u64, written: Tai) -> Tai {
        match self.begun {
            Begun::At(begun) => begun,
            Begun::File => written.plus(self.lasts_ns(bytes).saturating_neg()),
        }
    }

    /// When the last of so many bytes came.
    pub fn after(&self, begun: Tai, bytes: u64) -> Stamp {
        Stamp { received: begun.plus(self.lasts_ns(bytes)), source: TimeSource::Stated }
    }

    fn lasts_ns(&self, bytes: u64) -> i64 {
        let bits = u128::from(bytes) * u128::from(self.bits_a_byte);
        let nanos = bits * 1_000_000_000 / u128::from(self.rate_bps);
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.begun {
            Begun::At(begun) => write!(f, "heard from {} on", begun.to_rfc3339())?,
            Begun::File => f.write_str("heard until the file was last written")?,
        }
        write!(f, " at {} bit/s", self.rate_bps)
    }
}

fn rate_bps(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix(['k', 'M', 'G']) {
        Some(number) if text.ends_with('k') => (number, 1e3),
        Some(number) if text.ends_with('M') => (number, 1e6),
        Some(number) => (number, 1e9),
        None => (text, 1.0),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let rate = number.parse::<f64>().ok().filter(|_| digits)? * unit;
    (1.0..=RATE_MAX).contains(&rate).then_some(rate.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: &str = "2026-11-20T10:00:00.000Z";

    fn recorded(received: &str, rate: &str, symbols: Symbols) -> Result<Recorded, String> {
        Recorded::new(Some(received), Some(rate), symbols).map(Option::unwrap)
    }

    #[test]
    fn a_unit_has_the_time_of_its_last_bit() {
        let packed = recorded(BEGUN, "2M", Symbols::Packed).unwrap();
        let begun = packed.begin(99, Tai(0));
        assert_eq!(begun.to_rfc3339(), BEGUN);
        assert_eq!(packed.after(begun, 250_000).received.to_rfc3339(), "2026-11-20T10:00:01.000Z");
        let soft = recorded(BEGUN, "2M", Symbols::Soft).unwrap();
        assert_eq!(soft.after(begun, 2_000_000), packed.after(begun, 250_000));
        // A file that was closed as its last bit came begins as long before.
        let file = recorded("file", "9600", Symbols::Packed).unwrap();
        let written = Tai::from_rfc3339("2026-11-20T10:01:00Z").unwrap();
        let begun = file.begin(72_000, written);
        assert_eq!(begun.to_rfc3339(), BEGUN);
        assert_eq!(file.after(begun, 72_000).received, written);
        // No length and no rate goes over the edge of time.
        let slow = recorded(BEGUN, "1", Symbols::Packed).unwrap();
        assert!(slow.after(slow.begin(u64::MAX, written), u64::MAX).received > begun);
    }

    #[test]
    fn a_piece_is_a_millisecond_within_bounds() {
        let piece = |rate| recorded(BEGUN, rate, Symbols::Packed).unwrap().piece_bytes();
        assert_eq!(
            [piece("9600"), piece("2M"), piece("1G"), piece("900G")],
            [16, 250, 65536, 65536]
        );
    }

    #[test]
    fn rates_are_read_as_they_are_written() {
        let read = ["9600", "512k", "2M", "2.5M", "1G"].map(rate_bps);
        assert_eq!(read, [9_600, 512_000, 2_000_000, 2_500_000, 1_000_000_000].map(Some));
        for wrong in ["", "M", "0", "-2M", "2 M", "2m", "1e9", "inf", "nan", "2MM", "99999G"] {
            assert_eq!(rate_bps(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn mistakes_name_the_key() {
        let wrong = |received, rate| Recorded::new(received, rate, Symbols::Packed).unwrap_err();
        assert!(wrong(Some("file"), None).starts_with("rate: missing"));
        assert!(wrong(None, Some("2M")).starts_with("received: missing"));
        assert!(wrong(Some("yesterday"), Some("2M")).starts_with("received = \"yesterday\""));
        assert!(wrong(Some("file"), Some("fast")).starts_with("rate = \"fast\""));
    }
}
