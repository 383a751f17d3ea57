//! The recorded Sentinel-2 scenes: reflectances in NumPy's format.

use std::path::Path;

/// Where they are.
pub const FILE: &str = "imagery/sentinel2_reference_scenes.npy";

/// Blue, green, red and near infrared, which alone have pixels of 10 m in the file.
pub const TEN_METRES: [usize; 4] = [1, 2, 3, 7];

/// One scene, every band resampled to one grid.
pub struct Scene {
    /// Pixels of a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Bands.
    pub bands: usize,
    /// Reflectances, 0 to about 1, pixel by pixel and in each band by band.
    pub pixels: Vec<f32>,
}

impl Scene {
    /// The reflectances of a band, counted from 0.
    pub fn band(&self, band: usize) -> impl Iterator<Item = f32> + '_ {
        self.pixels.iter().skip(band).step_by(self.bands).copied()
    }
}

/// All scenes of a file; panics where it isn't four axes of little-endian f32.
pub fn scenes(path: &Path) -> Vec<Scene> {
    let bytes = std::fs::read(path).expect("a readable recording");
    let (length, rest) = bytes[8..].split_first_chunk::<2>().expect("a header");
    let (header, data) = rest.split_at(usize::from(u16::from_le_bytes(*length)));
    let header = std::str::from_utf8(header).expect("a header in ASCII");
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let (_, shape) = header.split_once("'shape': (").expect("a shape");
    let (shape, _) = shape.split_once(')').expect("the shape's end");
    let axes: Vec<usize> = shape.split(',').filter_map(|axis| axis.trim().parse().ok()).collect();
    let [count, height, width, bands] = axes[..] else { panic!("four axes, not {axes:?}") };
    let values: Vec<f32> =
        data.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    assert_eq!(values.len(), count * height * width * bands, "the file ends early");
    let (width, height, size) = (width as u16, height as u16, height * width * bands);
    let scene = |pixels: &[f32]| Scene { width, height, bands, pixels: pixels.to_vec() };
    values.chunks_exact(size).map(scene).collect()
}
