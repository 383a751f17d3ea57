//! `groundstation inspect`: what a recording of frames holds.
//!
//! The counting is [`codecs::frame::counts`]; here are the table and the document.

mod applications;
mod cadus;
mod cltus;

use self::applications::{Application, Applications, PacketCrc};
use self::cadus::Cadus;
use self::cltus::Cltus;
use super::guess::{NotGuessed, Told};
use super::input::Input;
use super::source::{Setup, Source};
use super::{read, tell, with_usage};
use crate::shell::output::say;
use bytes::Bytes;
use codecs::frame::counts::Counts;
use codecs::frame::extract::Extractor;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::ExitCode;

/// Look into a recording of transfer frames
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    groundstation inspect --guess pass.bin\n  \
    groundstation inspect --frame aos:1113 pass.aos1113\n  \
    groundstation inspect --frame aos:1115 --fecf --json pass.aos1115\n  \
    groundstation inspect --frame aos:892 --coding rs:223:i4:dual,randomized pass.cadu\n  \
    groundstation inspect --frame tm:1115 --coding conv:1/2,rs:223:i5:dual --symbols soft pass.s8\n  \
    groundstation inspect --frame tc --fecf commands.tc\n\n\
    Exit codes: 0 done, 1 the file can't be read or holds no such frames, 2 wrong usage.")]
pub struct Args {
    /// The recording.
    #[command(flatten)]
    pub source: Source,
    /// Packets end in a CRC-16: check it in all of them, or in those of these applications
    #[arg(
        long,
        value_name = "APID,APID",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all"
    )]
    pub packet_crc: Option<PacketCrc>,
    /// Print one JSON document instead of the table
    #[arg(long)]
    pub json: bool,
}

/// The document of `--json`; names and meanings are those of [`Counts`].
#[derive(Debug, Serialize)]
pub struct Report {
    file: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    guesses: Vec<Told>,
    frame: String,
    frames: u64,
    virtual_channels: BTreeMap<u8, u64>,
    spacecraft: BTreeMap<u16, u64>,
    gaps: u64,
    lost_frames: u64,
    /// Whether the CRC of frames was looked at.
    frame_crc_checked: bool,
    erred_frames: u64,
    rejected_frames: u64,
    corrected_headers: u64,
    trailing_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cadus: Option<Cadus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cltus: Option<Cltus>,
    first_header_pointer: Pointers,
    packets: u64,
    idle_packets: u64,
    spanning_packets: u64,
    truncated_packets: u64,
    erred_packets: u64,
    encapsulation_packets: u64,
    control_frames: u64,
    units: u64,
    unit_bytes: u64,
    spanning_units: u64,
    erred_units: u64,
    apids: u64,
    packets_by_apid: BTreeMap<u16, u64>,
    applications: Vec<Application>,
    /// Whether the CRC of packets was looked at.
    packet_crc_checked: bool,
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
    fn new(
        source: &Source,
        setup: &Setup,
        (counts, applications): (Counts, Applications),
        tally: read::Tally,
    ) -> Self {
        let pointers = counts.first_header_pointer;
        let (cadus, cltus) = match &tally.decoder {
            Some(read::Decoder::Cadus(decoder)) => (Cadus::new(setup, decoder), None),
            Some(read::Decoder::Cltus(decoder)) => (None, Cltus::new(setup, decoder)),
            None => (None, None),
        };
        Self {
            file: source.file.display().to_string(),
            guesses: setup.guesses.iter().map(Told::new).collect(),
            frame: setup.frames.format().to_string(),
            frames: counts.frames,
            virtual_channels: counts.virtual_channels,
            spacecraft: counts.spacecraft,
            gaps: counts.gaps,
            lost_frames: counts.lost_frames,
            frame_crc_checked: setup.checks_frames(),
            erred_frames: counts.erred_frames,
            rejected_frames: counts.rejected_frames,
            corrected_headers: counts.corrected_headers,
            trailing_bytes: tally.trailing_bytes,
            cadus,
            cltus,
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
            control_frames: counts.control_frames,
            units: counts.units,
            unit_bytes: counts.unit_bytes,
            spanning_units: counts.spanning_units,
            erred_units: counts.erred_units,
            apids: counts.apids.len() as u64,
            packets_by_apid: counts.apids,
            packet_crc_checked: applications.checks_crc(),
            applications: applications.finish(),
            bytes: counts.bytes,
            longest_packet: counts.longest_packet,
            dropped: counts.dropped,
        }
    }

