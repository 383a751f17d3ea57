//! The imager: tiles of ground and clouds, drawn from place and time.
//!
//! Reflectances (the Sun's height is already divided out), water, vegetation, soil, desert and
//! clouds with shadows; snow and salt are missing from the model. The script that trains the cloud
//! screen draws from the same distributions.

use crate::rng::{Random, mix};

/// Pixels along an edge of a tile.
pub const EDGE: usize = 64;
/// Bands: red, green, blue, near infrared.
pub const BANDS: usize = 4;
const PIXELS: usize = EDGE * EDGE;

/// Red, green, blue and near infrared reflectance of a cover.
type Reflectance = [f64; BANDS];
const WATER: Reflectance = [0.03, 0.05, 0.07, 0.02];
const VEGETATION: Reflectance = [0.05, 0.09, 0.05, 0.40];
const SOIL: Reflectance = [0.24, 0.19, 0.14, 0.32];
const DESERT: Reflectance = [0.42, 0.35, 0.26, 0.48];
const PATH: Reflectance = [0.015, 0.025, 0.045, 0.008];
const CLOUD: Reflectance = [0.97, 0.98, 1.0, 0.95];

/// One picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Band-sequential pixels, 0 to 255 for reflectance 0 to 1.
    pub pixels: Vec<u8>,
    /// True share of cloud in percent: for scoring only.
    pub cloud_percent: u8,
    /// Whether cloud truly hides a pixel, row after row: for scoring only.
    pub cloudy: Vec<bool>,
}

/// Draws the tile of a place at a time; the seed tells worlds apart.
pub fn render(seed: u64, latitude_deg: f64, longitude_deg: f64, unix_s: i64) -> Tile {
    // A tile spans about a hundredth of a degree: places closer than that share their picture.
    let place = ((latitude_deg * 100.0) as i64 as u64, (longitude_deg * 100.0) as i64 as u64);
    let key = mix(mix(mix(seed) ^ place.0) ^ place.1) ^ unix_s as u64;
    let mut random = Random::new(key, "tile");
    let ground = ground(&mut random);
    let (opacity, cloud) = clouds(&mut random);
    let pixels = expose(&mut random, &ground, &opacity, &cloud);
    let cloudy: Vec<bool> = opacity.iter().map(|opacity| *opacity > 0.3).collect();
    let count = cloudy.iter().filter(|cloudy| **cloudy).count();
    Tile { pixels, cloud_percent: (100.0 * count as f64 / PIXELS as f64).round() as u8, cloudy }
}

/// Reflectance of the ground with texture, light and the air's own glow.
fn ground(random: &mut Random) -> Vec<Reflectance> {
    let scale = random.between(20.0, 48.0);
    let height = stretched(noise(random, scale, 4, 0.5));
    let scale = random.between(12.0, 32.0);
    let moisture = stretched(noise(random, scale, 3, 0.5));
    let level = random.between(-0.2, 0.45);
    let level = if random.chance(0.3) { 1.2 } else { level };
    let dryness = random.unit();
    let dry_cover = if random.chance(0.1) { DESERT } else { SOIL };
    let light = random.between(0.75, 1.1);
    let texture = noise(random, 6.0, 3, 0.6);
    (0..PIXELS)
        .map(|pixel| {
            let dry = smoothstep(0.35, 0.65, moisture[pixel] + dryness - 0.5);
            let wet = 1.0 - smoothstep(level - 0.02, level + 0.02, height[pixel]);
            let gain = light * (0.85 + 0.3 * texture[pixel]);
            std::array::from_fn(|band| {
                let land = VEGETATION[band] * (1.0 - dry) + dry_cover[band] * dry;
                (land * (1.0 - wet) + WATER[band] * wet) * gain + PATH[band]
            })
        })
        .collect()
}

/// Opacity and reflectance of the clouds, a pixel each.
fn clouds(random: &mut Random) -> (Vec<f64>, Vec<f64>) {
    let kind = random.unit();
    let partial = random.between(0.05, 0.95);
    let scale = random.between(24.0, 56.0);
    let field = noise(random, scale, 5, 0.55);
    let softness = random.between(0.03, 0.10);
    let peak = random.between(0.75, 1.0);
    let thin = random.between(0.35, 0.75);
    let peak = if random.chance(0.15) { thin } else { peak };
    let bright = random.between(0.55, 0.9);
    let texture = noise(random, 10.0, 4, 0.55);
    let brightness = texture.iter().map(|texture| bright * (0.85 + 0.3 * texture)).collect();
    let mut sorted = field.clone();
    sorted.sort_by(f64::total_cmp);
    let threshold = match kind {
        kind if kind < 0.30 => return (vec![0.0; PIXELS], brightness),
        kind if kind < 0.45 => sorted[0] - 0.1,
        _ => sorted[((1.0 - partial) * (PIXELS - 1) as f64) as usize],
    };
    let (low, high) = (threshold - softness / 2.0, threshold + softness / 2.0);
    (field.into_iter().map(|value| smoothstep(low, high, value) * peak).collect(), brightness)
}

