//! Contact plans: which antenna hears which spacecraft, and when.
//!
//! ```text
//! network (TOML) ─┐
//! passes ─► windows (mount, keyhole, cuts) ─► problem ─► prices (bound) ─► improve ─► plan
//! ```
//!
//! An antenna's own timetable is found exactly (`chain`): the chain of contacts worth most, with
//! set-up, tear-down and slew between neighbours. What couples antennas, a spacecraft that hears one
//! at a time and needs so much a day, is priced (`prices`): the prices give a bound that no plan
//! exceeds, and a plan to start from. `improve` then rebuilds one antenna's timetable at a time
//! against all others until none gets better.

pub mod mount;
pub mod network;
pub mod problem;
pub mod windows;
mod chain;
mod improve;
mod prices;

pub use improve::{Solution, greedy, solve};
pub use network::Network;
pub use problem::Problem;

#[cfg(test)]
mod tests;
