//! Which frames bytes are: their kind, their length and their optional fields.

use super::{BLOCKS_MAX, Evidence, Guess};
use crate::fec::crc::{crc16_holds, crc32_frame_holds};
use crate::frame::aos::{self, AosConfig, AosFrame};
use crate::frame::cadu::Symbols;
use crate::frame::counts::Counts;
use crate::frame::extract::{Event, Extractor, FrameConfig};
use crate::frame::tc::TcConfig;
use crate::frame::tm::{self, TmConfig};
use crate::frame::uslp::{self, Fecf, UslpConfig};
use crate::frame::{Format, Framing, Kind, MAX_FRAME_BYTES};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Reverse;

/// Shortest frame that is looked for.
const FRAME_BYTES_MIN: usize = 16;
/// Frames that a length is first judged by.
const FIRST: usize = 12;
/// Fewest frames that can agree by more than chance.
const FRAMES_MIN: usize = 3;
/// Longest insert zone that is tried.
const INSERT_ZONE_MAX: usize = 32;

/// What speaks for a layout of frames.
pub(super) const PACKETS: &str = "packets that first header pointers agree with";

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
    Some(fields(Format { kind, length: Some(length) }, &slices, evidence.into()))
}

/// Fields of frames of a kind whose lengths are their own.
pub(super) fn read_each(kind: Kind, frames: &[Vec<u8>]) -> Option<Read> {
    let slices: Vec<&[u8]> = frames.iter().take(BLOCKS_MAX).map(Vec::as_slice).collect();
    let (same, _) = same(kind, &slices)?;
    let format = Format { kind, length: None };
    same.at_least(80).then(|| fields(format, &slices, Vec::from([same])))
}

/// Readings of frames end to end from the first byte on.
pub(super) fn bare(stream: &[u8]) -> Vec<Guess> {
    let found = of_one_length(stream);
    let found = if found.is_empty() { of_their_own(stream) } else { found };
    let guesses = found.into_iter().map(|read| Guess {
        symbols: Symbols::Packed,
        framing: Framing::Bare,
        frame_bytes: read.config.format().length.unwrap_or(0),
        frames: Some(read.config),
        evidence: read.evidence,
    });
    guesses.collect()
}

fn of_one_length(stream: &[u8]) -> Vec<Read> {
    let longest = (stream.len() / FRAMES_MIN).min(MAX_FRAME_BYTES);
    let mut found = Vec::new();
    for length in FRAME_BYTES_MIN..=longest {
        let first: Vec<&[u8]> = stream.chunks_exact(length).take(FIRST).collect();
        if kind(&first).is_none() {
            continue;
        }
        let frames: Vec<&[u8]> = stream.chunks_exact(length).take(BLOCKS_MAX).collect();
        if let Some((kind, evidence)) = kind(&frames) {
            found.push((Format { kind, length: Some(length) }, evidence, frames));
        }
    }
    // A multiple of the length fits as well where channels take turns, a part of it never does.
    let twentieths = |evidence: &Evidence| 20 * evidence.fits / evidence.of.max(1);
    found.sort_by_key(|(format, [_, follow], _)| (Reverse(twentieths(follow)), format.length));
    found.truncate(3);
    found
        .into_iter()
        .map(|(format, evidence, frames)| fields(format, &frames, evidence.into()))
        .collect()
}

/// Frames that tell their own lengths, each of which leads to the next.
fn of_their_own(stream: &[u8]) -> Vec<Read> {
    let read = |kind| {
        let format = Format { kind, length: None };
        let (mut frames, mut rest) = (Vec::new(), stream);
        while let Some(length) = format.extent(rest)
            && let Some((frame, after)) = rest.split_at_checked(length)
            && frames.len() < BLOCKS_MAX
        {
            frames.push(frame);
            rest = after;
        }
        let whole = rest.is_empty() || frames.len() == BLOCKS_MAX;
        if frames.len() < FRAMES_MIN || !whole {
            return None;
        }
        let lengths =
            Evidence::new("frames whose length leads to the next", frames.len(), frames.len());
        let (same, _) = same(kind, &frames)?;
        same.at_least(80).then(|| fields(format, &frames, Vec::from([same, lengths])))
    };
    [Kind::Uslp, Kind::Tc].into_iter().filter_map(read).collect()
}

