//! The orbital link simulator: a spacecraft on a real orbit over a station, and the demonstration
//! that runs the real programs between them.
//!
//! ```text
//! orbit ─► contact ─► plan ─► link ─► world (simulated time), relay (real UDP)
//!    └───► spacecraft (sensors, faults, imager) ─► packets ─► demo ◄─┘
//! ```
//!
//! Everything above the shells (`relay`, `demo`, `cli`) takes time and seeds as arguments: the same
//! seed gives the same bytes.

/// Prints a line on standard output; an error where that is closed or full, never a panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($text)*)?
    }};
}

pub mod orbit;
pub mod contact;
pub mod plan;
pub mod rng;
pub mod spacecraft;
pub mod link;
pub mod world;
pub mod plot;
pub mod report;
pub mod relay;
pub mod demo;
pub mod cli;
