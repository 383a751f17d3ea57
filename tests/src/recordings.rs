//! Recordings as the measurements take them: packets of one source, tiles of one sensor.

pub mod packets;
pub mod sentinel;
pub mod scenes;
