//! Which frames bytes are: their kind, their length and their optional fields.

use super::{BLOCKS_MAX, Evidence, Guess};
use crate::fec::crc::crc16_holds;
use crate::frame::aos::{self, AosConfig};
use crate::frame::cadu::{Coding, Symbols};
use crate::frame::counts::Counts;
use crate::frame::extract::{Extractor, FrameConfig};
use crate::frame::tm::{self, TmConfig};
use crate::frame::{Kind, MAX_FRAME_BYTES};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Reverse;

/// Shortest frame that is looked for.
const FRAME_BYTES_MIN: usize = 16;
/// Frames that a length is first judged by.
const FIRST: usize = 12;
/// Longest insert zone that is tried.
const INSERT_ZONE_MAX: usize = 32;

/// What frames are, and what says so.
pub(super) struct Read {
    pub(super) config: FrameConfig,
    pub(super) evidence: Vec<Evidence>,
}

/// The kind of frames of one length, whose fields then are sought.
pub(super) fn read(frames: &[Vec<u8>]) -> Option<Read> {
    let length = frames.first()?.len();
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let (kind, evidence) = kind(&slices)?;
    Some(fields(kind, length, &slices, evidence))
}

/// Readings of frames end to end from the first byte on.
pub(super) fn bare(stream: &[u8]) -> Vec<Guess> {
    let longest = (stream.len() / 3).min(MAX_FRAME_BYTES);
    let mut found = Vec::new();
    for length in FRAME_BYTES_MIN..=longest {
        let first: Vec<&[u8]> = stream.chunks_exact(length).take(FIRST).collect();
        if kind(&first).is_none() {
            continue;
        }
        let frames: Vec<&[u8]> = stream.chunks_exact(length).take(BLOCKS_MAX).collect();
        if let Some((kind, evidence)) = kind(&frames) {
            found.push((length, kind, evidence, frames));
        }
    }
    // A multiple of the length fits as well where channels take turns, a part of it never does.
    let twentieths = |evidence: &Evidence| 20 * evidence.fits / evidence.of.max(1);
    found.sort_by_key(|(length, _, [_, follow], _)| (Reverse(twentieths(follow)), *length));
    found.truncate(3);
    let guesses = found.into_iter().map(|(length, kind, evidence, frames)| {
        let read = fields(kind, length, &frames, evidence);
        Guess {
            symbols: Symbols::Packed,
            marker: None,
            coding: Coding::NONE,
            frame_bytes: length,
            frames: Some(read.config),
            evidence: read.evidence,
        }
    });
    guesses.collect()
}

/// What a header says, whatever the kind.
struct Head {
    scid: u16,
    vcid: u8,
    count: u32,
}

fn head(kind: Kind, frame: &[u8]) -> Option<Head> {
    let [a, b, c, d, e, _, ..] = *frame else { return None };
    match kind {
        Kind::Aos if a >> 6 == aos::VERSION => Some(Head {
            scid: u16::from_be_bytes([a, b]) >> 6 & 0xFF,
            vcid: b & 0x3F,
            count: u32::from_be_bytes([0, c, d, e]),
        }),
        Kind::Tm if a >> 6 == tm::VERSION => Some(Head {
            scid: u16::from_be_bytes([a, b]) >> 4 & 0x3FF,
            vcid: b >> 1 & 0x07,
            count: d.into(),
        }),
        _ => None,
    }
}

/// The kind whose headers agree with one another.
fn kind(frames: &[&[u8]]) -> Option<(Kind, [Evidence; 2])> {
    [Kind::Aos, Kind::Tm].into_iter().find_map(|kind| {
        let mut spacecraft = BTreeMap::<u16, usize>::new();
        let heads: Vec<_> = frames.iter().map(|frame| head(kind, frame)).collect();
        for head in heads.iter().flatten() {
            *spacecraft.entry(head.scid).or_default() += 1;
        }
        let (scid, fits) = spacecraft.into_iter().max_by_key(|(_, count)| *count)?;
        let same = Evidence::new("frames of one version and spacecraft", fits, frames.len());
        let modulus = if kind == Kind::Aos { aos::COUNT_MODULUS } else { tm::COUNT_MODULUS };
        let of_one = || heads.iter().flatten().filter(|head| head.scid == scid);
        let near = following(of_one(), modulus, modulus / 32);
        let follow = following(of_one(), modulus, 1);
        let fits = same.at_least(80) && near.at_least(60) && near.of >= 2;
        fits.then_some((kind, [same, follow]))
    })
}

/// How often a channel's count goes on from its last one by at most so many frames.
fn following<'a>(heads: impl Iterator<Item = &'a Head>, modulus: u32, most: u32) -> Evidence {
    let mut last = BTreeMap::<u8, u32>::new();
    let (mut fits, mut of) = (0, 0);
    for head in heads {
        if let Some(last) = last.insert(head.vcid, head.count) {
            of += 1;
            let step = head.count.wrapping_sub(last) % modulus;
            fits += usize::from((1..=most).contains(&step));
        }
    }
    Evidence::new("frame counts that follow", fits, of)
}

/// The optional fields with which packets contradict first header pointers least.
fn fields(kind: Kind, length: usize, frames: &[&[u8]], evidence: [Evidence; 2]) -> Read {
    let checks = frames.iter().filter(|frame| crc16_holds(frame)).count();
    let check = Evidence::new("frames whose CRC-16 holds", checks, frames.len());
    let fecf = check.at_least(80);
    let frames: Vec<Bytes> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
    let mut best: Option<(FrameConfig, Evidence)> = None;
    for config in layouts(kind, length, fecf) {
        let packets = packets(&config, &frames);
        // The plainest layout stands unless another one makes sense of nearly everything.
        let better = best.as_ref().is_none_or(|(_, found)| {
            packets.at_least(90)
                && packets.fits * found.of > found.fits * packets.of
                && packets.fits >= found.fits
        });
        if better {
            best = Some((config, packets));
        }
    }
    let mut evidence = Vec::from(evidence);
    if fecf {
        evidence.push(check);
    }
    let plain = FrameConfig::new(crate::frame::Format { kind, length }, fecf);
    let config = match best {
        Some((config, packets)) => {
            evidence.push(packets);
            config
        }
        None => plain,
    };
    Read { config, evidence }
}

fn layouts(kind: Kind, length: usize, fecf: bool) -> Vec<FrameConfig> {
    match kind {
        Kind::Tm => Vec::from([FrameConfig::Tm(TmConfig::new(length).with_fecf(fecf))]),
        Kind::Aos => {
            let plain = AosConfig::new(length).with_fecf(fecf);
            let layout = |(insert_zone, ocf)| AosConfig { insert_zone, ocf, ..plain.clone() };
            let zones = (0..=INSERT_ZONE_MAX).flat_map(|zone| [(zone, false), (zone, true)]);
            zones.map(layout).map(FrameConfig::Aos).collect()
        }
    }
}

/// Packets that came out whole, among those begun.
fn packets(config: &FrameConfig, frames: &[Bytes]) -> Evidence {
    let (mut extractor, mut counts) = (Extractor::new(config.clone()), Counts::default());
    for frame in frames {
        extractor.push(frame, &mut |event| counts.take(&event));
    }
    let dropped: u64 = counts.dropped.values().sum();
    let gaps = counts.dropped.get("gap").copied().unwrap_or(0);
    let fits = counts.packets;
    Evidence {
        what: "packets that first header pointers agree with",
        fits,
        of: fits + dropped - gaps,
    }
}
