//! What a station remembers of its ledgers outside the archive's folder, so that a folder that was
//! emptied, or a disk that is not mounted, is told from a station that begins.
//!
//! A text file beside the station file: one line a ledger, its id in hex and when it began in
//! nanoseconds TAI, the newest last. Lines that can't be read are passed over: the file protects
//! from a mistake, and must not itself keep a station from its pass.

use codecs::time::Tai;
use std::fmt::Write as _;

/// Ledgers remembered; older ones are forgotten.
const LEDGERS_MAX: usize = 64;

/// The ledgers of a station, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    ledgers: Vec<(u64, Tai)>,
}

/// What an archive is to its station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Neither of them knows a ledger: the station begins.
    First,
    /// The ledger that was kept here last.
    Same,
    /// Nothing is here, and this ledger was kept here.
    Emptied(u64),
    /// Another ledger than this one, which was kept here last.
    Other(u64),
}

impl Witness {
    /// Reads the file's text.
    pub fn from_text(text: &str) -> Self {
        let line = |line: &str| {
            let (id, begun) = line.split_once(' ')?;
            Some((u64::from_str_radix(id, 16).ok()?, Tai(begun.trim().parse().ok()?)))
        };
        Self { ledgers: text.lines().filter_map(line).collect() }
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (id, begun) in &self.ledgers {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{id:016x} {}", begun.0);
        }
        text
    }

    /// The ledger that was kept last.
    pub fn last(&self) -> Option<u64> {
        self.ledgers.last().map(|(id, _)| *id)
    }

    /// Ledgers that were kept before `ledger`: what they receipted was this station's word.
    pub fn before(&self, ledger: u64) -> impl Iterator<Item = u64> {
        self.ledgers.iter().map(|(id, _)| *id).filter(move |id| *id != ledger)
    }

    /// Judges what the folder holds: its ledger, if it has one.
    pub fn judge(&self, found: Option<u64>) -> Finding {
        match (self.last(), found) {
            (None, _) => Finding::First,
            (Some(last), Some(found)) if last == found => Finding::Same,
            (Some(last), Some(_)) => Finding::Other(last),
            (Some(last), None) => Finding::Emptied(last),
        }
    }

    /// Notes the ledger that is kept from now on; whether that is news.
    pub fn note(&mut self, ledger: u64, begun: Tai) -> bool {
        let news = self.last() != Some(ledger);
        if news {
            self.ledgers.retain(|(id, _)| *id != ledger);
            self.ledgers.push((ledger, begun));
            let surplus = self.ledgers.len().saturating_sub(LEDGERS_MAX);
            self.ledgers.drain(..surplus);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_folder_is_told_from_a_fresh_one() {
        let mut witness = Witness::default();
        assert_eq!(witness.judge(None), Finding::First);
        assert!(witness.note(0xAB, Tai(5)));
        assert!(!witness.note(0xAB, Tai(6)));
        assert_eq!(witness.judge(None), Finding::Emptied(0xAB));
        assert_eq!(witness.judge(Some(0xAB)), Finding::Same);
        assert_eq!(witness.judge(Some(0xCD)), Finding::Other(0xAB));
        witness.note(0xCD, Tai(7));
        assert_eq!(witness.before(0xCD).collect::<Vec<_>>(), [0xAB]);
    }

    #[test]
    fn its_text_comes_back_and_a_damaged_line_costs_only_itself() {
        let mut witness = Witness::default();
        (0..LEDGERS_MAX as u64 + 3).for_each(|id| assert!(witness.note(id, Tai(id as i64))));
        assert_eq!(Witness::from_text(&witness.text()), witness);
        assert_eq!(witness.text().lines().count(), LEDGERS_MAX);
        let damaged = witness.text().replace("0000000000000007", "not a number");
        assert_eq!(Witness::from_text(&damaged).last(), witness.last());
        assert_eq!(Witness::from_text("\n\u{0}garbage 1 2\n").last(), None);
    }
}
