//! Each codec's way to write a block of packets of one length, and to give it back.

use bytes::Bytes;
use codecs::squeeze::columns::{Level, MAX_BLOCK_BYTES, squeeze, unsqueeze};
use codecs::squeeze::rice::{self, BlockSize, Layout, Order, RiceConfig};
use pco::{ChunkConfig, standalone};
use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

const RICE_LAYOUT: Layout = Layout { order: Order::LittleEndian, three_bytes: false };

type Pack = Box<dyn Fn(&[u8], usize) -> Vec<u8>>;
type Unpack = Box<dyn Fn(&[u8], usize) -> Bytes>;

/// A codec of blocks.
pub struct PacketCodec {
    /// Its name, and how it is used.
    pub name: &'static str,
    /// Whether it is one of ours.
    pub ours: bool,
    /// Packets of a block, behind one another, and the length of one.
    pub pack: Pack,
    /// The same back.
    pub unpack: Unpack,
}

fn codec(
    name: &'static str,
    pack: impl Fn(&[u8], usize) -> Vec<u8> + 'static,
    unpack: impl Fn(&[u8], usize) -> Bytes + 'static,
) -> PacketCodec {
    PacketCodec { name, ours: false, pack: Box::new(pack), unpack: Box::new(unpack) }
}

/// Ours first.
pub fn all() -> Vec<PacketCodec> {
    let mut all = vec![ours("ours, fast", Level::Fast), ours("ours, dense", Level::Dense)];
    all.extend([3, 19].map(|level| {
        let name = if level == 3 { "zstd 3" } else { "zstd 19" };
        let zstd = zstd_at(level);
        codec(name, move |block, _| pack_zstd(&zstd, block), |squeezed, _| unzstd(squeezed).into())
    }));
    // What a careful user of zstd would do: columns together, each byte less the one before.
    all.extend([3, 19].map(|level| {
        let name = if level == 3 { "XOR, columns, zstd 3" } else { "XOR, columns, zstd 19" };
        let zstd = zstd_at(level);
        codec(
            name,
            move |block, length| pack_zstd(&zstd, &turned(&xored(block, length), length)),
            |squeezed, length| unxored(&unzstd(squeezed), length),
        )
    }));
    all.push(codec("pco 8, u16 columns", pco, unpco));
    all.push(codec("XOR, columns, CCSDS 121", rice_columns, unrice_columns));
    all
}

fn ours(name: &'static str, level: Level) -> PacketCodec {
    let codec = codec(
        name,
        move |block, length| {
            let packets: Vec<&[u8]> = block.chunks_exact(length).collect();
            squeeze(&packets, level).expect("a block")
        },
        |squeezed, _| unsqueeze(squeezed, MAX_BLOCK_BYTES).expect("a block of ours").data,
    );
    PacketCodec { ours: true, ..codec }
}

/// A level of zstd with its memory kept from block to block.
fn zstd_at(level: i32) -> RefCell<Compressor<'static>> {
    RefCell::new(Compressor::new(level).expect("a level of zstd's"))
}

fn pack_zstd(compressor: &RefCell<Compressor<'_>>, bytes: &[u8]) -> Vec<u8> {
    compressor.borrow_mut().compress(bytes).expect("memory")
}

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor<'static>> =
        RefCell::new(Decompressor::new().expect("memory"));
}

fn unzstd(squeezed: &[u8]) -> Vec<u8> {
    let size = get_frame_content_size(squeezed).ok().flatten().expect("a size") as usize;
    DECOMPRESSOR.with_borrow_mut(|zstd| zstd.decompress(squeezed, size).expect("a frame of zstd's"))
}

/// Rows of `width` bytes made columns.
fn turned(rows: &[u8], width: usize) -> Vec<u8> {
    (0..width).flat_map(|at| rows[at..].iter().step_by(width).copied()).collect()
}

fn xored(block: &[u8], length: usize) -> Vec<u8> {
    let before = [0].iter().cycle().take(length).chain(block);
    block.iter().zip(before).map(|(byte, before)| byte ^ before).collect()
}

/// The packets again from columns of XORed bytes.
fn unxored(columns: &[u8], length: usize) -> Bytes {
    let mut block = turned(columns, columns.len() / length);
    for at in length..block.len() {
        block[at] ^= block[at - length];
    }
    block.into()
}

/// Our coder of CCSDS 121.0-B, whose bytes are libaec's; behind two bytes with the packets' number,
/// since nothing in a stream says where it ends.
fn rice_columns(block: &[u8], length: usize) -> Vec<u8> {
    let columns = turned(&xored(block, length), length);
    let stream = rice::encode_bytes(&rice_config(), RICE_LAYOUT, &columns).expect("bytes");
    [&((block.len() / length) as u16).to_be_bytes()[..], &stream].concat()
}

fn unrice_columns(squeezed: &[u8], length: usize) -> Bytes {
    let (packets, stream) = squeezed.split_first_chunk::<2>().expect("a number");
    let bytes = usize::from(u16::from_be_bytes(*packets)) * length;
    let columns = rice::decode_bytes(&rice_config(), RICE_LAYOUT, stream, bytes);
    unxored(&columns.expect("a stream of ours"), length)
}

fn rice_config() -> RiceConfig {
    RiceConfig { block: BlockSize::Eight, ..RiceConfig::new(8) }
}

/// Pairs of columns as numbers, each a chunk of its own so that it finds its own order; the odd
/// last column stands as it is.
fn pco(block: &[u8], length: usize) -> Vec<u8> {
    let config = ChunkConfig::default().with_compression_level(8);
    let mut out = Vec::new();
    for column in (0..length - length % 2).step_by(2) {
        let packets = block.chunks_exact(length);
        let numbers: Vec<u16> =
            packets.map(|p| u16::from_be_bytes([p[column], p[column + 1]])).collect();
        let chunk = standalone::simple_compress(&numbers, &config).expect("numbers");
        out.extend((chunk.len() as u16).to_be_bytes());
        out.extend(chunk);
    }
    if length % 2 == 1 {
        out.extend(block[length - 1..].iter().step_by(length));
    }
    out
}

fn unpco(mut squeezed: &[u8], length: usize) -> Bytes {
    let mut columns: Vec<Vec<u16>> = Vec::new();
    for _ in 0..length / 2 {
        let (size, rest) = squeezed.split_first_chunk::<2>().expect("a size");
        let (chunk, rest) = rest.split_at(usize::from(u16::from_be_bytes(*size)));
        columns.push(standalone::simple_decompress(chunk).expect("a chunk of pco's"));
        squeezed = rest;
    }
    let packets = columns.first().map_or(0, Vec::len);
    let mut block = Vec::with_capacity(packets * length);
    for packet in 0..packets {
        block.extend(columns.iter().flat_map(|column| column[packet].to_be_bytes()));
        block.extend(squeezed.get(packet));
    }
    block.into()
}
