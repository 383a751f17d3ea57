//! What others make of the same packets and pixels, for the measurements that put ours beside.

pub mod packets;
pub mod samples;
pub mod aec;
