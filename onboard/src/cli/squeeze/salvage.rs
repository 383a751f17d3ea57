//! `onboard unsqueeze --salvage`: what is whole of a damaged file, and what is not, by its place.

use anyhow::{bail, ensure};
use serde::Serialize;

use super::{
    UnsqueezeArgs,
    files::{Input, Output},
};
use crate::squeeze::{
    file::{
        Announced, FILE_HEADER, FileError, PARTS_BYTES_MAX, SEGMENT_HEADER_BYTES, announced,
        unsqueeze_segment,
    },
    salvage::salvage,
};

/// Places that are told one by one.
const HOLES_TOLD: usize = 1000;

/// A stretch of the squeezed file that gave nothing.
#[derive(Debug, PartialEq, Serialize)]
struct Hole {
    /// Where its segment begins; where the header before was damaged, the first byte behind it.
    segment: u64,
    /// Its first byte in the file.
    from: u64,
    /// The byte behind it.
    to: u64,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Told {
    packets: usize,
    /// Bytes written.
    plain_bytes: u64,
    /// Bytes of the file before it was squeezed, where its end says so.
    stated_bytes: Option<u64>,
    /// Bytes that are missing, where that can be told: of segments, or by the end.
    lost_bytes: u64,
    places: u64,
    damaged: Vec<Hole>,
}

impl Told {
    fn hole(&mut self, segment: u64, from: u64, to: u64) {
        self.places += 1;
        if self.damaged.len() < HOLES_TOLD {
            self.damaged.push(Hole { segment, from, to });
        }
    }

    fn wrote(&mut self, packets: usize, bytes: usize) {
        self.packets += packets;
        self.plain_bytes += bytes as u64;
    }
}

/// Writes what is whole.
///
/// # Errors
/// Anything is damaged: what, after what is whole was written.
pub fn run(args: &UnsqueezeArgs) -> anyhow::Result<()> {
    let mut input = Input::open(&args.input, "unsqueezing")?;
    let mut output = Output::create(&args.output, &args.input)?;
    let name = args.input.display();
    let mut header = Vec::new();
    input.fill(&mut header, FILE_HEADER.len())?;
    ensure!(header == FILE_HEADER, "{name}: {}", FileError::Magic);
    let mut told = Told::default();
    loop {
        let at = input.position();
        let mut header = Vec::new();
        input.fill(&mut header, SEGMENT_HEADER_BYTES)?;
        match header.first_chunk().map(announced) {
            Some(Ok(Announced::Segment { parts, plain, crc })) => {
                let mut bytes = Vec::new();
                let whole = input.fill(&mut bytes, parts)?;
                if let (true, Ok(segment)) = (whole, unsqueeze_segment(&bytes, plain, crc)) {
                    output.write(&segment.bytes)?;
                    told.wrote(segment.packets, segment.bytes.len());
                    continue;
                }
                if !whole {
                    // Cut, or a length that is damaged: then more segments lie in it.
                    header.append(&mut bytes);
                    search(header, at, &mut input, &mut output, &mut told)?;
                    break;
                }
                let found = salvage(&bytes, true);
                output.write(&found.bytes)?;
                told.wrote(found.packets, found.bytes.len());
                told.lost_bytes += plain.saturating_sub(found.bytes.len()) as u64;
                let first = at + SEGMENT_HEADER_BYTES as u64;
                for hole in found.holes {
                    told.hole(at, first + hole.start as u64, first + hole.end as u64);
                }
            }
            Some(Ok(Announced::End { plain })) if input.is_through()? => {
                told.stated_bytes = Some(plain);
                break;
            }
            None => {
                told.hole(at, at, at + header.len() as u64);
                break;
            }
            // Nobody knows where the next segment begins: all that follows is looked through.
            Some(_) => {
                search(header, at, &mut input, &mut output, &mut told)?;
                break;
            }
        }
    }
    if let Some(stated) = told.stated_bytes {
        told.lost_bytes = stated.saturating_sub(told.plain_bytes);
    }
    output.finish()?;
    input.done();
    tell(args, &told)
}

/// Looks through the rest of the file.
fn search(
    mut bytes: Vec<u8>,
    segment: u64,
    input: &mut Input,
    output: &mut Output,
    told: &mut Told,
) -> anyhow::Result<()> {
    let mut at = segment;
    loop {
        let last = !input.fill(&mut bytes, 2 * PARTS_BYTES_MAX)?;
        if last && let Some(end) = bytes.last_chunk() {
            // The end stands alone as well, as far as it can: no later segment is of zero bytes.
            if let Ok(Announced::End { plain }) = announced(end) {
                told.stated_bytes = Some(plain).filter(|plain| *plain >= told.plain_bytes);
            }
        }
        let found = salvage(&bytes, last);
        output.write(&found.bytes)?;
        told.wrote(found.packets, found.bytes.len());
        for hole in &found.holes {
            told.hole(segment, at + hole.start as u64, at + hole.end as u64);
        }
        at += found.consumed as u64;
        bytes.drain(..found.consumed);
        if last {
            return Ok(());
        }
    }
}

fn tell(args: &UnsqueezeArgs, told: &Told) -> anyhow::Result<()> {
    if args.json {
        say!("{}", serde_json::to_string(told)?);
    } else {
        for Hole { segment, from, to } in &told.damaged {
            say!("segment at byte {segment}: nothing whole from byte {from} to {to}");
        }
        say!("{} packets in blocks; {} bytes written", told.packets, told.plain_bytes);
    }
    let (places, lost, name) = (told.places, told.lost_bytes, args.input.display());
    match told.stated_bytes {
        Some(_) if places == 0 && lost == 0 => Ok(()),
        Some(stated) => bail!(
            "{name}: damaged in {places} places: {lost} of {stated} bytes are lost; what is whole is \
             in {}, packets of damaged segments in the order of their blocks",
            args.output.display()
        ),
        None => bail!(
            "{name}: damaged in {places} places, and its end is missing: {lost} bytes are lost of \
             the segments that are there, and whatever followed; what is whole is in {}",
            args.output.display()
        ),
    }
}
