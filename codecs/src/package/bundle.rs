//! A package as one file, and that file in pieces: what goes up to a spacecraft.
//!
//! A bundle is `GTPK`, a version, the number of files, two zero bytes, then for each file the
//! length of its name (u8), the name, the length of its content (u32, big-endian) and the content.
//! It ends with the last of them: a tail is an error. Nothing in it is trusted; the manifest's
//! signature and digests prove what comes out.
//!
//! A piece is `GTPC`, a version, three zero bytes, then the bundle's length and the piece's offset
//! (u64, big-endian), the bundle's SHA-256, and the bytes. Every piece says what it is part of, so
//! that pieces may come in any order and more than once.

use alloc::{string::String, vec::Vec};

use bytes::Bytes;

use super::{Digest, MAX_FILES, is_plain_name};

const BUNDLE_MAGIC: &[u8; 4] = b"GTPK";
const PIECE_MAGIC: &[u8; 4] = b"GTPC";
const VERSION: u8 = 1;

/// Longest bundle that is read or written, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 64 << 20;
/// Bytes of a piece before its content.
pub const PIECE_HEADER_BYTES: usize = 56;

/// Why bytes are no bundle or no piece of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// They begin with something else.
    #[error("does not begin with {wanted} and version {VERSION}")]
    Magic {
        /// The four letters wanted.
        wanted: &'static str,
    },
    /// They end inside of something.
    #[error("ends at byte {at}, in the middle of {within}")]
    Cut {
        /// Length found.
        at: usize,
        /// What is cut.
        within: &'static str,
    },
    /// Something follows the last file.
    #[error("has {0} bytes behind its last file")]
    Tail(usize),
    /// More files than a package may hold, or more bytes.
    #[error("is larger than a package may be: {files} files, {bytes} bytes")]
    TooLarge {
        /// Files.
        files: usize,
        /// Bytes.
        bytes: usize,
    },
    /// A file's name leads elsewhere, or stands twice.
    #[error("holds a file named {0:?}, which no package may hold, or holds it twice")]
    Name(String),
    /// A piece lies outside of what it says it is part of, or is empty.
    #[error(
        "is {length} bytes at {offset} of a bundle of {total} bytes, at most {MAX_BUNDLE_BYTES}"
    )]
    Range {
        /// The bundle's length.
        total: u64,
        /// The piece's offset.
        offset: u64,
        /// The piece's length.
        length: usize,
    },
}

/// Writes files as one.
pub fn pack(files: &[(&str, &[u8])]) -> Result<Vec<u8>, BundleError> {
    let bytes = files.iter().map(|(name, content)| 5 + name.len() + content.len()).sum::<usize>();
    // Two more than a manifest names: itself and its signature.
    if files.len() > MAX_FILES + 2 || bytes + 8 > MAX_BUNDLE_BYTES {
        return Err(BundleError::TooLarge { files: files.len(), bytes });
    }
    let mut out = Vec::with_capacity(bytes + 8);
    out.extend_from_slice(BUNDLE_MAGIC);
    out.extend_from_slice(&[VERSION, files.len() as u8, 0, 0]);
    for (name, content) in files {
        if !is_plain_name(name) {
            return Err(BundleError::Name((*name).into()));
        }
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&(content.len() as u32).to_be_bytes());
        out.extend_from_slice(content);
    }
    Ok(out)
}

/// Reads a bundle: names and contents, which are slices of `bundle`.
pub fn unpack(bundle: &Bytes) -> Result<Vec<(String, Bytes)>, BundleError> {
    let mut rest = Rest { bytes: bundle, at: 0 };
    let head = rest.take(8, "its head")?;
    if head.get(..5) != Some(&[b'G', b'T', b'P', b'K', VERSION]) {
        return Err(BundleError::Magic { wanted: "GTPK" });
    }
    let count = usize::from(head[5]);
    if count > MAX_FILES + 2 || bundle.len() > MAX_BUNDLE_BYTES {
        return Err(BundleError::TooLarge { files: count, bytes: bundle.len() });
    }
    let mut files: Vec<(String, Bytes)> = Vec::with_capacity(count);
    for _ in 0..count {
        let length = rest.take(1, "a name's length")?[0];
        let name = rest.take(usize::from(length), "a name")?;
        let name = String::from_utf8_lossy(&name).into_owned();
        if !is_plain_name(&name) || files.iter().any(|file| file.0 == name) {
            return Err(BundleError::Name(name));
        }
        let length = rest.take(4, "a file's length")?;
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        files.push((name, rest.take(length, "a file")?));
    }
    match bundle.len() - rest.at {
        0 => Ok(files),
        tail => Err(BundleError::Tail(tail)),
    }
}

struct Rest<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Rest<'_> {
    fn take(&mut self, length: usize, within: &'static str) -> Result<Bytes, BundleError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(BundleError::Cut { at: self.bytes.len(), within })?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }
}

