//! The disk of the archive, as its writer and a look now and then find it.
//!
//! ```text
//! writes: taken, no room, refused ─┐
//! looks: room, folder gone ────────┴─► state, since when, what to do
//! ```

use super::history::unix_ms;
use codecs::time::Tai;
use serde::Serialize;
use std::fmt;

/// A disk that was full is so no more once no write failed for this long.
const CALM_NS: i64 = 30_000_000_000;

/// Why a write did not reach the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteTrouble {
    /// No room, or the quota is used up, in the system's words.
    Full(String),
    /// Anything else, in the system's words.
    Failed(String),
}

/// What a look at the archive's folder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is the folder that was opened.
    Here {
        /// Bytes that may still be written on its file system.
        free_bytes: u64,
    },
    /// It is not there, or another stands in its place.
    Gone(String),
}

/// How the disk does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskState {
    /// What came was written.
    #[default]
    Good,
    /// The next segments may find no room.
    NearlyFull,
    /// Units are refused for want of room.
    Full,
    /// Units are refused because writes fail.
    Failing,
    /// The folder is not the one that was opened.
    Gone,
}

impl DiskState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Good, Self::NearlyFull, Self::Full, Self::Failing, Self::Gone];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::NearlyFull => "nearly-full",
            Self::Full => "full",
            Self::Failing => "failing",
            Self::Gone => "gone",
        }
    }

    /// Whether units are taken.
    pub const fn takes_units(self) -> bool {
        matches!(self, Self::Good | Self::NearlyFull)
    }

    /// What to do about it; none where nothing is to be done.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Good => None,
            Self::NearlyFull => Some(
                "units are taken; make room where archive.dir is, or let segments go by \
                 [archive.retain]",
            ),
            Self::Full => Some(
                "units are refused and stay with their senders; make room where archive.dir is, \
                 or let segments go by [archive.retain]: it goes on by itself",
            ),
            Self::Failing => Some(
                "units are refused and stay with their senders; look at the kernel's log and \
                 whether archive.dir is mounted for writing: it goes on by itself",
            ),
            Self::Gone => Some(
                "archive.dir was removed, renamed or unmounted; stop the station, mount it or put \
                 it back, and start again",
            ),
        }
    }
}

impl fmt::Display for DiskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The disk of the archive.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiskView {
    /// How it does.
    pub state: DiskState,
    /// Since when; none before anything was looked at.
    pub since_ms: Option<i64>,
    /// Bytes that may still be written; none while no one can tell.
    pub free_bytes: Option<u64>,
    /// What the system says, where it says something.
    pub error: Option<String>,
    /// What to do.
    pub advice: Option<&'static str>,
}

/// No room, from the first write that found none.
#[derive(Clone, Debug)]
struct Full {
    error: String,
    /// Writes go again since then. One that goes says little: it may have been a small one.
    goes_since: Option<Tai>,
    /// A look found little room too. Without (a quota is seen by writes alone), a look that finds
    /// much says nothing.
    seen: bool,
}

/// The disk of the archive, as events tell of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    full: Option<Full>,
    /// In the system's words, until a write goes.
    failed: Option<String>,
    look: Option<Look>,
    /// Less room than this is nearly none.
    least_bytes: u64,
    state: DiskState,
    since: Option<Tai>,
}

impl Disk {
    /// A write reached the disk, or did not.
    pub(super) fn wrote(&mut self, trouble: Option<WriteTrouble>, at: Tai) {
        self.failed = None;
        match trouble {
            None => {
                if let Some(full) = &mut self.full {
                    // A clock that was set back must not keep it full.
                    let since = full.goes_since.map_or(at, |since| since.min(at));
                    full.goes_since = Some(since);
                }
            }
            Some(WriteTrouble::Full(error)) => {
                let seen = self.full.take().is_some_and(|full| full.seen) || self.is_nearly_full();
                self.full = Some(Full { error, goes_since: None, seen });
            }
            Some(WriteTrouble::Failed(error)) => {
                self.failed = Some(error);
                if let Some(full) = &mut self.full {
                    full.goes_since = None;
                }
            }
        }
        self.settle(at);
    }

    /// Someone looked.
    pub(super) fn looked(&mut self, look: Look, least_bytes: u64, at: Tai) {
        (self.look, self.least_bytes) = (Some(look), least_bytes);
        let little = self.is_nearly_full();
        if let Some(full) = &mut self.full {
            full.seen |= little;
        }
        self.settle(at);
    }

    fn free_bytes(&self) -> Option<u64> {
        match self.look {
            Some(Look::Here { free_bytes }) => Some(free_bytes),
            _ => None,
        }
    }

    fn is_nearly_full(&self) -> bool {
        self.free_bytes().is_some_and(|free| free < self.least_bytes)
    }

