//! `onboard squeeze` and `unsqueeze`: the flight codec on files, byte for byte.

mod files;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use codecs::squeeze::columns::{Level, MAX_BLOCK_PACKETS, unsqueeze as open};

use crate::squeeze::{
    explain::Explanation,
    file::{
        Announced, FILE_HEADER, FileError, LOOK_AHEAD_BYTES, SEGMENT_BYTES, SEGMENT_HEADER_BYTES,
        Squeezing, announced, end, unsqueeze_segment,
    },
};
use files::{Input, Output};

/// Entropy stage.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Effort {
    Fast,
    Dense,
}

/// What to squeeze.
#[derive(Debug, Args)]
pub struct SqueezeArgs {
    /// Packets of one block, 1 to 4096
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=MAX_BLOCK_PACKETS as i64))]
    block_packets: u16,
    /// Entropy stage: `dense` is smaller, `fast` some ten times as fast
    #[arg(long, value_enum, default_value_t = Effort::Dense)]
    level: Effort,
    /// Tells how each column was written
    #[arg(long)]
    explain: bool,
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
    /// File of space packets behind one another; what is none is kept as it is
    input: PathBuf,
    /// File to write
    output: PathBuf,
}

/// What to give back.
#[derive(Debug, Args)]
pub struct UnsqueezeArgs {
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
    /// Squeezed file
    input: PathBuf,
    /// File to write: the very bytes that were squeezed
    output: PathBuf,
}

/// What went through.
#[derive(Default)]
struct Totals {
    packets: usize,
    stray_bytes: usize,
    plain_bytes: u64,
    squeezed_bytes: u64,
}

/// Which way, and what is to be explained.
#[derive(Clone, Copy)]
enum Done<'a> {
    Squeezed(Option<&'a Explanation>),
    Unsqueezed,
}

impl Totals {
    fn tell(&self, json: bool, done: Done<'_>) -> anyhow::Result<()> {
        let Self { packets, stray_bytes, plain_bytes, squeezed_bytes } = self;
        let ratio = *plain_bytes as f64 / (*squeezed_bytes).max(1) as f64;
        let told = match done {
            Done::Squeezed(explanation) => explanation.map(Explanation::told),
            Done::Unsqueezed => None,
        };
        if json {
            let mut document = serde_json::json!({
                "packets": packets, "stray_bytes": stray_bytes, "plain_bytes": plain_bytes,
                "squeezed_bytes": squeezed_bytes, "ratio": ratio,
            });
            if let Some(told) = told {
                document["explained"] = serde_json::to_value(told)?;
            }
            say!("{document}");
            return Ok(());
        }
        for source in told.into_iter().flatten() {
            say!("{source}\n");
        }
        let bytes = match done {
            Done::Squeezed(_) => format!("{plain_bytes} bytes squeezed to {squeezed_bytes}"),
            Done::Unsqueezed => format!("{squeezed_bytes} bytes unsqueezed to {plain_bytes}"),
        };
        say!("{packets} packets in blocks, {stray_bytes} bytes beside; {bytes}: {ratio:.2}x");
        Ok(())
    }
}

/// Squeezes a file.
pub fn squeeze(args: &SqueezeArgs) -> anyhow::Result<()> {
    let mut input = Input::open(&args.input, "squeezing")?;
    let mut output = Output::create(&args.output)?;
    let level = match args.level {
        Effort::Fast => Level::Fast,
        Effort::Dense => Level::Dense,
    };
    let block_packets = args.block_packets.into();
    let squeezing = Squeezing { block_packets, level, segment_bytes: SEGMENT_BYTES };
    let mut explanation = args.explain.then(Explanation::default);
    let ends = FILE_HEADER.len() + SEGMENT_HEADER_BYTES;
    let mut totals = Totals { squeezed_bytes: ends as u64, ..Totals::default() };
    output.write(&FILE_HEADER)?;
    let mut plain = Vec::new();
    loop {
        let last = !input.fill(&mut plain, SEGMENT_BYTES + LOOK_AHEAD_BYTES)?;
        if plain.is_empty() {
            break;
        }
        let at = || format!("{}: segment at byte {}", args.input.display(), totals.plain_bytes);
        let segment = squeezing.segment(&plain, last).with_context(at)?;
        output.write(&segment.bytes)?;
        for (apid, block) in &segment.blocks {
            totals.packets += open(block, usize::MAX)?.count();
            if let Some(explanation) = &mut explanation {
                explanation.add(*apid, block)?;
            }
        }
        totals.stray_bytes += segment.stray_bytes;
        totals.plain_bytes += segment.consumed as u64;
        totals.squeezed_bytes += segment.bytes.len() as u64;
        plain.drain(..segment.consumed);
    }
    output.write(&end(totals.plain_bytes))?;
    output.finish()?;
    input.done();
    totals.tell(args.json, Done::Squeezed(explanation.as_ref()))
}

/// Gives the bytes of a squeezed file back.
pub fn unsqueeze(args: &UnsqueezeArgs) -> anyhow::Result<()> {
    let mut input = Input::open(&args.input, "unsqueezing")?;
    let mut output = Output::create(&args.output)?;
    let name = args.input.display();
    let mut header = Vec::new();
    input.fill(&mut header, FILE_HEADER.len())?;
    ensure!(header == FILE_HEADER, "{name}: {}", FileError::Magic);
    let mut totals = Totals::default();
    let plain_bytes = loop {
        let at = input.position();
        let mut header = Vec::new();
        input.fill(&mut header, SEGMENT_HEADER_BYTES)?;
        let header = header.first_chunk().with_context(|| {
            format!(
                "{name}: cut short at byte {at}: the first {} bytes of what was squeezed are whole",
                totals.plain_bytes
            )
        })?;
        let place = || format!("{name}: segment at byte {at}");
        let (length, plain, crc) = match announced(header).with_context(place)? {
            Announced::Segment { parts, plain, crc } => (parts, plain, crc),
            Announced::End { plain } => break plain,
        };
        let mut parts = Vec::new();
        input.fill(&mut parts, length)?;
        if parts.len() < length {
            bail!("{name}: segment at byte {at} is cut short, {} of {length} bytes", parts.len());
        }
        let whole = unsqueeze_segment(&parts, plain, crc).with_context(place)?;
        output.write(&whole.bytes)?;
        totals.packets += whole.packets;
        totals.plain_bytes += whole.bytes.len() as u64;
        totals.stray_bytes += whole.stray_bytes;
    };
    let came = totals.plain_bytes;
    ensure!(came == plain_bytes, "{name}: {came} bytes are in it, its end says {plain_bytes}");
    totals.squeezed_bytes = input.position();
    ensure!(
        !input.fill(&mut header, FILE_HEADER.len() + 1)?,
        "{name}: bytes behind its end, from byte {}",
        totals.squeezed_bytes
    );
    output.finish()?;
    input.done();
    totals.tell(args.json, Done::Unsqueezed)
}
