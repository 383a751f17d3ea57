//! Recordings in place of the generated telemetry: frames of one length, and the spacecraft
//! identifier that they carry.

use super::files::Recording;
use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Largest recording taken: the whole of it is held in memory.
const MAX_BYTES: u64 = 256 << 20;

/// A recording's frames.
#[derive(Clone, Debug)]
pub struct Frames {
    /// As the flight process is told.
    pub recording: Recording,
    /// Spacecraft identifier of most frames.
    pub scid: u16,
    /// The frames in order.
    pub frames: Vec<Vec<u8>>,
}

impl Frames {
    /// Reads a file of frames such as `aos:1113`.
    pub fn read(path: &Path, frame: &str, fecf: bool) -> anyhow::Result<Self> {
        let name = path.display();
        let size = fs::metadata(path).with_context(|| format!("reading {name}"))?.len();
        ensure!(size <= MAX_BYTES, "{name}: {size} bytes are more than {MAX_BYTES}");
        let bytes = fs::read(path).with_context(|| format!("reading {name}"))?;
        Self::split(&bytes, frame, fecf).with_context(|| format!("{name}"))
    }

    fn split(bytes: &[u8], frame: &str, fecf: bool) -> anyhow::Result<Self> {
        let (kind, length) = parse_frame(frame)?;
        ensure!(bytes.len() >= length, "shorter than one frame of {length} bytes");
        if !bytes.len().is_multiple_of(length) {
            tracing::warn!(
                "{} bytes after the last whole frame are left out",
                bytes.len() % length
            );
        }
        let frames: Vec<Vec<u8>> = bytes.chunks_exact(length).map(<[u8]>::to_vec).collect();
        let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
        for frame in &frames {
            *counts.entry(identifier(kind, frame)).or_default() += 1;
        }
        let scid = counts.into_iter().max_by_key(|row| row.1).map_or(0, |row| row.0);
        Ok(Self { recording: Recording { frame: frame.to_owned(), fecf }, scid, frames })
    }

    /// A mission that knows the recording's spacecraft and nothing of its packets.
    pub fn mission(&self) -> anyhow::Result<String> {
        let (kind, length) = parse_frame(&self.recording.frame)?;
        let kind = match kind {
            Kind::Aos => "aos",
            Kind::Tm => "tm",
        };
        Ok(format!(
            "mission = \"recording\"\ndomain = \"recording\"\n\n[[spacecraft]]\nid = 7\n\
             name = \"SKY-7\"\n\n[[spacecraft.frames]]\nkind = \"{kind}\"\nscid = {}\n\
             length = {length}\nfecf = {}\n",
            self.scid, self.recording.fecf
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Aos,
    Tm,
}

fn parse_frame(text: &str) -> anyhow::Result<(Kind, usize)> {
    let parsed = text.split_once(':').and_then(|(kind, length)| {
        let kind = match kind {
            "aos" => Kind::Aos,
            "tm" => Kind::Tm,
            _ => return None,
        };
        let length = length.parse().ok().filter(|length| (16..=65_535).contains(length))?;
        Some((kind, length))
    });
    let Some(parsed) = parsed else {
        bail!("'{text}' is no frame format such as aos:1113 or tm:1115");
    };
    Ok(parsed)
}

/// Spacecraft identifier in a frame's first octets: ten bits after the version in TM (CCSDS
/// 132.0-B-3 §4.1.2.2.3), eight in AOS as recorded here (CCSDS 732.0-B-5 §4.1.2.2.3; its two more
/// bits are zero in every recording).
fn identifier(kind: Kind, frame: &[u8]) -> u16 {
    let first = u16::from_be_bytes([frame[0], frame[1]]);
    match kind {
        Kind::Tm => first >> 4 & 0x3ff,
        Kind::Aos => first >> 6 & 0xff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_and_their_spacecraft_found() {
        // AOS version 1, spacecraft 71, virtual channel 0.
        let header = (1u16 << 14 | 71 << 6).to_be_bytes();
        let mut bytes = Vec::new();
        for _ in 0..3 {
            bytes.extend(header);
            bytes.extend([0; 18]);
        }
        bytes.extend([1, 2, 3]);
        let frames = Frames::split(&bytes, "aos:20", false).unwrap();
        assert_eq!((frames.frames.len(), frames.scid), (3, 71));
        let mission = frames.mission().unwrap();
        let definition = codecs::mission::Definition::from_toml(&mission).unwrap();
        assert_eq!(definition.spacecraft[0].frames[0].scid, 71);
        assert!(Frames::split(&bytes, "aos:2000", false).is_err());
        assert!(Frames::split(&bytes, "uslp:20", false).is_err());
        assert!(Frames::split(&bytes, "aos:4", false).is_err());
    }

    #[test]
    fn tm_identifiers_have_ten_bits() {
        assert_eq!(identifier(Kind::Tm, &[0x3f, 0xf0]), 0x3ff);
        assert_eq!(identifier(Kind::Aos, &[0x7f, 0xc0]), 0xff);
    }
}
