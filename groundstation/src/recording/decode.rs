//! `groundstation decode`: the packets, units or frames of a recording, in a file.

use super::input::{FileId, Input};
use super::source::Source;
use super::{read, tell, with_usage};
use anyhow::Context as _;
use bytes::Bytes;
use codecs::frame::VirtualChannel;
use codecs::frame::extract::{Erred, Event, Extractor};
use codecs::packet::Protocol;
use codecs::packet::space::PacketView;
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Take the packets or frames out of a recording
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    groundstation decode --frame aos:1113 pass.aos1113 --out pass.packets\n  \
    groundstation decode --guess pass.bin --apid 802 --out - | my-tool\n  \
    groundstation decode --frame aos:892 --coding rs:223:i4:dual,randomized pass.cadu \
    --what frames --out pass.aos892\n  \
    groundstation decode --frame tm:1115 pass.tm1115 --lines --out packets.jsonl\n\n\
    Exit codes: 0 done, 1 the file can't be read, or nothing in it fits, 2 wrong usage.")]
pub struct Args {
    /// The recording.
    #[command(flatten)]
    pub source: Source,
    /// Where to write; - is standard output. An existing file is left alone without --force
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
    /// What to write, end to end
    #[arg(long, value_enum, default_value = "packets")]
    pub what: What,
    /// One JSON object a line instead: where it came from, what it is, and its bytes in hexadecimal
    #[arg(long)]
    pub lines: bool,
    /// Only this virtual channel; may be given again
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(..64))]
    pub vc: Vec<u8>,
    /// Only this application; may be given again
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(..2048))]
    pub apid: Vec<u16>,
    /// Also what frames whose CRC failed contributed to, marked in --lines; frames that a code could
    /// not correct are never used
    #[arg(long)]
    pub erred: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// Space and encapsulation packets, without those that only fill.
    Packets,
    /// What channels carry that is no packet: bit streams, octet streams, units of the mission.
    Units,
    /// Whole frames, corrected, idle ones included.
    Frames,
}

/// What was written and what was not.
#[derive(Debug, Default)]
struct Tally {
    written: u64,
    bytes: u64,
    passed_over: u64,
    idle: u64,
    erred: u64,
    gaps: u64,
    dropped: u64,
    rejected: u64,
}

/// A line of `--lines`.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    apid: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_count: Option<u16>,
    length: usize,
    erred: bool,
    hex: String,
}

/// Where something was.
#[derive(Clone, Copy, Serialize)]
struct Place {
    scid: u16,
    vc: u8,
    map: u8,
    /// Which frame of the recording completed it, from 0.
    frame: u64,
}

/// Writes what was asked for, and says on stderr what was left out.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    with_usage(decode(args))
}

