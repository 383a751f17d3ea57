//! Measures the codecs of samples on files of pixels: size, and speed of one core.
//!
//! ```text
//! cargo run --release -p codecs --example sample_codecs -- [--error E] NAME.WxHxBxN.raw...
//! ```
//!
//! Files hold unsigned samples of two bytes, low byte first, band after band: W wide, H high, B
//! bands of N bits. For each it prints `file codec bytes encode decode`, the speeds in MB/s of raw
//! samples (one byte for up to 8 bits, else two), medians of the rounds. What is decoded is compared
//! with what was read. `tools/measure-tiles` makes such files and puts peers beside.

use codecs::squeeze::image::{self, Shape};
use codecs::squeeze::rice::{self, Layout, Order, RiceConfig};
use std::path::Path;
use std::process::ExitCode;

/// A round takes at least so many samples, so that the clock's grain is nothing.
const ROUND_SAMPLES: usize = 2_000_000;
const ROUNDS: usize = 5;

/// Processor time of this process where the system tells it to the nanosecond, else the clock's:
/// a busy machine takes wall time from one codec and not from another.
fn now_s() -> f64 {
    let told = std::fs::read_to_string("/proc/self/schedstat");
    let spent = told.ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    spent.map_or_else(
        || std::time::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64()),
        |nanoseconds| nanoseconds / 1e9,
    )
}

/// Result of the last run and median seconds of one.
fn timed<T>(samples: usize, mut run: impl FnMut() -> T) -> (T, f64) {
    let repeats = ROUND_SAMPLES.div_ceil(samples.max(1));
    let mut result = run();
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = now_s();
            for _ in 0..repeats {
                result = run();
            }
            (now_s() - start) / repeats as f64
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    (result, seconds[ROUNDS / 2])
}

/// Width, height, bands and bits from the end of a file's name.
fn shape_of(path: &Path) -> Option<Shape> {
    let name = path.file_stem()?.to_str()?;
    let numbers: Vec<u16> =
        name.rsplit('.').next()?.split('x').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [width, height, bands, bits] = numbers[..] else { return None };
    Some(Shape { width, height, bands, bits: u8::try_from(bits).ok()? })
}

fn measure(path: &Path, max_error: u16) -> Result<(), String> {
    let shape = shape_of(path).ok_or("its name doesn't end in .WxHxBxN.raw")?;
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let samples: Vec<u16> =
        bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    let raw: Vec<u8> = match shape.bits {
        ..=8 => samples.iter().map(|sample| *sample as u8).collect(),
        _ => bytes.clone(),
    };
    let name = path.display();
    let speed = |seconds: f64| raw.len() as f64 / seconds / 1e6;
    let line = |codec: &str, bytes: usize, encode: f64, decode: f64| {
        println!("{name} {codec} {bytes} {:.1} {:.1}", speed(encode), speed(decode));
    };

    let (tile, encode) = timed(samples.len(), || image::encode(shape, &samples, max_error));
    let tile = tile.map_err(|error| error.to_string())?;
    let (back, decode) = timed(samples.len(), || image::decode(&tile, samples.len()));
    let back = back.map_err(|error| error.to_string())?;
    let worst = back.samples.iter().zip(&samples).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst.is_none_or(|worst| worst <= max_error), "off by {worst:?}");
    line("tile", tile.len(), encode, decode);

    let config = RiceConfig::new(u32::from(shape.bits));
    let layout = Layout { order: Order::LittleEndian, three_bytes: false };
    let (stream, encode) = timed(samples.len(), || rice::encode_bytes(&config, layout, &raw));
    let stream = stream.map_err(|error| error.to_string())?;
    let (back, decode) =
        timed(samples.len(), || rice::decode_bytes(&config, layout, &stream, samples.len()));
    assert_eq!(back.as_ref(), Ok(&raw));
    line("rice", stream.len(), encode, decode);
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let max_error = match arguments.next_if_eq("--error").and_then(|_| arguments.next()) {
        Some(text) => text.parse().expect("--error takes a number of steps, 0 to 65535"),
        None => 0,
    };
    for argument in arguments {
        if let Err(error) = measure(Path::new(&argument), max_error) {
            eprintln!("{argument}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
