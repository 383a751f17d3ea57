//! Each codec's way to write a picture, and to give it back.

use crate::recordings::scenes::Picture;
use codecs::squeeze::image;
use codecs::squeeze::rice::{self, Layout, Order, RiceConfig};

type Pack = Box<dyn Fn(&Picture) -> Vec<Vec<u8>>>;
type Check = Box<dyn Fn(&Picture, &[Vec<u8>])>;

/// A codec of pictures.
pub struct SampleCodec {
    /// Its name, and how it is used.
    pub name: &'static str,
    /// Whether it is one of ours.
    pub ours: bool,
    /// A picture in as many pieces as the codec cuts it into.
    pub pack: Pack,
    /// Decodes the pieces; panics where a sample is further off than agreed.
    pub check: Check,
}

/// All codecs that can keep a bound, 0 for lossless. Ours first.
pub fn all(max_error: u16) -> Vec<SampleCodec> {
    let mut all = vec![ours(max_error)];
    #[cfg(feature = "jpeg-ls")]
    all.push(jpeg_ls(max_error));
    if max_error == 0 {
        #[cfg(feature = "jpeg-xl")]
        all.push(jpeg_xl());
        all.extend([rice(), zstd(3), zstd(19), png()]);
    }
    all
}

fn ours(max_error: u16) -> SampleCodec {
    let pack =
        move |of: &Picture| vec![image::encode(of.shape, &of.samples, max_error).expect("a tile")];
    let check = move |of: &Picture, packed: &[Vec<u8>]| {
        let back = image::decode(&packed[0], of.samples.len()).expect("a tile of ours");
        within(back.samples.iter().copied(), of.samples.iter().copied(), max_error);
    };
    SampleCodec { name: "ours, tiles", ours: true, pack: Box::new(pack), check: Box::new(check) }
}

fn within(
    back: impl ExactSizeIterator<Item = u16>,
    samples: impl ExactSizeIterator<Item = u16>,
    max_error: u16,
) {
    assert_eq!(back.len(), samples.len());
    let holds = |(back, sample): (u16, u16)| back.abs_diff(sample) <= max_error;
    assert!(back.zip(samples).all(holds), "off by more than {max_error}");
}

/// A codec that takes bands one by one, as bytes.
fn each_band(
    name: &'static str,
    max_error: u16,
    pack: impl Fn(&Picture, &[u8]) -> Vec<u8> + 'static,
    unpack: impl Fn(&Picture, &[u8]) -> Vec<u8> + 'static,
) -> SampleCodec {
    let pack = move |of: &Picture| of.bands.iter().map(|band| pack(of, band)).collect();
    let check = move |of: &Picture, packed: &[Vec<u8>]| {
        for (packed, band) in packed.iter().zip(&of.bands) {
            let back = unpack(of, packed);
            match (max_error, of.sample_bytes()) {
                (0, _) => assert!(back == *band, "{name} lost something"),
                (_, 1) => {
                    within(
                        back.into_iter().map(u16::from),
                        band.iter().copied().map(u16::from),
                        max_error,
                    );
                }
                _ => within(deep(&back), deep(band), max_error),
            }
        }
    };
    SampleCodec { name, ours: false, pack: Box::new(pack), check: Box::new(check) }
}

fn deep(bytes: &[u8]) -> impl ExactSizeIterator<Item = u16> + '_ {
    bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair))
}

/// CCSDS 121.0-B with its preprocessor, which libaec gives too, to the byte.
fn rice() -> SampleCodec {
    let layout = Layout { order: Order::LittleEndian, three_bytes: false };
    let config = |of: &Picture| RiceConfig::new(u32::from(of.shape.bits));
    let codec = each_band(
        "CCSDS 121, our coder",
        0,
        move |of, bytes| rice::encode_bytes(&config(of), layout, bytes).expect("whole samples"),
        move |of, packed| {
            let samples = usize::from(of.shape.width) * usize::from(of.shape.height);
            rice::decode_bytes(&config(of), layout, packed, samples).expect("a stream of ours")
        },
    );
    SampleCodec { ours: true, ..codec }
}

