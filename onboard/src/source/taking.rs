//! A file on its way into the store, piece by piece, and how far it came.
//!
//! A piece is a tile, or some packets. What it became goes into the store in one commit with the
//! progress, so that a cut anywhere leaves each piece in the store once.

use std::collections::VecDeque;

use bytes::Bytes;
use codecs::ids::Apid;
use sha2::{Digest, Sha256};

use super::{image::Image, stream::Stream};
use crate::{
    pipeline::Pipeline,
    score::{TileScore, tiles::BATCH_MAX},
    source::Malformed,
    triage::TilePacket,
};

/// Packets of a file that go into one commit, bytes.
const SLICE_BYTES: usize = 64 << 10;
/// Bytes that are looked into for packets at once.
const CHUNK_BYTES: usize = 4096;

/// How far a file was taken, as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Of the file's name, settings and bytes.
    pub digest: [u8; 32],
    /// Tile, or byte, that is next.
    pub next: u32,
}

impl Progress {
    /// Bytes for the store.
    pub fn encode(&self) -> Bytes {
        [&self.digest[..], &self.next.to_be_bytes()].concat().into()
    }

    /// Reads what the store kept.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (digest, next) = bytes.split_first_chunk::<32>()?;
        Some(Self { digest: *digest, next: u32::from_be_bytes(next.try_into().ok()?) })
    }
}

/// What tells a file from another. A file of the same name, bytes and settings is the same one.
pub fn digest(name: &str, side: u16, bytes: &[u8], sidecar: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [name.as_bytes(), &side.to_be_bytes(), bytes] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.update(sidecar);
    digest.finalize().into()
}

/// What is in it.
pub enum Pieces {
    /// An image with the side of its tiles and the process that they pass for.
    Tiles {
        /// The image.
        image: Image,
        /// Side of a tile.
        side: u16,
        /// How many tiles it makes.
        count: u32,
        /// Application process.
        apid: Apid,
        /// Tiles that were scored together and not taken yet, the next first.
        ahead: VecDeque<(TilePacket, TileScore)>,
    },
    /// Space packets behind one another.
    Packets {
        /// The file.
        bytes: Bytes,
        /// Finds them.
        stream: Stream,
        /// Where the stream began, and where what it was given ends.
        from: usize,
        /// The end of what it was given.
        fed: usize,
        /// What of the file is no packet, in words; none where all is.
        faults: Option<String>,
    },
}

/// What became of one piece.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Tiles or packets taken, and their bytes.
    pub taken: u64,
    /// Bytes taken.
    pub bytes: u64,
    /// Packets that were none, by reason.
    pub dropped: Vec<Malformed>,
    /// Bytes of no packet.
    pub stray_bytes: u64,
}

/// A file on its way.
pub struct Taking {
    progress: Progress,
    pieces: Pieces,
}

impl Taking {
    /// Takes up an image where it was left, should `kept` be of this very file.
    pub fn tiles(
        digest: [u8; 32],
        kept: Option<Progress>,
        image: Image,
        side: u16,
        apid: Apid,
    ) -> Result<Self, super::image::ImageError> {
        let count = image.tiles(side)?;
        let pieces = Pieces::Tiles { image, side, count, apid, ahead: VecDeque::new() };
        Ok(Self { progress: resume(digest, kept), pieces })
    }

    /// Takes up a file of packets, of which `faults` are none.
    pub fn packets(
        digest: [u8; 32],
        kept: Option<Progress>,
        bytes: Bytes,
        packet_bytes_max: usize,
        faults: Option<String>,
    ) -> Self {
        let progress = resume(digest, kept);
        let stream = Stream::in_step(packet_bytes_max);
        let from = progress.next as usize;
        Self { progress, pieces: Pieces::Packets { bytes, stream, from, fed: from, faults } }
    }

    /// What of a file of packets is none, in words; none where all of it is taken.
    pub fn faults(&self) -> Option<&str> {
        match &self.pieces {
            Pieces::Tiles { .. } => None,
            Pieces::Packets { faults, .. } => faults.as_deref(),
        }
    }

    /// How far it came.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether every piece was made.
    pub fn is_done(&self) -> bool {
        match &self.pieces {
            Pieces::Tiles { count, .. } => self.progress.next >= *count,
            Pieces::Packets { bytes, .. } => self.progress.next as usize >= bytes.len(),
        }
    }

    /// Bytes of the next piece, about: what a limit counts.
    pub fn piece_bytes(&self) -> u64 {
        match &self.pieces {
            Pieces::Tiles { image, count, .. } => {
                image.samples.len() as u64 / u64::from((*count).max(1))
            }
            Pieces::Packets { bytes, .. } => {
                bytes.len().saturating_sub(self.progress.next as usize).min(SLICE_BYTES) as u64
            }
        }
    }

    /// Makes the next piece, tied to the progress under `slot`.
    pub fn step(&mut self, pipeline: &mut Pipeline, slot: u32, now_ns: u64) -> Made {
        match &mut self.pieces {
            Pieces::Tiles { image, side, count, apid, ahead } => {
                let before = pipeline.waiting();
                let number = self.progress.next;
                self.progress.next += 1;
                let captured = image.captured.unwrap_or_else(|| pipeline.time(now_ns));
                if ahead.is_empty() {
                    let [a, b, c, d, ..] = self.progress.digest;
                    let first = u32::from_be_bytes([a, b, c, d]);
                    let together = number..(*count).min(number.saturating_add(BATCH_MAX as u32));
                    let tiles: Vec<TilePacket> = together
                        .filter_map(|at| image.tile(at, *side, first.wrapping_add(at)))
                        .collect();
                    let scores = pipeline.score_tiles(&tiles, captured);
                    ahead.extend(tiles.into_iter().zip(scores));
                }
                let mut made = Made::default();
                if let Some((tile, score)) = ahead.pop_front() {
                    let length = tile.pixels.len();
                    made = Made { taken: 1, bytes: length as u64, ..made };
                    pipeline.scored_image(tile, score, apid.0, captured, length, now_ns);
                }
                pipeline.tie(before, slot, self.progress.encode());
                made
            }
            Pieces::Packets { bytes, stream, from, fed, .. } => {
                // What others left half full is closed first: only this file's goes with its
                // progress.
                pipeline.finish(now_ns);
                let before = pipeline.waiting();
                let mut made = Made::default();
                while made.bytes < SLICE_BYTES as u64 {
                    let Some(packet) = stream.poll() else {
                        if *fed >= bytes.len() {
                            break;
                        }
                        let end = bytes.len().min(*fed + CHUNK_BYTES);
                        stream.push(bytes.get(*fed..end).unwrap_or_default(), now_ns);
                        *fed = end;
                        if end == bytes.len() {
                            stream.finish();
                        }
                        continue;
                    };
                    made.bytes += packet.len() as u64;
                    match pipeline.offer(packet, now_ns) {
                        Ok(()) => made.taken += 1,
                        Err((reason, _)) => made.dropped.push(reason),
                    }
                }
                made.stray_bytes = stream.take_stray();
                // Behind the last packet, so that it goes on in step; or through.
                let through = *fed >= bytes.len() && stream.is_drained();
                let next = if through { bytes.len() } else { *from + stream.taken_to() as usize };
                self.progress.next = next as u32;
                pipeline.finish(now_ns);
                pipeline.tie(before, slot, self.progress.encode());
                made
            }
        }
    }
}

fn resume(digest: [u8; 32], kept: Option<Progress>) -> Progress {
    let same = kept.filter(|kept| kept.digest == digest);
    same.unwrap_or(Progress { digest, next: 0 })
}