/// What a header says, whatever the kind.
struct Head {
    scid: u16,
    vcid: u8,
    count: u64,
    /// 1 where the frame does not count.
    modulus: u64,
}

fn head(kind: Kind, frame: &[u8]) -> Option<Head> {
    let [a, b, c, d, e, ..] = *frame else { return None };
    let first = u32::from_be_bytes([a, b, c, d]);
    match kind {
        Kind::Aos if a >> 6 == aos::VERSION => Some(Head {
            scid: (first >> 22 & 0xFF) as u16,
            vcid: b & 0x3F,
            count: u32::from_be_bytes([0, c, d, e]).into(),
            modulus: aos::COUNT_MODULUS.into(),
        }),
        Kind::Tm if a >> 6 == tm::VERSION => Some(Head {
            scid: (first >> 20 & 0x3FF) as u16,
            vcid: b >> 1 & 0x07,
            count: d.into(),
            modulus: tm::COUNT_MODULUS.into(),
        }),
        Kind::Uslp if a >> 4 == uslp::VERSION => {
            let flags = *frame.get(uslp::HEADER_BYTES - 1)?;
            let bytes = u32::from(flags & 0x07);
            let field = frame.get(uslp::HEADER_BYTES..)?.get(..bytes as usize)?;
            let count = field.iter().fold(0, |count, byte| count << 8 | u64::from(*byte));
            let (scid, vcid) = ((first >> 12) as u16, (first >> 5 & 0x3F) as u8);
            Some(Head { scid, vcid, count, modulus: 1 << (8 * bytes) })
        }
        // AD frames count, but nothing tells how many of the others stand between two.
        Kind::Tc if a >> 6 == 0 => {
            let scid = u16::from_be_bytes([a & 0x03, b]);
            Some(Head { scid, vcid: c >> 2, count: 0, modulus: 1 })
        }
        _ => None,
    }
}

/// How many frames are of the most frequent spacecraft, and which that is.
fn same(kind: Kind, frames: &[&[u8]]) -> Option<(Evidence, u16)> {
    let mut spacecraft = BTreeMap::<u16, usize>::new();
    for head in frames.iter().filter_map(|frame| head(kind, frame)) {
        *spacecraft.entry(head.scid).or_default() += 1;
    }
    let (scid, fits) = spacecraft.into_iter().max_by_key(|(_, count)| *count)?;
    Some((Evidence::new("frames of one version and spacecraft", fits, frames.len()), scid))
}

/// The kind whose headers agree with one another.
fn kind(frames: &[&[u8]]) -> Option<(Kind, [Evidence; 2])> {
    [Kind::Uslp, Kind::Aos, Kind::Tm].into_iter().find_map(|kind| {
        let (same, scid) = same(kind, frames)?;
        if !same.at_least(80) {
            return None;
        }
        let heads: Vec<Head> = frames.iter().filter_map(|frame| head(kind, frame)).collect();
        let of_one = || heads.iter().filter(|head| head.scid == scid);
        let follow = following(of_one(), |_| 1);
        if kind == Kind::Uslp {
            // Its length field is worth more than counts, which not every channel has.
            let own = frames.iter().filter(|frame| uslp::extent(frame) == Some(frame.len()));
            let own = Evidence::new("frames that tell this length", own.count(), frames.len());
            return (own.at_least(80) && own.of >= FRAMES_MIN as u64)
                .then_some((kind, [same, own]));
        }
        let near = following(of_one(), |modulus| modulus / 32);
        (near.at_least(60) && near.of >= 2).then_some((kind, [same, follow]))
    })
}

/// How often a channel's count goes on from its last one by at most so many frames.
fn following<'a>(heads: impl Iterator<Item = &'a Head>, most: impl Fn(u64) -> u64) -> Evidence {
    let mut last = BTreeMap::<u8, u64>::new();
    let (mut fits, mut of) = (0, 0);
    for head in heads.filter(|head| head.modulus > 1) {
        if let Some(last) = last.insert(head.vcid, head.count) {
            of += 1;
            let step = head.count.wrapping_sub(last) % head.modulus;
            fits += usize::from((1..=most(head.modulus)).contains(&step));
        }
    }
    Evidence::new("frame counts that follow", fits, of)
}