    fn frame_crc(&self) -> String {
        match self.frame_crc_checked {
            true => self.erred_frames.to_string(),
            false => "not checked (see --fecf)".to_owned(),
        }
    }

    fn packet_crc(&self) -> String {
        match self.packet_crc_checked {
            true => applications::crc_failed(&self.applications).to_string(),
            false => "not checked (see --packet-crc)".to_owned(),
        }
    }

    fn table(&self) -> String {
        let pointers = &self.first_header_pointer;
        let rows = [
            ("frames", format!("{} of {}", self.frames, self.frame)),
            ("  rejected", self.rejected_frames.to_string()),
            ("  CRC failed", self.frame_crc()),
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
            ("  erred", self.erred_packets.to_string()),
            ("  sequence", applications::sequence(&self.applications)),
            ("  CRC failed", self.packet_crc()),
            ("  groups", applications::groups(&self.applications)),
            ("units", format!("{} ({} bytes)", self.units, self.unit_bytes)),
            ("control frames", self.control_frames.to_string()),
            ("truncated", self.truncated_packets.to_string()),
            ("dropped", most(&self.dropped, "")),
        ];
        let guesses: String = self.guesses.iter().map(Told::text).collect();
        let cadus = self.cadus.iter().flat_map(Cadus::rows);
        let cltus = self.cltus.iter().flat_map(Cltus::rows);
        let rows =
            cadus.chain(cltus).chain(rows).map(|(name, value)| format!("{name:<17}{value}\n"));
        guesses + &rows.collect::<String>()
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
pub fn examine(source: &Source, packet_crc: Option<&PacketCrc>) -> anyhow::Result<Report> {
    let mut input = Input::open(&source.file)?;
    let setup = source.setup(&mut input)?;
    let mut extractor = Extractor::new(setup.frames.clone());
    let (mut counts, mut applications) = (Counts::default(), Applications::new(packet_crc));
    let mut take = |frame: &Bytes| {
        extractor.push(frame, &mut |event| {
            counts.take(&event);
            applications.take(&event);
        });
    };
    let tally = read::frames(input, source, &setup, &mut take)?;
    Ok(Report::new(source, &setup, (counts, applications), tally))
}

/// Reads the file, prints what it holds on stdout and what is wrong with it on stderr.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    with_usage(examine(&args.source, args.packet_crc.as_ref()).map_or_else(
        |error| {
            if let Some(told) = error.downcast_ref::<NotGuessed>().filter(|_| args.json) {
                say(&serde_json::to_string_pretty(&told.document())?);
            }
            Err(error)
        },
        |report| {
            let text = match args.json {
                true => serde_json::to_string_pretty(&report)?,
                false => report.table(),
            };
            say(text.trim_end());
            Ok(report.verdict())
        },
    ))
}

impl Report {
    /// Whether the file is what the user said it is; if not, says so.
    pub(super) fn verdict(&self) -> ExitCode {
        let mut code = ExitCode::SUCCESS;
        let mut wrong = |what: String| {
            tell(&format!("{}: {what}", self.file));
            code = ExitCode::FAILURE;
        };
        if let Some(cadus) = &self.cadus {
            if let Some(what) = cadus.verdict() {
                wrong(what);
            }
        } else if let Some(cltus) = &self.cltus {
            if let Some(what) = cltus.verdict() {
                wrong(what);
            }
        } else if self.frames == 0 && self.trailing_bytes == 0 {
            wrong("the file is empty".to_owned());
        }
        if self.trailing_bytes > 0 {
            let (bytes, frame) = (self.trailing_bytes, &self.frame);
            wrong(format!(
                "{bytes} bytes after the last whole frame: the file is cut, or its frames are not \
                 {frame} (see --frame)"
            ));
        }
        if self.frames > 0 && self.rejected_frames == self.frames {
            wrong(format!(
                "no frame is {}: wrong kind or length (see --frame), or marked frames (see \
                 --coding); --guess tries what fits",
                self.frame
            ));
        }
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::frame::aos::{AosBuilder, AosConfig};
    use codecs::ids::Apid;
    use codecs::packet::space::{PacketHeader, SequenceCount, build};

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
    fn the_table_names_everything_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pass.aos100");
        std::fs::write(&file, recording(3)).unwrap();
        let source = Source::frames("aos:100".parse().unwrap(), file);
        let table = examine(&source, None).unwrap().table();
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