    /// Whether there is room again for more than the next few bytes.
    fn has_recovered(&self, full: &Full, at: Tai) -> bool {
        let enough = self.least_bytes.saturating_add(self.least_bytes / 2);
        let room = full.seen && self.free_bytes().is_some_and(|free| free >= enough);
        let calm = |since: Tai| at.0.saturating_sub(since.0) >= CALM_NS;
        full.goes_since.is_some_and(|since| room || calm(since))
    }

    fn settle(&mut self, at: Tai) {
        if self.full.as_ref().is_some_and(|full| self.has_recovered(full, at)) {
            self.full = None;
        }
        let state = match &self.look {
            Some(Look::Gone(_)) => DiskState::Gone,
            _ if self.failed.is_some() => DiskState::Failing,
            _ if self.full.is_some() => DiskState::Full,
            _ if self.is_nearly_full() => DiskState::NearlyFull,
            _ => DiskState::Good,
        };
        if state != self.state || self.since.is_none() {
            (self.state, self.since) = (state, Some(at));
        }
    }

    pub(super) fn view(&self) -> DiskView {
        let full = self.full.as_ref().map(|full| &full.error);
        let error = match &self.look {
            Some(Look::Gone(error)) => Some(error),
            _ => self.failed.as_ref().or(full),
        };
        let (error, free_bytes) = (error.cloned(), self.free_bytes());
        let (state, advice) = (self.state, self.state.advice());
        DiskView { state, since_ms: self.since.map(unix_ms), free_bytes, error, advice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Option<WriteTrouble> {
        Some(WriteTrouble::Full("No space left on device".into()))
    }

    fn at(second: i64) -> Tai {
        Tai(second * 1_000_000_000)
    }

    fn here(free_bytes: u64) -> Look {
        Look::Here { free_bytes }
    }

    #[test]
    fn small_writes_that_fit_do_not_end_full() {
        let mut disk = Disk::default();
        disk.looked(here(99), 100, at(1));
        disk.wrote(full(), at(2));
        // The smallest write goes every 2 s, what the edges bring does not.
        for second in (3..200).step_by(2) {
            disk.wrote(None, at(second));
            if second % 20 == 1 {
                disk.wrote(full(), at(second));
            }
            disk.looked(here(149), 100, at(second + 1));
            let view = disk.view();
            assert_eq!((view.state, view.since_ms), (DiskState::Full, Some(unix_ms(at(2)))));
            assert_eq!(view.error.as_deref(), Some("No space left on device"));
        }
        disk.looked(here(150), 100, at(200));
        let view = disk.view();
        assert_eq!((view.state, view.error), (DiskState::Good, None), "room for more than a few");
        assert_eq!(view.since_ms, Some(unix_ms(at(200))));
    }

    #[test]
    fn full_ends_when_no_write_failed_for_a_while() {
        // By a quota: there seems to be room all the time.
        let mut disk = Disk::default();
        disk.looked(here(5_000), 100, at(1));
        disk.wrote(full(), at(2));
        disk.wrote(None, at(4));
        disk.wrote(full(), at(6));
        for second in 8..38 {
            disk.wrote(None, at(second));
            disk.looked(here(5_000), 100, at(second));
            assert_eq!(disk.view().state, DiskState::Full, "{second}");
        }
        disk.wrote(None, at(38));
        assert_eq!(disk.view().state, DiskState::Good);
        // And where room stays scarce, but suffices.
        disk.wrote(full(), at(40));
        disk.looked(here(99), 100, at(41));
        disk.wrote(None, at(42));
        disk.looked(here(99), 100, at(71));
        assert_eq!(disk.view().state, DiskState::Full);
        disk.wrote(None, at(72));
        assert_eq!(disk.view().state, DiskState::NearlyFull);
    }

    #[test]
    fn the_worst_is_told_since_it_began() {
        let mut disk = Disk::default();
        let told = |disk: &Disk| {
            let view = disk.view();
            (view.state, view.since_ms.unwrap(), view.advice.is_some())
        };
        disk.looked(here(1_000), 100, at(1));
        assert_eq!(told(&disk), (DiskState::Good, unix_ms(at(1)), false));
        disk.looked(here(99), 100, at(2));
        disk.looked(here(50), 100, at(3));
        assert_eq!(told(&disk), (DiskState::NearlyFull, unix_ms(at(2)), true));
        disk.wrote(full(), at(4));
        disk.wrote(full(), at(5));
        disk.looked(here(5_000), 100, at(6));
        assert_eq!(told(&disk), (DiskState::Full, unix_ms(at(4)), true), "until a write goes");
        disk.looked(Look::Gone("no such folder".into()), 100, at(7));
        assert_eq!(disk.view().error.as_deref(), Some("no such folder"));
        assert!(!disk.view().state.takes_units());
        disk.looked(here(5_000), 100, at(8));
        disk.wrote(Some(WriteTrouble::Failed("read-only".into())), at(9));
        assert_eq!(told(&disk), (DiskState::Failing, unix_ms(at(9)), true));
        disk.wrote(None, at(10));
        assert_eq!(told(&disk), (DiskState::Good, unix_ms(at(10)), false));
    }
}
