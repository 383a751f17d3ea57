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

/// Why a write did not reach the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteTrouble {
    /// No room, or the quota is used up.
    Full,
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

/// The disk of the archive, as events tell of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    write: Option<WriteTrouble>,
    look: Option<Look>,
    /// Less room than this is nearly none.
    least_bytes: u64,
    state: DiskState,
    since: Option<Tai>,
}

impl Disk {
    /// A write reached the disk, or did not.
    pub(super) fn wrote(&mut self, trouble: Option<WriteTrouble>, at: Tai) {
        self.write = trouble;
        self.settle(at);
    }

    /// Someone looked.
    pub(super) fn looked(&mut self, look: Look, least_bytes: u64, at: Tai) {
        (self.look, self.least_bytes) = (Some(look), least_bytes);
        self.settle(at);
    }

    fn settle(&mut self, at: Tai) {
        let state = match (&self.look, &self.write) {
            (Some(Look::Gone(_)), _) => DiskState::Gone,
            (_, Some(WriteTrouble::Full)) => DiskState::Full,
            (_, Some(WriteTrouble::Failed(_))) => DiskState::Failing,
            (Some(Look::Here { free_bytes }), None) if *free_bytes < self.least_bytes => {
                DiskState::NearlyFull
            }
            _ => DiskState::Good,
        };
        if state != self.state || self.since.is_none() {
            (self.state, self.since) = (state, Some(at));
        }
    }

    pub(super) fn view(&self) -> DiskView {
        let free_bytes = match &self.look {
            Some(Look::Here { free_bytes }) => Some(*free_bytes),
            _ => None,
        };
        let error = match (&self.look, &self.write) {
            (Some(Look::Gone(error)), _) => Some(error.clone()),
            (_, Some(WriteTrouble::Failed(error))) => Some(error.clone()),
            _ => None,
        };
        let (state, advice) = (self.state, self.state.advice());
        DiskView { state, since_ms: self.since.map(unix_ms), free_bytes, error, advice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_told_since_it_began() {
        let at = |second: i64| Tai(second * 1_000_000_000);
        let mut disk = Disk::default();
        let here = |free_bytes| Look::Here { free_bytes };
        let told = |disk: &Disk| {
            let view = disk.view();
            (view.state, view.since_ms.unwrap(), view.advice.is_some())
        };
        disk.looked(here(1_000), 100, at(1));
        assert_eq!(told(&disk), (DiskState::Good, unix_ms(at(1)), false));
        disk.looked(here(99), 100, at(2));
        disk.looked(here(50), 100, at(3));
        assert_eq!(told(&disk), (DiskState::NearlyFull, unix_ms(at(2)), true));
        disk.wrote(Some(WriteTrouble::Full), at(4));
        disk.wrote(Some(WriteTrouble::Full), at(5));
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
