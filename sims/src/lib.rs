//! The orbital link simulator: a spacecraft on a real orbit over a station, and the demonstration
//! that runs the real programs between them.
//!
//! ```text
//! orbit ─► contact ─► link ─► relay (real UDP)
//!    └───► spacecraft (sensors, faults, imager) ─► packets ─► demo ◄─┘
//! ```
//!
//! Everything above the shells (`relay`, `demo`, `cli`) takes time and seeds as arguments: the same
//! seed gives the same bytes.

pub mod orbit;
pub mod contact;
pub mod rng;
pub mod spacecraft;
pub mod link;
pub mod relay;
pub mod demo;
pub mod cli;
