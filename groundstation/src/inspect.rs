//! `groundstation inspect`: what a recording of frames holds, without a daemon.
//!
//! The counting is [`codecs::frame::counts`]; here are the file, the table and the document.

mod cadus;

use self::cadus::Cadus;
use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use codecs::frame::Format;
use codecs::frame::cadu::{self, CaduDecoder, Coding};
use codecs::frame::counts::Counts;
use codecs::frame::extract::{Extractor, FrameConfig};
use codecs::sync::marker::Marker;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes read at a time, rounded to whole frames.
const CHUNK_BYTES: usize = 1 << 20;

/// Look into a recording of transfer frames.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    groundstation inspect --frame aos:1113 pass.aos1113\n  \
    groundstation inspect --frame aos:1115 --fecf --json pass.aos1115\n  \
    groundstation inspect --frame tm:1113 pass.tm1113\n  \
    groundstation inspect --frame aos:892 --coding rs:223:i4:dual,randomized pass.cadu\n\n\
    Exit codes: 0 done, 1 the file can't be read or holds no such frames, 2 wrong usage.")]
pub struct Args {
    /// Kind and length in bytes of every frame: aos:LENGTH or tm:LENGTH
    #[arg(long, value_name = "KIND:LENGTH")]
    pub frame: Format,
    /// A CRC-16 ends every frame: check it, count failures, and keep it out of the packets
    #[arg(long)]
    pub fecf: bool,
    /// The file is a stream of marked units, coded like this: rs:223:i4:dual,randomized. Codes
    /// are rs:223 or rs:239, depths i1 to i8, dual or conventional; randomized:255 and
    /// randomized:131071 name the sequence; none is a stream with markers only
    #[arg(long, value_name = "CODING")]
    pub coding: Option<Coding>,
    /// The marker before each unit, in hexadecimal; says --coding none where that is not given
    #[arg(long, value_name = "MARKER")]
    pub asm: Option<Marker>,
    /// Print one JSON document instead of the table
    #[arg(long)]
    pub json: bool,
    /// Frames end to end, without sync markers or code symbols unless --coding or --asm says so
    pub file: PathBuf,
}

/// The document of `--json`; names and meanings are those of [`Counts`].
#[derive(Debug, Serialize)]
pub struct Report {
    file: String,
    frame: String,
    frames: u64,
    virtual_channels: BTreeMap<u8, u64>,
    spacecraft: BTreeMap<u16, u64>,
    gaps: u64,
    lost_frames: u64,
    erred_frames: u64,
    rejected_frames: u64,
    trailing_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cadus: Option<Cadus>,
    first_header_pointer: Pointers,
    packets: u64,
    idle_packets: u64,
    spanning_packets: u64,
    truncated_packets: u64,
    erred_packets: u64,
    encapsulation_packets: u64,
    apids: u64,
    packets_by_apid: BTreeMap<u16, u64>,
    bytes: u64,
    longest_packet: u64,
    dropped: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct Pointers {
    start: u64,
    no_start: u64,
    idle: u64,
}

impl Report {
    fn new(args: &Args, counts: Counts, trailing_bytes: u64, cadus: Option<Cadus>) -> Self {
        let pointers = counts.first_header_pointer;
        Self {
            file: args.file.display().to_string(),
            frame: args.frame.to_string(),
            frames: counts.frames,
            virtual_channels: counts.virtual_channels,
            spacecraft: counts.spacecraft,
            gaps: counts.gaps,
            lost_frames: counts.lost_frames,
            erred_frames: counts.erred_frames,
            rejected_frames: counts.rejected_frames,
            trailing_bytes,
            cadus,
            first_header_pointer: Pointers {
                start: pointers.start,
                no_start: pointers.no_start,
                idle: pointers.idle,
            },
            packets: counts.packets,
            idle_packets: counts.idle_packets,
            spanning_packets: counts.spanning_packets,
            truncated_packets: counts.truncated_packets,
            erred_packets: counts.erred_packets,
            encapsulation_packets: counts.encapsulation_packets,
            apids: counts.apids.len() as u64,
            packets_by_apid: counts.apids,
            bytes: counts.bytes,
            longest_packet: counts.longest_packet,
            dropped: counts.dropped,
        }
    }

