//! The sidecar of an image: a JSON object beside it.
//!
//! | key | means |
//! |---|---|
//! | `width`, `height` | pixels; a raw image needs them |
//! | `bands`, `bits` | 1 and 8 unless given; samples above 8 bits take two bytes |
//! | `interleaved` | samples stand pixel by pixel, not band after band |
//! | `little_endian` | the low byte of a sample stands first |
//! | `time_ns` | when it was taken, nanoseconds TAI since 1970 |
//! | `gain`, `offset` | reflectance = sample x gain + offset (0 unless given), as the product's papers say |
//! | `attitude` | quaternion x, y, z, w from Earth-fixed axes to the instrument |
//! | `corners` | latitude and longitude of upper left, upper right, lower right, lower left |
//! | `epsg`, `transform` | a map instead: x0, x by column, x by row, y0, y by column, y by row |

use codecs::time::Tai;
use serde::Deserialize;

use super::ImageError;
use crate::{
    source::place::{Grid, Placed},
    triage::Reflectance,
};

/// Longest sidecar, bytes.
pub const SIDECAR_BYTES_MAX: u64 = 64 << 10;

/// What stands beside an image.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// Width in pixels.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Number of bands.
    #[serde(default = "one")]
    pub bands: u8,
    /// Bits of a sample, 1 to 16.
    #[serde(default = "eight")]
    pub bits: u8,
    /// Samples stand pixel by pixel.
    #[serde(default)]
    pub interleaved: bool,
    /// The low byte stands first.
    #[serde(default)]
    pub little_endian: bool,
    /// When it was taken, nanoseconds TAI since 1970.
    pub time_ns: Option<i64>,
    /// Reflectance of one count.
    pub gain: Option<f32>,
    /// Reflectance of a sample of 0; 0 unless given.
    pub offset: Option<f32>,
    /// Quaternion.
    pub attitude: Option<[f32; 4]>,
    /// Four corners, degrees.
    pub corners: Option<[[f64; 2]; 4]>,
    /// EPSG code of `transform`.
    pub epsg: Option<u32>,
    /// From column and row to x and y.
    pub transform: Option<[f64; 6]>,
}

fn one() -> u8 {
    1
}

fn eight() -> u8 {
    8
}

impl Sidecar {
    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let sidecar: Self =
            serde_json::from_slice(bytes).map_err(|error| ImageError::Wrong(error.to_string()))?;
        let whole = sidecar.attitude.iter().flatten().all(|of| of.is_finite());
        if whole { Ok(sidecar) } else { Err(ImageError::Wrong("attitude is not finite".into())) }
    }

    /// When it was taken.
    pub fn captured(&self) -> Option<Tai> {
        self.time_ns.map(Tai)
    }

    /// What its samples mean, if it says.
    pub fn reflectance(&self) -> Result<Option<Reflectance>, ImageError> {
        let wrong = |what: &str| Err(ImageError::Wrong(what.into()));
        match (self.gain, self.offset) {
            (None, None) => Ok(None),
            (None, Some(_)) => wrong("an offset without a gain"),
            (Some(gain), offset) => match Reflectance::new(gain, offset.unwrap_or(0.0)) {
                Some(reflectance) => Ok(Some(reflectance)),
                None => wrong("gain is above 0 and at most 1, offset -1 to 1"),
            },
        }
    }

    /// Where it lies, if it says.
    pub fn placed(&self) -> Result<Option<Placed>, ImageError> {
        match (self.corners, self.epsg, self.transform) {
            (Some(corners), None, None) => Ok(Some(Placed::Corners(corners))),
            (None, None, None) => Ok(None),
            (None, Some(code), Some(transform)) => {
                let known = "known are 4326, 32601 to 32660 and 32701 to 32760";
                let grid = Grid::from_epsg(code)
                    .ok_or_else(|| ImageError::Wrong(format!("epsg = {code}: {known}")))?;
                Ok(Some(Placed::Map { grid, transform }))
            }
            _ => Err(ImageError::Wrong("either corners, or epsg with transform".into())),
        }
    }
}