/// What the detector makes of ground, shadow and cloud.
fn expose(random: &mut Random, ground: &[Reflectance], opacity: &[f64], cloud: &[f64]) -> Vec<u8> {
    /// Shadows fall this far to the right and down.
    const SHADOW: (usize, usize) = (3, 2);
    let mut pixels = Vec::with_capacity(PIXELS * BANDS);
    for band in 0..BANDS {
        let stripes: [f64; EDGE] = std::array::from_fn(|_| 0.002 * random.normal());
        for pixel in 0..PIXELS {
            let (x, y) = (pixel % EDGE, pixel / EDGE);
            let shading = y.saturating_sub(SHADOW.1) * EDGE + x.saturating_sub(SHADOW.0);
            let shade = 1.0 - 0.45 * opacity[shading];
            let value = ground[pixel][band] * shade * (1.0 - opacity[pixel])
                + cloud[pixel] * CLOUD[band] * opacity[pixel];
            let value = value + (0.004 + 0.01 * value) * random.normal() + stripes[x];
            pixels.push((value.clamp(0.0, 1.0) * 255.0).round() as u8);
        }
    }
    pixels
}

/// Value noise over the tile: octaves of a random lattice, smoothly interpolated, 0 to 1.
fn noise(random: &mut Random, scale: f64, octaves: u32, gain: f64) -> Vec<f64> {
    let mut sum = vec![0.0; PIXELS];
    let (mut amplitude, mut total, mut scale) = (1.0, 0.0, scale);
    for _ in 0..octaves {
        let side = (EDGE as f64 / scale) as usize + 2;
        let lattice: Vec<f64> = (0..side * side).map(|_| random.unit()).collect();
        for (pixel, sum) in sum.iter_mut().enumerate() {
            let (x, y) = ((pixel % EDGE) as f64 / scale, (pixel / EDGE) as f64 / scale);
            let corner = y as usize * side + x as usize;
            let (tx, ty) = (smoothstep(0.0, 1.0, x.fract()), smoothstep(0.0, 1.0, y.fract()));
            let top = lattice[corner] * (1.0 - tx) + lattice[corner + 1] * tx;
            let bottom = lattice[corner + side] * (1.0 - tx) + lattice[corner + side + 1] * tx;
            *sum += amplitude * (top * (1.0 - ty) + bottom * ty);
        }
        total += amplitude;
        (amplitude, scale) = (amplitude * gain, scale / 2.0);
    }
    sum.iter_mut().for_each(|value| *value /= total);
    sum
}

fn stretched(mut values: Vec<f64>) -> Vec<f64> {
    values.iter_mut().for_each(|value| *value = ((*value - 0.5) * 2.2 + 0.5).clamp(0.0, 1.0));
    values
}

fn smoothstep(low: f64, high: f64, value: f64) -> f64 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_fixed_by_place_time_and_seed() {
        let tile = render(7, 67.2, 21.0, 1_795_392_000);
        assert_eq!(tile.pixels.len(), PIXELS * BANDS);
        assert_eq!(tile, render(7, 67.2, 21.0, 1_795_392_000));
        assert_ne!(tile, render(8, 67.2, 21.0, 1_795_392_000));
        assert_ne!(tile, render(7, 67.2, 21.0, 1_795_392_001));
    }

    #[test]
    fn covers_and_clouds_follow_the_recipe() {
        let tiles: Vec<Tile> = (0..300).map(|second| render(1, 10.0, 20.0, second)).collect();
        let share = |test: &dyn Fn(&Tile) -> bool| {
            tiles.iter().filter(|tile| test(tile)).count() as f64 / tiles.len() as f64
        };
        let clear = share(&|tile| tile.cloud_percent == 0);
        let overcast = share(&|tile| tile.cloud_percent == 100);
        assert!((0.22..0.42).contains(&clear), "{clear}");
        assert!((0.08..0.25).contains(&overcast), "{overcast}");
        let mean = |tile: &Tile, band: usize| {
            let pixels = &tile.pixels[band * PIXELS..(band + 1) * PIXELS];
            pixels.iter().map(|pixel| f64::from(*pixel)).sum::<f64>() / PIXELS as f64
        };
        let clouds: f64 = tiles
            .iter()
            .filter(|t| t.cloud_percent == 100)
            .map(|t| mean(t, 2))
            .fold(255.0, f64::min);
        let ground: f64 =
            tiles.iter().filter(|t| t.cloud_percent == 0).map(|t| mean(t, 2)).fold(0.0, f64::max);
        assert!(ground < 90.0 && clouds > 30.0, "{ground} {clouds}");
    }
}
