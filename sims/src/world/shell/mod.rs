//! What names the operating system: an instant, and threads. No clock is read twice.

pub mod epoch;
pub mod fleet;
