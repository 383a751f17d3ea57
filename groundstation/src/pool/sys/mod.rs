//! What the daemon and its embedded pool share, where no safe interface offers it.
#![allow(unsafe_code)]

pub mod map;
pub mod socket;
