//! The Rice coder beside libaec's `aec`: the same bytes from both, and each reads the other's.
//!
//! Skipped, with a word why, where `aec` is not installed (`apt-get install libaec-tools`).

mod recorded;

use codecs::squeeze::rice::{BlockSize, Layout, Order, RiceConfig, decode_bytes, encode_bytes};
use std::path::PathBuf;
use std::process::Command;

/// `aec` with a folder for its files.
struct Aec {
    folder: PathBuf,
}

impl Aec {
    fn new(name: &str) -> Option<Self> {
        if Command::new("aec").output().is_err() {
            println!("skipped: no `aec` to compare with; apt-get install libaec-tools");
            return None;
        }
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Some(Self { folder })
    }

    fn run(&self, config: &RiceConfig, layout: Layout, decode: bool, input: &[u8]) -> Vec<u8> {
        let [from, to] = ["from", "to"].map(|name| self.folder.join(name));
        std::fs::write(&from, input).unwrap();
        let mut command = Command::new("aec");
        command.args(["-n", &config.bits.to_string()]);
        command.args(["-j", &config.block.samples().to_string()]);
        command.args(["-r", &config.interval.to_string()]);
        let flags = [
            ("-d", decode),
            ("-N", !config.preprocess),
            ("-s", config.signed),
            ("-t", config.restricted),
            ("-p", config.pad),
            ("-m", layout.order == Order::BigEndian),
            ("-3", layout.three_bytes),
        ];
        command.args(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| flag));
        let output = command.args([&from, &to]).output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        std::fs::read(&to).unwrap()
    }

    /// The two agree on samples in bytes.
    fn agrees(&self, config: &RiceConfig, layout: Layout, bytes: &[u8]) {
        let ours = encode_bytes(config, layout, bytes).unwrap();
        let count = bytes.len() / layout.sample_bytes(config.bits);
        let restored = decode_bytes(config, layout, &ours, count).unwrap();
        assert!(cut(config, layout, &restored) == bytes, "{config:?} {layout:?}: ours of ours");
        // As Debian builds it, it reads intervals that end with a whole byte but writes none.
        if !config.pad {
            let theirs = self.run(config, layout, false, bytes);
            let differ = ours.iter().zip(&theirs).position(|(a, b)| a != b);
            assert!(
                ours == theirs,
                "{config:?} {layout:?}: {} and {} bytes, differ at {differ:?}",
                ours.len(),
                theirs.len()
            );
        }
        // It can't know where the samples end and gives whole blocks.
        let read = self.run(config, layout, true, &ours);
        assert!(read.len() >= bytes.len(), "{config:?} {layout:?}: aec reads {}", read.len());
        assert!(read[..bytes.len()] == restored, "{config:?} {layout:?}: theirs of ours");
    }
}

/// Samples without the signs that a decoder extended over their bytes.
fn cut(config: &RiceConfig, layout: Layout, bytes: &[u8]) -> Vec<u8> {
    let width = layout.sample_bytes(config.bits);
    let max = (u64::MAX >> (64 - config.bits)).to_le_bytes();
    let mut mask = max[..width].to_vec();
    if layout.order == Order::BigEndian {
        mask.reverse();
    }
    bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte & mask).collect()
}

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Stretches of all that telemetry is made of: wild, slow, constant, mostly zero, extreme.
fn samples(bits: u32, count: usize, noise: &mut Noise) -> Vec<u32> {
    let max = u32::MAX >> (32 - bits);
    let mut samples = Vec::with_capacity(count);
    let mut value = noise.next() as u32 & max;
    while samples.len() < count {
        let length = 1 + noise.next() as usize % 700;
        let (kind, amplitude) = (noise.next() % 7, noise.next() % u64::from(bits));
        for _ in 0..length.min(count - samples.len()) {
            let wild = noise.next() as u32;
            let small = wild & ((1u32 << amplitude) - 1);
            value = match kind {
                0 => wild & max,
                1 => value.wrapping_add(small).wrapping_sub((1u32 << amplitude) / 2) & max,
                2 => value,
                3 => 0,
                4 => {
                    if wild.is_multiple_of(29) {
                        small
                    } else {
                        0
                    }
                }
                5 => {
                    if wild & 1 == 0 {
                        0
                    } else {
                        max
                    }
                }
                _ => small,
            };
            samples.push(value);
        }
    }
    samples
}