fn zstd(level: i32) -> SampleCodec {
    let name = if level == 3 { "zstd 3" } else { "zstd 19" };
    each_band(
        name,
        0,
        move |_, bytes| zstd::bulk::compress(bytes, level).expect("memory"),
        |of, packed| zstd::bulk::decompress(packed, of.bytes()).expect("a frame of zstd's"),
    )
}

fn png() -> SampleCodec {
    let pack = |tile: &Picture, bytes: &[u8]| {
        let (width, height) = (tile.shape.width.into(), tile.shape.height.into());
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(match tile.sample_bytes() {
            1 => png::BitDepth::Eight,
            _ => png::BitDepth::Sixteen,
        });
        encoder.set_compression(png::Compression::High);
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(&turned(tile, bytes)).expect("pixels");
        writer.finish().expect("an end");
        file
    };
    let unpack = |tile: &Picture, packed: &[u8]| {
        let mut reader = png::Decoder::new(std::io::Cursor::new(packed)).read_info().expect("PNG");
        let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut bytes).expect("pixels");
        turned(tile, &bytes)
    };
    each_band("PNG, a band each", 0, pack, unpack)
}

/// Low byte first made high byte first, and back.
fn turned(tile: &Picture, bytes: &[u8]) -> Vec<u8> {
    bytes
        .chunks_exact(tile.sample_bytes())
        .flat_map(|sample| sample.iter().rev().copied())
        .collect()
}

#[cfg(feature = "jpeg-ls")]
fn jpeg_ls(max_error: u16) -> SampleCodec {
    use charls::{CharLS, FrameInfo};
    let pack = move |tile: &Picture, bytes: &[u8]| {
        let frame = FrameInfo {
            width: tile.shape.width.into(),
            height: tile.shape.height.into(),
            bits_per_sample: tile.shape.bits.into(),
            component_count: 1,
        };
        CharLS::default().encode(frame, max_error.into(), bytes).expect("a band")
    };
    let unpack =
        |_: &Picture, packed: &[u8]| CharLS::default().decode(packed).expect("a band of CharLS'");
    each_band("JPEG-LS (CharLS), a band each", max_error, pack, unpack)
}

/// The fast lossless kind, the one that a permissive encoder writes.
#[cfg(feature = "jpeg-xl")]
fn jpeg_xl() -> SampleCodec {
    use zune_core::{bit_depth::BitDepth, colorspace::ColorSpace, options::EncoderOptions};
    let pack = |tile: &Picture, bytes: &[u8]| {
        let (width, height) = (tile.shape.width.into(), tile.shape.height.into());
        let (depth, bytes) = match tile.sample_bytes() {
            1 => (BitDepth::Eight, bytes.to_vec()),
            // It takes samples as the machine has them.
            _ => (BitDepth::Sixteen, deep(bytes).flat_map(u16::to_ne_bytes).collect()),
        };
        let options = EncoderOptions::new(width, height, ColorSpace::Luma, depth);
        let mut file = Vec::new();
        let encoder = zune_jpegxl::JxlSimpleEncoder::new(&bytes, options);
        encoder.encode(&mut file).expect("a band");
        file
    };
    let unpack = |tile: &Picture, packed: &[u8]| {
        let image = jxl_oxide::JxlImage::builder().read(packed).expect("JPEG XL");
        let frame = image.render_frame(0).expect("pixels");
        let mut bytes = vec![0u8; usize::from(tile.shape.width) * usize::from(tile.shape.height)];
        if tile.sample_bytes() == 1 {
            frame.stream().write_to_buffer(&mut bytes);
            return bytes;
        }
        let mut samples = vec![0u16; bytes.len()];
        frame.stream().write_to_buffer(&mut samples);
        samples.into_iter().flat_map(u16::to_le_bytes).collect()
    };
    each_band("JPEG XL (zune-jpegxl), a band each", 0, pack, unpack)
}
