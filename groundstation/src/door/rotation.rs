//! When a file of a door is closed and the next begun, and what the closed one is called.

use codecs::time::Tai;
use std::path::{Path, PathBuf};

/// Silence that ends a contact.
pub const CONTACT_GAP_NS: i64 = 60_000_000_000;

/// What closes a file; without any of these it grows for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// It has this many bytes.
    pub bytes: Option<u64>,
    /// It is this old.
    pub seconds: Option<u64>,
    /// The contact is over.
    pub per_contact: bool,
}

/// The file that is being written.
#[derive(Clone, Copy, Debug)]
pub struct Current {
    /// Bytes in it.
    pub bytes: u64,
    /// Monotonic nanoseconds when it was begun.
    pub begun_ns: u64,
    /// Earth receive time of the first and last thing in it.
    pub span: Option<(Tai, Tai)>,
}

impl Current {
    /// A file that has this many bytes already.
    pub const fn new(bytes: u64, now_ns: u64) -> Self {
        Self { bytes, begun_ns: now_ns, span: None }
    }

    /// Notes what was written.
    pub fn wrote(&mut self, bytes: usize, received: Tai) {
        self.bytes += bytes as u64;
        let (first, last) = self.span.unwrap_or((received, received));
        self.span = Some((first.min(received), last.max(received)));
    }
}

impl Rotation {
    /// Whether the file is to be closed before something received at `received` is written.
    pub fn closes_before(&self, file: &Current, received: Tai, now_ns: u64) -> bool {
        let Some((first, last)) = file.span else { return self.is_full(file, now_ns) };
        let apart = |earlier: Tai, later: Tai| later.since(earlier) > CONTACT_GAP_NS;
        // Late units of an earlier contact are apart from this one as well.
        let another = apart(last, received) || apart(received, first);
        self.is_full(file, now_ns) || self.per_contact && another
    }

    /// Whether the file is to be closed although nothing comes; `now` is the station's time.
    pub fn closes_idle(&self, file: &Current, now: Tai, now_ns: u64) -> bool {
        let over = |(_, last): (Tai, Tai)| now.since(last) > CONTACT_GAP_NS;
        self.is_full(file, now_ns) || self.per_contact && file.span.is_some_and(over)
    }

    /// Whether anything closes a file.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }

    fn is_full(&self, file: &Current, now_ns: u64) -> bool {
        let age_s = now_ns.saturating_sub(file.begun_ns) / 1_000_000_000;
        file.bytes > 0
            && (self.bytes.is_some_and(|most| file.bytes >= most)
                || self.seconds.is_some_and(|most| age_s >= most))
    }
}

/// What a closed file is called: the open one's name with the UTC of the first thing in it, and a
/// number where that name is taken.
pub fn closed_name(path: &Path, first: Tai, number: u32) -> PathBuf {
    let utc = first.to_rfc3339();
    let seconds = utc.split('.').next().unwrap_or_default().trim_end_matches('Z');
    let time: String = seconds.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let count = if number == 0 { String::new() } else { format!("-{number}") };
    let mut name = format!("{stem}-{time}Z{count}");
    if let Some(extension) = path.extension() {
        name.push('.');
        name.push_str(&extension.to_string_lossy());
    }
    path.with_file_name(name)
}

/// Whether [`closed_name`] of `path` may be `other`.
pub fn may_be_closed_as(path: &Path, other: &Path) -> bool {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if path.parent() != other.parent() || path.extension() != other.extension() {
        return false;
    }
    let (open, closed) = (stem(path), stem(other));
    let Some(rest) = closed.strip_prefix(&open).and_then(|rest| rest.strip_prefix('-')) else {
        return false;
    };
    let Some((time, count)) = rest.split_once('Z') else { return false };
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let number = count.is_empty() || count.strip_prefix('-').is_some_and(digits);
    number && time.split_once('T').is_some_and(|(day, hour)| digits(day) && digits(hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn size_age_and_the_end_of_a_contact_close_a_file() {
        let mut file = Current::new(0, 0);
        let size = Rotation { bytes: Some(100), ..Rotation::default() };
        assert!(!size.closes_before(&file, Tai(0), 0), "an empty one stays");
        file.wrote(100, Tai(5 * SECOND));
        assert!(size.closes_before(&file, Tai(6 * SECOND), 0));
        let age = Rotation { seconds: Some(10), ..Rotation::default() };
        assert!(!age.closes_idle(&file, Tai(0), 9 * SECOND as u64));
        assert!(age.closes_idle(&file, Tai(0), 10 * SECOND as u64));
        let contact = Rotation { per_contact: true, ..Rotation::default() };
        assert!(!contact.closes_before(&file, Tai(65 * SECOND), 0));
        assert!(contact.closes_before(&file, Tai(66 * SECOND), 0));
        assert!(contact.closes_before(&file, Tai(-56 * SECOND), 0), "a spooled earlier contact");
        assert!(!contact.closes_idle(&file, Tai(65 * SECOND), u64::MAX));
        assert!(contact.closes_idle(&file, Tai(66 * SECOND), 0));
        let never = Rotation::default();
        assert!(!never.closes_before(&file, Tai(i64::MAX), u64::MAX));
    }

    #[test]
    fn closed_files_are_named_by_their_beginning() {
        let first = Tai::from_rfc3339("2026-11-26T14:15:16.789Z").unwrap();
        let name = |path: &str, number| closed_name(Path::new(path), first, number);
        assert_eq!(name("out/frames.bin", 0), Path::new("out/frames-20261126T141516Z.bin"));
        assert_eq!(name("frames", 2), Path::new("frames-20261126T141516Z-2"));
        for (path, number) in [("out/frames.bin", 0), ("frames", 2), ("a-b.c.d", 9_999)] {
            assert!(may_be_closed_as(Path::new(path), &name(path, number)), "{path}");
        }
        assert!(!may_be_closed_as(Path::new("out/frames.bin"), Path::new("out/frames-2.bin")));
    }
}