fn in_bytes(samples: &[u32], bits: u32, layout: Layout) -> Vec<u8> {
    let width = layout.sample_bytes(bits);
    let sample = |sample: &u32| match layout.order {
        Order::LittleEndian => sample.to_le_bytes()[..width].to_vec(),
        Order::BigEndian => sample.to_be_bytes()[4 - width..].to_vec(),
    };
    samples.iter().flat_map(sample).collect()
}

#[test]
fn all_widths_blocks_and_options_agree_with_libaec() {
    let Some(aec) = Aec::new("rice-options") else { return };
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let intervals = [1, 2, 63, 64, 65, 128, 200, 4096];
    for bits in 1..=32 {
        for block in BlockSize::ALL {
            for flags in 0..8u32 {
                let config = RiceConfig {
                    bits,
                    block,
                    interval: intervals[noise.next() as usize % intervals.len()],
                    preprocess: flags & 1 == 0,
                    signed: flags & 2 != 0,
                    restricted: flags & 4 != 0 && bits <= 4,
                    pad: noise.next().is_multiple_of(4),
                };
                let order =
                    if noise.next() & 1 == 0 { Order::LittleEndian } else { Order::BigEndian };
                let layout = Layout { order, three_bytes: noise.next() & 1 == 0 };
                let count = 1 + noise.next() as usize % 12_000;
                let samples = samples(bits, count, &mut noise);
                aec.agrees(&config, layout, &in_bytes(&samples, bits, layout));
            }
        }
    }
}

#[test]
fn every_interval_up_to_a_segment_and_its_ends_agree_with_libaec() {
    let Some(aec) = Aec::new("rice-intervals") else { return };
    let mut noise = Noise(0xD1B5_4A32_D192_ED03);
    let layout = Layout { order: Order::LittleEndian, three_bytes: false };
    for interval in (1..=66).chain([127, 128, 129, 1000, 4095, 4096]) {
        let config = RiceConfig { interval, block: BlockSize::Eight, ..RiceConfig::new(10) };
        // Mostly zeros: runs of every length meet the ends of segments and intervals.
        let mut samples = Vec::new();
        while samples.len() < 6000 {
            samples.extend(vec![77; noise.next() as usize % 560]);
            samples.push(noise.next() as u32 & 0x3FF);
        }
        aec.agrees(&config, layout, &in_bytes(&samples, 10, layout));
    }
}

#[test]
fn nothing_and_single_samples_agree_with_libaec() {
    let Some(aec) = Aec::new("rice-short") else { return };
    let layout = Layout { order: Order::BigEndian, three_bytes: true };
    for bits in [1, 8, 9, 16, 17, 24, 25, 32] {
        for count in [0, 1, 2, 7, 8, 9] {
            let samples = samples(bits, count, &mut Noise(3 + u64::from(bits)));
            let config = RiceConfig { block: BlockSize::Eight, ..RiceConfig::new(bits) };
            aec.agrees(&config, layout, &in_bytes(&samples, bits, layout));
        }
    }
}

#[test]
fn recorded_telemetry_agrees_with_libaec() {
    let Some(aec) = Aec::new("rice-recorded") else { return };
    let recordings = [
        "packets/csa/csa_apid00400.tlm",
        "packets/jpss/J01_G011_LZ_2021-04-09T00-00-00Z_V01.DAT1",
        "frames/mars2020.aos1115",
        "imagery/sentinel2_reference_scenes.npy",
    ];
    for name in recordings {
        let Some(bytes) = recorded::file(name) else { return };
        let bytes = &bytes[..bytes.len() / 12 * 12];
        for bits in [8, 16, 24, 32] {
            for (block, order) in BlockSize::ALL.into_iter().zip([
                Order::BigEndian,
                Order::LittleEndian,
                Order::BigEndian,
                Order::LittleEndian,
            ]) {
                let layout = Layout { order, three_bytes: true };
                let config = RiceConfig { block, ..RiceConfig::new(bits) };
                aec.agrees(&config, layout, bytes);
            }
        }
    }
}
