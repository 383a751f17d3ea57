//! The "newc" cpio archive that the kernel unpacks as its first root file system.
//!
//! The same entries give the same bytes: names are sorted, every entry belongs to 0:0, inode
//! numbers count from one and all carry one modification time. The format is the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.

use std::collections::BTreeMap;

/// The largest file an archive takes; the format's own bound is 4 GiB.
pub const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;
/// The most entries an archive takes, read or written.
pub const MAX_ENTRIES: usize = 4096;

const HEADER_BYTES: usize = 110;
const TRAILER: &str = "TRAILER!!!";
const KIND_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// What is wrong with an entry or an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpioError {
    /// The archive ends inside an entry.
    #[error("cpio archive ends inside the entry at byte {offset}")]
    Truncated {
        /// Where that entry begins.
        offset: usize,
    },
    /// The bytes are no newc header.
    #[error("no newc header at byte {offset}")]
    NoHeader {
        /// Where one was expected.
        offset: usize,
    },
    /// A file, or the number of files, is over the bound.
    #[error(
        "cpio entry `{name}` is over the bound ({MAX_FILE_BYTES} bytes, {MAX_ENTRIES} entries)"
    )]
    TooLarge {
        /// The entry's name.
        name: String,
    },
    /// A name is empty, absolute, or climbs.
    #[error("cpio entry name `{name}` must be relative, without empty, `.` or `..` parts")]
    BadName {
        /// The name given.
        name: String,
    },
}

/// One thing in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory with its permission bits.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A file with its permission bits and content.
    File {
        /// Permission bits.
        mode: u32,
        /// Content.
        bytes: Vec<u8>,
    },
    /// A character device node.
    Device {
        /// Permission bits.
        mode: u32,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// A tree of entries by relative path, which [`Archive::encode`] turns into bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive {
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    /// Adds `entry` as `name` (relative, slashes between parts) and the directories above it.
    pub fn insert(&mut self, name: &str, entry: Entry) -> Result<(), CpioError> {
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) || name == TRAILER {
            return Err(CpioError::BadName { name: name.into() });
        }
        let large = matches!(&entry, Entry::File { bytes, .. } if bytes.len() > MAX_FILE_BYTES);
        if large || self.entries.len() >= MAX_ENTRIES {
            return Err(CpioError::TooLarge { name: name.into() });
        }
        for (end, _) in name.match_indices('/') {
            let parent = name.get(..end).unwrap_or_default();
            self.entries.entry(parent.into()).or_insert(Entry::Directory { mode: 0o755 });
        }
        self.entries.insert(name.into(), entry);
        Ok(())
    }

    /// The entries in archive order, which puts directories before what they hold.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The archive's bytes; `mtime` (seconds since 1970) is every entry's modification time.
    pub fn encode(&self, mtime: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for (inode, (name, entry)) in (1u32..).zip(&self.entries) {
            let (mode, links, bytes, device) = match entry {
                Entry::Directory { mode } => (DIRECTORY | mode, 2, &[][..], (0, 0)),
                Entry::File { mode, bytes } => (REGULAR | mode, 1, bytes.as_slice(), (0, 0)),
                Entry::Device { mode, major, minor } => {
                    (CHARACTER_DEVICE | mode, 1, &[][..], (*major, *minor))
                }
            };
            // inode, mode, uid, gid, links, mtime, size, device 2, node 2, name length, check
            let size = bytes.len() as u32; // insert() bounds it
            put(&mut out, [inode, mode, 0, 0, links, mtime, size, 0, 0, device.0, device.1], name);
            out.extend(bytes);
            pad(&mut out);
        }
        put(&mut out, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], TRAILER);
        out
    }

    /// Reads an archive back, for verification.
    pub fn decode(bytes: &[u8]) -> Result<Self, CpioError> {
        let mut archive = Self::default();
        let mut offset = 0;
        loop {
            let truncated = CpioError::Truncated { offset };
            let header = bytes.get(offset..offset + HEADER_BYTES).ok_or(truncated.clone())?;
            let field = |index: usize| {
                let digits = header.get(6 + index * 8..14 + index * 8)?;
                u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
            };
            let no_header = CpioError::NoHeader { offset };
            if !header.starts_with(b"070701") {
                return Err(no_header);
            }
            let number = |index| field(index).ok_or(no_header.clone());
            let (mode, size, name_bytes) = (number(1)?, number(6)? as usize, number(11)? as usize);
            let name_at = offset + HEADER_BYTES;
            let name = bytes.get(name_at..name_at + name_bytes).ok_or(truncated.clone())?;
            let name = name.strip_suffix(b"\0").ok_or(no_header.clone())?;
            let name = std::str::from_utf8(name).map_err(|_| no_header.clone())?;
            if name == TRAILER {
                return Ok(archive);
            }
            if size > MAX_FILE_BYTES {
                return Err(CpioError::TooLarge { name: name.into() });
            }
            let content_at = aligned(name_at + name_bytes);
            let content = bytes.get(content_at..content_at + size).ok_or(truncated)?;
            let permissions = mode & !KIND_MASK;
            let entry = match mode & KIND_MASK {
                DIRECTORY => Entry::Directory { mode: permissions },
                REGULAR => Entry::File { mode: permissions, bytes: content.to_vec() },
                CHARACTER_DEVICE => {
                    Entry::Device { mode: permissions, major: number(9)?, minor: number(10)? }
                }
                _ => return Err(no_header),
            };
            archive.insert(name, entry)?;
            offset = aligned(content_at + size);
        }
    }
}

