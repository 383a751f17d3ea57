//! Pictures that real sensors took, as tiles of unsigned samples.

use super::sentinel::{self, Scene, TEN_METRES};
use crate::recorded;
use codecs::squeeze::image::Shape;
use std::path::Path;
use tiff::decoder::{Decoder, DecodingResult};

/// Tiles of one sensor.
pub struct Scenes {
    /// Which sensor, and what its samples are.
    pub name: &'static str,
    /// The tiles.
    pub tiles: Vec<Picture>,
}

/// One tile.
pub struct Picture {
    /// What its samples are.
    pub shape: Shape,
    /// Band after band.
    pub samples: Vec<u16>,
    /// The bytes of each band, low byte first, as codecs of bytes take them.
    pub bands: Vec<Vec<u8>>,
}

impl Picture {
    /// A picture of samples that stand band after band.
    pub fn new(shape: Shape, samples: Vec<u16>) -> Self {
        let band = |band: &[u16]| match shape.bits {
            ..=8 => band.iter().map(|sample| *sample as u8).collect(),
            _ => band.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        };
        let area = samples.len() / usize::from(shape.bands);
        let bands = samples.chunks_exact(area).map(band).collect();
        Self { shape, samples, bands }
    }

    /// Bytes of a sample as every codec is charged for it.
    pub fn sample_bytes(&self) -> usize {
        usize::from(self.shape.bits).div_ceil(8)
    }

    /// Bytes of all samples.
    pub fn bytes(&self) -> usize {
        self.samples.len() * self.sample_bytes()
    }
}

impl Scenes {
    /// Bytes of all tiles.
    pub fn bytes(&self) -> usize {
        self.tiles.iter().map(Picture::bytes).sum()
    }
}

/// The scenes that are there.
pub fn all() -> Vec<Scenes> {
    let tiff = |name, file| recorded(file).map(|path| Scenes { name, tiles: vec![geotiff(&path)] });
    let landsat = tiff("Landsat 7 ETM+, 6 bands of 8 bits", "imagery/L7_ETMs.tif");
    let riotiler = tiff("rio-tiler scene, 1 band of 16 bits", "imagery/riotiler_scene_band1.tif");
    let sentinel = recorded(sentinel::FILE).map(|path| Scenes {
        name: "Sentinel-2, 5 scenes, four 10 m bands of 16 bits",
        tiles: sentinel::scenes(&path).iter().map(ten_metres).collect(),
    });
    [landsat, riotiler, sentinel].into_iter().flatten().collect()
}

/// Blue, green, red and near infrared as the digital numbers that were recorded.
fn ten_metres(scene: &Scene) -> Picture {
    let samples = TEN_METRES.into_iter().flat_map(|band| {
        scene.band(band).map(|reflectance| (reflectance * 10_000.0).round() as u16)
    });
    let shape = Shape { width: scene.width, height: scene.height, bands: 4, bits: 16 };
    Picture::new(shape, samples.collect())
}

/// All bands of a TIFF of 8 or 16 bits a sample; panics where it is something else.
pub fn geotiff(path: &Path) -> Picture {
    let file = std::fs::File::open(path).expect("a readable scene");
    let mut decoder = Decoder::new(std::io::BufReader::new(file)).expect("a TIFF");
    let (width, height) = decoder.dimensions().expect("its size");
    let (mixed, bits): (Vec<u16>, u8) = match decoder.read_image().expect("its samples") {
        DecodingResult::U8(samples) => (samples.into_iter().map(u16::from).collect(), 8),
        DecodingResult::U16(samples) => (samples, 16),
        _ => panic!("{}: samples are neither u8 nor u16", path.display()),
    };
    let bands = mixed.len() / (width as usize * height as usize);
    // The file has them pixel by pixel.
    let samples = (0..bands).flat_map(|band| mixed[band..].iter().step_by(bands).copied());
    let shape = Shape { width: width as u16, height: height as u16, bands: bands as u16, bits };
    Picture::new(shape, samples.collect())
}
