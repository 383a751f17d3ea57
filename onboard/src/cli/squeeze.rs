//! `onboard squeeze` and `unsqueeze`: the flight codec on files.
//!
//! A squeezed file is a run of blocks, each behind its length as four bytes, big-endian. Packets of
//! one APID keep their order; between APIDs the order is that of the blocks.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use codecs::{
    ids::Apid,
    squeeze::columns::{Level, MAX_BLOCK_BYTES, MAX_BLOCK_PACKETS, unsqueeze as open},
    time::Tai,
};

use crate::squeeze::Squeezer;

/// Entropy stage.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Effort {
    Fast,
    Dense,
}

/// What to squeeze.
#[derive(Debug, Args)]
pub struct SqueezeArgs {
    /// Packets of one block
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=MAX_BLOCK_PACKETS as i64))]
    block_packets: u16,
    /// Entropy stage: `dense` is smaller, `fast` some twenty times as fast
    #[arg(long, value_enum, default_value_t = Effort::Dense)]
    level: Effort,
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
    /// File of space packets behind one another
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
    /// File of space packets to write
    output: PathBuf,
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    let bytes = std::fs::read(path).with_context(|| format!("{}: can't read", path.display()))?;
    Ok(bytes.into())
}

fn create(path: &Path) -> anyhow::Result<std::io::BufWriter<std::fs::File>> {
    let file = std::fs::File::create(path);
    Ok(std::io::BufWriter::new(file.with_context(|| format!("{}: can't write", path.display()))?))
}

fn tell(json: bool, packets: usize, plain: usize, squeezed: usize) -> anyhow::Result<()> {
    let ratio = plain as f64 / squeezed.max(1) as f64;
    if json {
        let document = serde_json::json!({
            "packets": packets, "packet_bytes": plain, "squeezed_bytes": squeezed, "ratio": ratio,
        });
        say!("{document}");
    } else {
        say!("{packets} packets, {plain} bytes, squeezed {squeezed} bytes: {ratio:.2}x");
    }
    Ok(())
}

/// Squeezes a file.
pub fn squeeze(args: &SqueezeArgs) -> anyhow::Result<()> {
    let input = read(&args.input)?;
    let mut output = create(&args.output)?;
    let level = match args.level {
        Effort::Fast => Level::Fast,
        Effort::Dense => Level::Dense,
    };
    let mut squeezer = Squeezer::new(args.block_packets.into(), u64::MAX, level);
    let (mut offset, mut packets, mut squeezed) = (0, 0, 0);
    let mut write = |blocks: Vec<crate::squeeze::Block>| -> anyhow::Result<()> {
        for block in blocks {
            output.write_all(&(block.bytes.len() as u32).to_be_bytes())?;
            output.write_all(&block.bytes)?;
            squeezed += block.bytes.len() + 4;
        }
        Ok(())
    };
    while offset < input.len() {
        let rest = input.slice(offset..);
        let whole = rest.first_chunk::<6>().and_then(|[id, low, _, _, length @ ..]| {
            let length = usize::from(u16::from_be_bytes(*length)) + 7;
            let apid = Apid(u16::from_be_bytes([id & 7, *low]));
            (length <= rest.len()).then(|| (apid, rest.slice(..length)))
        });
        let Some((apid, packet)) = whole else {
            anyhow::bail!(
                "{}: no whole space packet at byte {offset}; is this a file of packets?",
                args.input.display()
            );
        };
        offset += packet.len();
        packets += 1;
        write(squeezer.push(apid, packet, Tai(0), 0.0, 0)?)?;
    }
    write(squeezer.flush(u64::MAX)?)?;
    output.flush()?;
    tell(args.json, packets, input.len(), squeezed)?;
    Ok(())
}

/// Gives the packets of a squeezed file back.
pub fn unsqueeze(args: &UnsqueezeArgs) -> anyhow::Result<()> {
    let input = read(&args.input)?;
    let mut output = create(&args.output)?;
    let (mut offset, mut packets, mut plain) = (0, 0, 0);
    while offset < input.len() {
        let rest = input.slice(offset..);
        let length = rest.first_chunk::<4>().map(|field| u32::from_be_bytes(*field) as usize);
        let block = length.and_then(|length| rest.get(4..4 + length));
        let block = block.with_context(|| {
            format!("{}: block at byte {offset} is cut short", args.input.display())
        })?;
        let opened = open(block, MAX_BLOCK_BYTES)
            .with_context(|| format!("{}: block at byte {offset}", args.input.display()))?;
        output.write_all(&opened.data)?;
        offset += 4 + block.len();
        packets += opened.count();
        plain += opened.data.len();
    }
    output.flush()?;
    ensure!(packets > 0 || input.is_empty(), "{}: no packets", args.input.display());
    tell(args.json, packets, plain, input.len())?;
    Ok(())
}
