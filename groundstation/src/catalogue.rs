//! What happened beside the units: links as they were seen, segments as they were stored and let
//! go. A log of JSON lines, `catalogue.jsonl` in the archive's folder.
//!
//! ```text
//! 8 hex digits CRC-32C of the JSON ─ space ─ JSON ─ newline
//! ```
//!
//! A few lines an hour, written by one thread and read by people and scripts as they are: an engine
//! would cost a dependency and give nothing. A line that does not hold is passed over and counted.
//! Nothing that custody rests on is kept here alone: a segment whose line is gone is verified
//! again. Links are observations, and lost with their lines.

use codecs::fec::crc::crc32c;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// File name in the archive's folder.
pub const FILE: &str = "catalogue.jsonl";
/// Links in memory; of more, the newest.
pub const LINKS_MAX: usize = 100_000;

/// One line. Times are nanoseconds TAI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A session that may deliver for a spacecraft was welcomed.
    Opened(Opened),
    /// It ended.
    Closed(Closed),
    /// A segment was verified in the object store.
    Stored {
        /// Which.
        segment: u64,
        /// Its length there.
        bytes: u64,
    },
}

/// The beginning of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Number of the session, drawn by its peer.
    pub session: u64,
    /// The mission's number of the spacecraft.
    pub spacecraft: u16,
    /// Who delivers, as the table names it: the spacecraft itself, or the edge at an antenna.
    pub principal: String,
    /// Address that it came from.
    pub peer: String,
    /// When.
    pub at: i64,
}

/// The end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Number of the session.
    pub session: u64,
    /// The mission's number of the spacecraft.
    pub spacecraft: u16,
    /// When.
    pub at: i64,
    /// Units receipted in it, duplicates included.
    pub units: u64,
    /// Bytes of UDP received on the connection, all spacecraft of the principal together.
    pub bytes: u64,
    /// Why, in words.
    pub reason: String,
}

/// A link as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// How it began.
    #[serde(flatten)]
    pub opened: Opened,
    /// How it ended; `None` while it lasts, and where the station was killed in it.
    pub closed: Option<Closed>,
}

/// Everything that the log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// Links in the order in which they began.
    pub links: Vec<Link>,
    /// Segments verified in the object store, with their length there.
    pub stored: BTreeMap<u64, u64>,
    /// Lines that do not hold.
    pub damaged: u64,
}

impl Entry {
    /// The line, with its newline.
    pub fn line(&self) -> String {
        // Numbers and texts only: this does not fail.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{:08x} {json}\n", crc32c(json.as_bytes()))
    }

    fn from_line(line: &str) -> Option<Self> {
        let (crc, json) = line.split_once(' ')?;
        let crc = u32::from_str_radix(crc, 16).ok()?;
        (crc == crc32c(json.as_bytes())).then(|| serde_json::from_str(json).ok())?
    }
}

impl Catalogue {
    /// Reads a log. Bytes that are no text cost their line.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut catalogue = Self::default();
        let mut open = BTreeMap::new();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry = std::str::from_utf8(line).ok().and_then(Entry::from_line);
            match entry {
                Some(Entry::Opened(opened)) => {
                    let key = (opened.session, opened.spacecraft);
                    open.insert(key, catalogue.links.len());
                    catalogue.links.push(Link { opened, closed: None });
                }
                Some(Entry::Closed(closed)) => {
                    let at = open.remove(&(closed.session, closed.spacecraft));
                    if let Some(link) = at.and_then(|at| catalogue.links.get_mut(at)) {
                        link.closed = Some(closed);
                    }
                }
                Some(Entry::Stored { segment, bytes }) => {
                    catalogue.stored.insert(segment, bytes);
                }
                None => catalogue.damaged += 1,
            }
        }
        let surplus = catalogue.links.len().saturating_sub(LINKS_MAX);
        catalogue.links.drain(..surplus);
        catalogue
    }

    /// The log that says the same in the fewest lines; `segments` are those still on disk, and
    /// stored lines of others say nothing any more.
    pub fn compact(&self, segments: &BTreeSet<u64>) -> String {
        let mut text = String::new();
        for link in &self.links {
            text.push_str(&Entry::Opened(link.opened.clone()).line());
            if let Some(closed) = &link.closed {
                text.push_str(&Entry::Closed(closed.clone()).line());
            }
        }
        for (segment, bytes) in self.stored.iter().filter(|(number, _)| segments.contains(number)) {
            text.push_str(&Entry::Stored { segment: *segment, bytes: *bytes }.line());
        }
        text
    }

    /// Links with a spacecraft that touch a stretch of time, nanoseconds TAI.
    pub fn links(&self, spacecraft: u16, from: i64, to: i64) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| {
            let ended = link.closed.as_ref().map_or(i64::MAX, |closed| closed.at);
            link.opened.spacecraft == spacecraft && link.opened.at <= to && from <= ended
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(session: u64, at: i64) -> Opened {
        let (principal, peer) = ("SKY-7".into(), "[::1]:4000".into());
        Opened { session, spacecraft: 7, principal, peer, at }
    }

    fn closed(session: u64, at: i64) -> Closed {
        Closed { session, spacecraft: 7, at, units: 12, bytes: 900, reason: "set".into() }
    }

    fn log() -> String {
        let entries = [
            Entry::Opened(opened(1, 100)),
            Entry::Stored { segment: 0, bytes: 8_256 },
            Entry::Closed(closed(1, 200)),
            Entry::Opened(opened(2, 300)),
            Entry::Stored { segment: 1, bytes: 64 },
        ];
        entries.iter().map(Entry::line).collect()
    }

    #[test]
    fn links_are_found_by_time_also_those_that_a_kill_left_open() {
        let catalogue = Catalogue::from_bytes(log().as_bytes());
        let begun =
            |from, to| catalogue.links(7, from, to).map(|link| link.opened.at).collect::<Vec<_>>();
        assert_eq!(begun(0, 1_000), [100, 300]);
        assert_eq!(begun(150, 160), [100]);
        assert_eq!(begun(201, 299), [0; 0]);
        assert_eq!(begun(9_000, 9_001), [300]);
        assert_eq!(catalogue.links(8, 0, 1_000).count(), 0);
        assert_eq!(catalogue.links[0].closed, Some(closed(1, 200)));
        assert_eq!(catalogue.stored, [(0, 8_256), (1, 64)].into());
    }

    #[test]
    fn a_damaged_line_costs_only_itself() {
        let log = log();
        for at in 0..log.len() {
            let mut bytes = log.clone().into_bytes();
            bytes[at] ^= 0x04;
            let catalogue = Catalogue::from_bytes(&bytes);
            assert!((1..=2).contains(&catalogue.damaged), "byte {at}");
            assert!(catalogue.links.len() + catalogue.stored.len() >= 2);
            // Cut short by a crash.
            Catalogue::from_bytes(&log.as_bytes()[..at]);
        }
    }

    #[test]
    fn compacting_keeps_what_still_means_something() {
        let catalogue = Catalogue::from_bytes(log().as_bytes());
        let compact = Catalogue::from_bytes(catalogue.compact(&[1].into()).as_bytes());
        assert_eq!(compact.links, catalogue.links);
        assert_eq!(compact.stored, [(1, 64)].into());
    }
}