    fn table(&self) -> String {
        let pointers = &self.first_header_pointer;
        let rows = [
            ("frames", format!("{} of {}", self.frames, self.frame)),
            ("  rejected", self.rejected_frames.to_string()),
            ("  CRC failed", self.erred_frames.to_string()),
            ("  spacecraft", most(&self.spacecraft, "")),
            ("  channels", most(&self.virtual_channels, "VC ")),
            ("gaps", format!("{} ({} frames lost)", self.gaps, self.lost_frames)),
            (
                "first header",
                format!(
                    "{} start a packet, {} do not, {} idle",
                    pointers.start, pointers.no_start, pointers.idle
                ),
            ),
            ("packets", format!("{} ({} bytes)", self.packets, self.bytes)),
            ("  idle", self.idle_packets.to_string()),
            ("  spanning", self.spanning_packets.to_string()),
            ("  encapsulation", self.encapsulation_packets.to_string()),
            ("  longest", format!("{} bytes", self.longest_packet)),
            ("  by APID", most(&self.packets_by_apid, "")),
            ("truncated", self.truncated_packets.to_string()),
            ("dropped", most(&self.dropped, "")),
        ];
        let cadus = self.cadus.iter().flat_map(Cadus::rows);
        cadus.chain(rows).map(|(name, value)| format!("{name:<17}{value}\n")).collect()
    }
}

/// Entries of a table's row; noise can fill all 2048 APIDs.
const ROW_ENTRIES: usize = 24;

/// The most frequent entries, in their own order.
fn most<K: Ord + Copy + Display>(counts: &BTreeMap<K, u64>, prefix: &str) -> String {
    let mut shown: Vec<(K, u64)> = counts.iter().map(|(key, count)| (*key, *count)).collect();
    shown.sort_by_key(|(_, count)| Reverse(*count));
    shown.truncate(ROW_ENTRIES);
    shown.sort();
    let more = counts.len() - shown.len();
    let entries = shown.iter().map(|(key, count)| format!("{prefix}{key}: {count}"));
    let more = (more > 0).then(|| format!("and {more} more"));
    let text = entries.chain(more).collect::<Vec<_>>().join("  ");
    if text.is_empty() { "none".to_owned() } else { text }
}

/// Reads the file and counts what it holds.
pub fn examine(args: &Args) -> anyhow::Result<Report> {
    let at = || format!("can't read {}", args.file.display());
    let file = File::open(&args.file).with_context(at)?;
    anyhow::ensure!(!file.metadata().with_context(at)?.is_dir(), "{}: it is a folder", at());
    if args.coding.is_none() && args.asm.is_none() {
        let (counts, trailing_bytes) = count(file, args.frame, args.fecf).with_context(at)?;
        return Ok(Report::new(args, counts, trailing_bytes, None));
    }
    let coding = args.coding.unwrap_or(Coding::NONE);
    let marker = args.asm.unwrap_or(Marker::TELEMETRY);
    let length = args.frame.length.with_context(|| {
        format!("--frame {}: marked frames have one length; give it", args.frame)
    })?;
    let mut decoder = CaduDecoder::new(&coding, length, marker)
        .with_context(|| format!("--frame {} and --coding {coding}", args.frame))?;
    let counts = count_cadus(file, args.frame, args.fecf, &mut decoder).with_context(at)?;
    let cadus = Cadus::new(coding.to_string(), marker.to_string(), &decoder);
    Ok(Report::new(args, counts, 0, Some(cadus)))
}

/// Reads the file, prints what it holds on stdout and what is wrong with it on stderr.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = examine(args)?;
    let mut text = match args.json {
        true => serde_json::to_string_pretty(&report)?,
        false => report.table(),
    };
    text.truncate(text.trim_end().len());
    match writeln!(std::io::stdout().lock(), "{text}") {
        // The reader of a pipe had enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.context("can't write to stdout")?,
    }
    Ok(verdict(&args.file, args.frame, &report))
}

/// Whether the file is what the user said it is; if not, says so.
fn verdict(file: &Path, frame: Format, report: &Report) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut wrong = |what: String| {
        eprintln!("{}: {what}", file.display());
        code = ExitCode::FAILURE;
    };
    if let Some(cadus) = &report.cadus {
        if let Some(what) = cadus.verdict() {
            wrong(what);
        }
    } else if report.frames == 0 && report.trailing_bytes == 0 {
        wrong("the file is empty".to_owned());
    }
    if report.trailing_bytes > 0 {
        wrong(format!(
            "{} bytes after the last whole frame: the file is cut, or its frames are not {frame} \
             (see --frame)",
            report.trailing_bytes
        ));
    }
    if report.frames > 0 && report.rejected_frames == report.frames {
        wrong(format!("no frame is {frame}: wrong kind or length (see --frame), or marked frames"));
    }
    code
}