/// A part of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Digest of the whole bundle.
    pub digest: Digest,
    /// Its length.
    pub total: u64,
    /// Where this part begins.
    pub offset: u64,
    /// The part.
    pub bytes: Bytes,
}

impl Piece {
    /// Cuts a bundle into pieces of at most `bytes_max` bytes of content, at least 1.
    pub fn cut(bundle: &Bytes, bytes_max: usize) -> Vec<Self> {
        let (digest, total) = (Digest::of(bundle), bundle.len() as u64);
        let step = bytes_max.max(1);
        let starts = (0..bundle.len()).step_by(step);
        let piece = |at: usize| Self {
            digest,
            total,
            offset: at as u64,
            bytes: bundle.slice(at..bundle.len().min(at + step)),
        };
        starts.map(piece).collect()
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PIECE_HEADER_BYTES + self.bytes.len());
        out.extend_from_slice(PIECE_MAGIC);
        out.extend_from_slice(&[VERSION, 0, 0, 0]);
        out.extend_from_slice(&self.total.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.digest.0);
        out.extend_from_slice(&self.bytes);
        out
    }

    /// Reads it; its place is within its bundle.
    pub fn parse(piece: &Bytes) -> Result<Self, BundleError> {
        let mut rest = Rest { bytes: piece, at: 0 };
        let head = rest.take(8, "a piece's head")?;
        if head.get(..5) != Some(&[b'G', b'T', b'P', b'C', VERSION]) {
            return Err(BundleError::Magic { wanted: "GTPC" });
        }
        let mut number = || {
            let bytes = rest.take(8, "a piece's head")?;
            Ok::<u64, BundleError>(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        };
        let (total, offset) = (number()?, number()?);
        let mut digest = Digest([0; 32]);
        digest.0.copy_from_slice(&rest.take(32, "a piece's head")?);
        let bytes = piece.slice(rest.at..);
        let length = bytes.len();
        let end = offset.checked_add(length as u64);
        let fits = total <= MAX_BUNDLE_BYTES as u64 && end.is_some_and(|end| end <= total);
        if !fits || length == 0 {
            return Err(BundleError::Range { total, offset, length });
        }
        Ok(Self { digest, total, offset, bytes })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn bundle() -> Bytes {
        pack(&[("manifest.json", b"{}"), ("model.onnx", &[7; 100]), ("empty", b"")]).unwrap().into()
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let files = unpack(&bundle()).unwrap();
        let names: Vec<&str> = files.iter().map(|file| &*file.0).collect();
        assert_eq!(names, ["manifest.json", "model.onnx", "empty"]);
        assert_eq!(files[1].1, vec![7; 100]);
    }

    #[test]
    fn every_cut_every_tail_and_bad_names_are_refused() {
        let whole = bundle();
        for end in 0..whole.len() {
            assert!(unpack(&whole.slice(..end)).is_err(), "cut at {end}");
        }
        let long = Bytes::from([&whole[..], b"x"].concat());
        assert_eq!(unpack(&long), Err(BundleError::Tail(1)));
        for name in ["../up", "", ".hidden", "a/b"] {
            assert!(pack(&[(name, b"")]).is_err(), "{name}");
            let mut forged = pack(&[("x", b"")]).unwrap();
            forged.splice(8..10, [&[name.len() as u8], name.as_bytes()].concat());
            assert!(unpack(&forged.into()).is_err(), "{name}");
        }
        let twice = pack(&[("x", b""), ("x", b"")]).unwrap();
        assert_eq!(unpack(&twice.into()), Err(BundleError::Name("x".into())));
        let many = [("x", &b""[..]); MAX_FILES + 3];
        assert!(matches!(pack(&many), Err(BundleError::TooLarge { .. })));
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let mut forged = pack(&[("x", b"abc")]).unwrap();
        forged[10..14].copy_from_slice(&u32::MAX.to_be_bytes());
        let error = unpack(&forged.into()).unwrap_err();
        assert!(matches!(error, BundleError::Cut { within: "a file", .. }), "{error}");
    }

    #[test]
    fn pieces_read_back_and_lies_about_their_place_do_not() {
        let whole = bundle();
        let pieces = Piece::cut(&whole, 50);
        assert_eq!(pieces.len(), whole.len().div_ceil(50));
        for piece in &pieces {
            let encoded = Bytes::from(piece.encode());
            assert_eq!(Piece::parse(&encoded).as_ref(), Ok(piece));
            for end in 0..PIECE_HEADER_BYTES + 1 {
                assert!(Piece::parse(&encoded.slice(..end)).is_err(), "cut at {end}");
            }
        }
        let lie = |total, offset| {
            let piece = Piece { total, offset, ..pieces[0].clone() };
            Piece::parse(&piece.encode().into())
        };
        assert!(lie(50, 0).is_ok());
        for (total, offset) in [(49, 0), (50, 1), (u64::MAX, 0), (50, u64::MAX)] {
            let error = lie(total, offset);
            assert!(matches!(error, Err(BundleError::Range { .. })), "{total} {offset}: {error:?}");
        }
    }
}
