//! The flight software: sensor to downlink, and the image a flight computer boots.

pub mod score;
pub mod image;
pub mod cli;