/// Counts a stream of frames; also the bytes after the last whole one.
fn count(mut file: impl Read, frame: Format, fecf: bool) -> std::io::Result<(Counts, u64)> {
    let mut extractor = Extractor::new(FrameConfig::new(frame, fecf));
    let mut counts = Counts::default();
    // Whole frames fill a chunk where they have one length; where they differ, the cut one at its
    // end is carried into the next.
    let chunk_bytes = CHUNK_BYTES.next_multiple_of(frame.max_length());
    let mut carried = Bytes::new();
    loop {
        // A chunk of its own each time: packets in progress hold no slices of the last.
        let mut chunk = BytesMut::zeroed(chunk_bytes);
        let (head, room) = chunk.split_at_mut(carried.len());
        head.copy_from_slice(&carried);
        let filled = carried.len() + fill(&mut file, room)?;
        chunk.truncate(filled);
        let mut rest = chunk.freeze();
        while let Some(length) = frame.extent(&rest).filter(|length| *length <= rest.len()) {
            let bytes = rest.split_to(length);
            extractor.push(&bytes, &mut |event| counts.take(&event));
        }
        // A rest that is no frame, or longer than any, tells no more of where one starts.
        let lost = frame.length.is_none() && rest.len() >= frame.max_length();
        if filled < chunk_bytes || lost {
            return Ok((counts, rest.len() as u64));
        }
        carried = rest;
    }
}

/// Counts the frames of a stream of units; those with a codeword that failed are left out, and
/// show as gaps.
fn count_cadus(
    mut file: impl Read,
    frame: Format,
    fecf: bool,
    decoder: &mut CaduDecoder,
) -> std::io::Result<Counts> {
    let mut extractor = Extractor::new(FrameConfig::new(frame, fecf));
    let mut counts = Counts::default();
    let mut take = |frame: cadu::Frame| {
        if frame.quality.is_good() {
            extractor.push(&frame.bytes, &mut |event| counts.take(&event));
        }
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let filled = fill(&mut file, &mut chunk)?;
        decoder.push(&chunk[..filled], &mut take);
        if filled < chunk.len() {
            decoder.finish(&mut take);
            return Ok(counts);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::frame::aos::{AosBuilder, AosConfig};
    use codecs::ids::Apid;
    use codecs::packet::space::{PacketHeader, SequenceCount, build};

    /// Hands out a few bytes at a time, as a pipe may.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = buffer.len().min(1000);
            (&mut self.0).take(most as u64).read(buffer)
        }
    }

    fn recording(packets: usize) -> Vec<u8> {
        let config = AosConfig::new(100);
        let mut builder = AosBuilder::new(config, 71, 0, 0).unwrap();
        let mut recording = Vec::new();
        for _ in 0..packets {
            let header = PacketHeader::telemetry(Apid(5), SequenceCount(0));
            let packet = build(&header, &[0xA5; 44]).unwrap();
            builder.push(&packet, &mut |frame| recording.extend_from_slice(&frame)).unwrap();
        }
        builder.flush(&mut |frame| recording.extend_from_slice(&frame));
        recording
    }

    #[test]
    fn chunks_and_short_reads_change_nothing() {
        let frame: Format = "aos:100".parse().unwrap();
        let mut recording = recording(40_000);
        assert!(recording.len() > 2 * CHUNK_BYTES, "several chunks");
        recording.extend_from_slice(&[0x40; 37]);
        let (counts, trailing) = count(&recording[..], frame, false).unwrap();
        assert_eq!((counts.packets - counts.idle_packets, counts.gaps), (40_000, 0));
        assert_eq!(trailing, 37);
        assert_eq!(count(Trickle(&recording), frame, false).unwrap(), (counts, trailing));
    }

    #[test]
    fn the_table_names_everything_once() {
        let args = Args {
            frame: "aos:100".parse().unwrap(),
            fecf: false,
            coding: None,
            asm: None,
            json: false,
            file: "pass.aos100".into(),
        };
        let (counts, trailing) = count(&recording(3)[..], args.frame, false).unwrap();
        let table = Report::new(&args, counts, trailing, None).table();
        assert!(table.contains("frames           2 of aos:100\n"), "{table}");
        assert!(table.contains("  by APID        5: 3  2047: 1\n"), "{table}");
        assert!(table.contains("dropped          none\n"), "{table}");
    }
    #[test]
    fn rows_of_noise_are_cut() {
        let counts: BTreeMap<u16, u64> = (0..100).map(|apid| (apid, u64::from(apid))).collect();
        let row = most(&counts, "");
        assert!(row.starts_with("76: 76  77: 77") && row.ends_with("99: 99  and 76 more"), "{row}");
    }
}
