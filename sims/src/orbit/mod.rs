//! Where the spacecraft is, where the Sun is, and how both look from the ground.
//!
//! ```text
//! elements (SGP4, TEME) ─► satellite ─► earth (rotation, WGS-84) ─► look (azimuth, elevation, range)
//! ephemeris (OEM) ──────────┘   └─────► sun (direction, eclipse)
//! ```
//!
//! Limits of accuracy, all of them below what a link model can feel: UT1 comes from a table of
//! five-day steps that ends in October 2027, predicted for its last year (0.8 ms, 25 ms at its end,
//! which is 12 m at the equator; after it UT1 is taken as UTC, at most 0.9 s or 420 m), and polar
//! motion is left out (up to 10 m on the ground), both unless a newer table is read (`eop`). Light
//! time and refraction are left out.

pub mod vector;
pub mod elements;
pub mod fleet;
mod omm;
mod frames;
pub mod ephemeris;
pub mod oem;
pub mod satellite;
pub mod eop;
pub mod earth;
pub mod look;
pub mod sun;

pub use elements::{ElementSet, ElementsError};
pub use eop::EarthOrientation;
pub use ephemeris::Ephemeris;
pub use look::{Look, Station};
pub use satellite::Satellite;