fn decode(args: &Args) -> anyhow::Result<ExitCode> {
    let mut input = Input::open(&args.source.file)?;
    let mut sink = Sink::create(&args.out, args.force, args.lines, input.file())?;
    let setup = args.source.setup(&mut input)?;
    let mut extractor = Extractor::new(setup.frames.clone()).with_erred(Erred::Use);
    let (mut tally, mut frame, mut failed) = (Tally::default(), 0, None);
    let mut take = |bytes: &Bytes| {
        extractor.push(bytes, &mut |event| {
            if failed.is_none() {
                failed = tally.take(&event, bytes, frame, args, &mut sink).err();
            }
        });
        frame += 1;
    };
    let read = read::frames(input, &args.source, &setup, &mut take)?;
    if let Some(error) = failed {
        // The reader of a pipe had enough; of a file, the disk.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Ok(ExitCode::SUCCESS);
        }
        return Err(error).with_context(|| format!("can't write {}", args.out.display()));
    }
    // What nothing was found for replaces nothing.
    if tally.written > 0 {
        sink.finish().with_context(|| format!("can't write {}", args.out.display()))?;
    }
    tally.tell(args, &read);
    Ok(if tally.written == 0 || read.trailing_bytes > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

impl Tally {
    fn take(
        &mut self,
        event: &Event,
        whole: &Bytes,
        frame: u64,
        args: &Args,
        sink: &mut Sink,
    ) -> std::io::Result<()> {
        let place = |channel: &VirtualChannel| Place {
            scid: channel.scid,
            vc: channel.vcid,
            map: channel.map,
            frame,
        };
        match event {
            Event::Frame { channel, erred, .. } if args.what == What::Frames => {
                self.offer(place(channel), None, whole, *erred, args, sink)
            }
            Event::Packet { channel, protocol, bytes, erred, .. } if args.what == What::Packets => {
                let space = *protocol == Protocol::Space;
                let packet = PacketView::parse(bytes).ok().filter(|_| space);
                self.offer(place(channel), packet, bytes, *erred, args, sink)
            }
            Event::Unit { channel, bytes, erred, .. } if args.what == What::Units => {
                self.offer(place(channel), None, bytes, *erred, args, sink)
            }
            Event::Idle { .. } => {
                self.idle += 1;
                Ok(())
            }
            Event::Gap { .. } => {
                self.gaps += 1;
                Ok(())
            }
            Event::Dropped { .. } => {
                self.dropped += 1;
                Ok(())
            }
            Event::Rejected(_) => {
                self.rejected += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn offer(
        &mut self,
        place: Place,
        packet: Option<PacketView<'_>>,
        bytes: &[u8],
        erred: bool,
        args: &Args,
        sink: &mut Sink,
    ) -> std::io::Result<()> {
        let apid = packet.map(|packet| packet.apid().0);
        let wanted = (args.vc.is_empty() || args.vc.contains(&place.vc))
            && (args.apid.is_empty() || apid.is_some_and(|apid| args.apid.contains(&apid)));
        if !wanted {
            self.passed_over += 1;
            return Ok(());
        }
        if erred {
            self.erred += 1;
            if !args.erred {
                return Ok(());
            }
        }
        self.written += 1;
        self.bytes += bytes.len() as u64;
        if !args.lines {
            return sink.out.write_all(bytes);
        }
        let sequence_count = packet.map(|packet| packet.sequence_count().0);
        let mut hex = String::with_capacity(2 * bytes.len());
        bytes.iter().for_each(|byte| _ = write!(hex, "{byte:02x}"));
        let line = Line { place, apid, sequence_count, length: bytes.len(), erred, hex };
        serde_json::to_writer(&mut sink.out, &line)?;
        sink.out.write_all(b"\n")
    }

    fn tell(&self, args: &Args, read: &read::Tally) {
        let what = match args.what {
            What::Packets => "packets",
            What::Units => "units",
            What::Frames => "frames",
        };
        let file = args.source.file.display();
        tell(&format!("{file}: {} {what}, {} bytes", self.written, self.bytes));
        let failed = read.decoder.as_ref().map_or(0, read::Decoder::failed_frames);
        let erred = if args.erred { "from erred frames, written" } else { "from erred frames" };
        let rows = [
            (self.passed_over, "of other channels or applications"),
            (self.erred, erred),
            (self.idle, "that only fill"),
            (self.dropped, "cut or contradicted"),
            (self.gaps, "gaps in frame counts"),
            (self.rejected, "frames of another kind"),
            (failed, "frames that the code could not correct"),
            (read.trailing_bytes, "bytes after the last whole frame"),
        ];
        for (count, what) in rows.iter().filter(|(count, _)| *count > 0) {
            tell(&format!("{count:>9} {what}"));
        }
        if self.written == 0 {
            eprintln!(
                "nothing written: inspect shows what the file holds, --guess tries what fits"
            );
        }
    }
}

/// Where it goes: a file that appears under its name when it is whole, or standard output.
struct Sink {
    out: BufWriter<Box<dyn Write>>,
    /// What the file is called until then, and its name.
    partial: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    fn create(out: &Path, force: bool, text: bool, input: Option<FileId>) -> anyhow::Result<Self> {
        if out == Path::new("-") {
            let stdout = std::io::stdout();
            anyhow::ensure!(
                text || !stdout.is_terminal(),
                "packets are not for a terminal: name a file with --out, or say --lines"
            );
            return Ok(Self { out: BufWriter::new(Box::new(stdout)), partial: None });
        }
        let at = || format!("can't write {}", out.display());
        if let Ok(existing) = std::fs::metadata(out) {
            anyhow::ensure!(!existing.is_dir(), "{}: it is a folder", at());
            let own = FileId::of(&existing);
            anyhow::ensure!(own.is_none() || own != input, "{}: it is the recording itself", at());
            anyhow::ensure!(
                force || own.is_none(),
                "{} exists: name another file, or say --force",
                out.display()
            );
            if own.is_none() {
                // A pipe or a device is written to, not replaced.
                let file = File::create(out).with_context(at)?;
                return Ok(Self { out: BufWriter::new(Box::new(file)), partial: None });
            }
        }
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let partial = out.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let file = File::create_new(&partial).with_context(at)?;
        let out = out.to_owned();
        Ok(Self { out: BufWriter::new(Box::new(file)), partial: Some((partial, out)) })
    }

    fn finish(mut self) -> std::io::Result<()> {
        self.out.flush()?;
        if let Some((partial, out)) = &self.partial {
            std::fs::rename(partial, out)?;
            self.partial = None;
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some((partial, _)) = self.partial.take() {
            let _ = std::fs::remove_file(partial);
        }
    }
}
