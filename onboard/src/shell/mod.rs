//! What touches the operating system: disk, sockets, clock, connection.

pub mod clock;
pub mod disk;
pub mod sensors;
pub mod models;
pub mod tls;
pub mod quic;
mod objects;
pub mod downlink;
mod flight;

pub use flight::{Done, Ready, run};