/// The optional fields with which packets contradict first header pointers least.
fn fields(format: Format, frames: &[&[u8]], mut evidence: Vec<Evidence>) -> Read {
    let (check, found) = check(format.kind, frames);
    let control = control(format, frames);
    let frames: Vec<Bytes> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
    let mut best: Option<(FrameConfig, Evidence)> = None;
    for config in layouts(format, check, control.is_some()) {
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
    evidence.extend(control);
    evidence.extend(found);
    let plain = FrameConfig::new(format, check != Fecf::None);
    let config = best.map_or(plain, |(config, packets)| {
        evidence.push(packets);
        config
    });
    Read { config, evidence }
}

/// Which check field ends the frames.
fn check(kind: Kind, frames: &[&[u8]]) -> (Fecf, Option<Evidence>) {
    let holding = |what, holds: fn(&[u8]) -> bool| {
        let fits = frames.iter().filter(|frame| holds(frame)).count();
        Evidence::new(what, fits, frames.len())
    };
    let short = holding("frames whose CRC-16 holds", crc16_holds);
    if short.at_least(80) {
        return (Fecf::Crc16, Some(short));
    }
    let long = holding("frames whose CRC-32 holds", crc32_frame_holds);
    match kind == Kind::Uslp && long.at_least(80) {
        true => (Fecf::Crc32, Some(long)),
        false => (Fecf::None, None),
    }
}

/// Whether error control ends the headers; right ones only, for two symbols that can be corrected
/// fit nearly anything.
fn control(format: Format, frames: &[&[u8]]) -> Option<Evidence> {
    let config = AosConfig { header_error_control: true, ..AosConfig::new(format.max_length()) };
    let right = |frame: &&&[u8]| {
        AosFrame::parse(frame, &config).is_ok_and(|frame| frame.corrected_symbols() == 0)
    };
    let fits = frames.iter().filter(right).count();
    let control = Evidence::new("headers whose error control holds", fits, frames.len());
    (format.kind == Kind::Aos && control.at_least(80)).then_some(control)
}

/// Layouts that are tried, the plainest first.
fn layouts(format: Format, check: Fecf, header_error_control: bool) -> Vec<FrameConfig> {
    let (length, fecf) = (format.max_length(), check != Fecf::None);
    let zones = 0..=INSERT_ZONE_MAX;
    match format.kind {
        Kind::Tm => Vec::from([FrameConfig::Tm(TmConfig::new(length).with_fecf(fecf))]),
        Kind::Aos => {
            let plain =
                AosConfig { header_error_control, ..AosConfig::new(length).with_fecf(fecf) };
            let layout = |(insert_zone, ocf)| AosConfig { insert_zone, ocf, ..plain.clone() };
            let zones = zones.flat_map(|zone| [(zone, false), (zone, true)]);
            zones.map(layout).map(FrameConfig::Aos).collect()
        }
        Kind::Uslp => {
            let plain = UslpConfig { fecf: check, ..UslpConfig::new(format.length) };
            let zones = zones.filter(|zone| *zone == 0 || format.length.is_some());
            let layout = |insert_zone| UslpConfig { insert_zone, ..plain };
            zones.map(layout).map(FrameConfig::Uslp).collect()
        }
        Kind::Tc => {
            [true, false].map(|segments| FrameConfig::Tc(TcConfig::new(segments, fecf))).into()
        }
    }
}

/// Packets that came out whole, among those begun. Packets of nothing but zeros are read out of
/// emptiness, and speak against a layout.
fn packets(config: &FrameConfig, frames: &[Bytes]) -> Evidence {
    let (mut extractor, mut counts) = (Extractor::new(config.clone()), Counts::default());
    let mut empty = 0;
    for frame in frames {
        extractor.push(frame, &mut |event| {
            counts.take(&event);
            if let Event::Packet { bytes, .. } = &event {
                empty += u64::from(bytes.get(..4).is_some_and(|head| head == [0; 4]));
            }
        });
    }
    let dropped: u64 = counts.dropped.values().sum();
    let gaps = counts.dropped.get("gap").copied().unwrap_or(0);
    let fits = counts.packets.saturating_sub(empty);
    Evidence { what: PACKETS, fits, of: counts.packets + dropped - gaps }
}