fn put(out: &mut Vec<u8>, fields: [u32; 11], name: &str) {
    out.extend(b"070701");
    for field in fields.into_iter().chain([name.len() as u32 + 1, 0]) {
        out.extend(format!("{field:08x}").bytes());
    }
    out.extend(name.bytes());
    out.push(0);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(aligned(out.len()), 0);
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Archive {
        let mut archive = Archive::default();
        let file = |text: &str| Entry::File { mode: 0o644, bytes: text.as_bytes().to_vec() };
        archive.insert("init", Entry::File { mode: 0o755, bytes: vec![7; 5] }).unwrap();
        archive.insert("etc/onboard/onboard.toml", file("a = 1")).unwrap();
        archive.insert("dev/console", Entry::Device { mode: 0o600, major: 5, minor: 1 }).unwrap();
        archive
    }

    #[test]
    fn golden_bytes_of_one_file() {
        let mut archive = Archive::default();
        archive.insert("a", Entry::File { mode: 0o644, bytes: b"hi".to_vec() }).unwrap();
        let expected = "070701000000010000_81a4_0000000000000000_00000001_00000009_00000002\
            _00000000_00000000_00000000_00000000_00000002_00000000"
            .replace('_', "");
        let bytes = archive.encode(9);
        assert_eq!(std::str::from_utf8(&bytes[..110]).unwrap(), expected);
        assert_eq!(&bytes[110..116], b"a\0hi\0\0");
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn order_of_insertion_does_not_show() {
        let mut other = Archive::default();
        let entries: Vec<_> = sample().entries().map(|(n, e)| (n.to_owned(), e.clone())).collect();
        for (name, entry) in entries.into_iter().rev() {
            other.insert(&name, entry).unwrap();
        }
        assert_eq!(other.encode(0), sample().encode(0));
        let names: Vec<_> = other.entries().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["dev", "dev/console", "etc", "etc/onboard", "etc/onboard/onboard.toml", "init"]
        );
    }

    #[test]
    fn round_trip_and_every_truncation() {
        let bytes = sample().encode(0);
        assert_eq!(Archive::decode(&bytes), Ok(sample()));
        for length in 0..bytes.len() - 3 {
            assert!(Archive::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn refuses_names_that_climb() {
        let file = || Entry::File { mode: 0o644, bytes: Vec::new() };
        for name in ["", "/etc/passwd", "../x", "a//b", "a/./b", TRAILER] {
            assert!(Archive::default().insert(name, file()).is_err(), "{name}");
        }
    }
}
