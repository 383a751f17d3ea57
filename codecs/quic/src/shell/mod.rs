//! What touches the operating system.

pub mod clock;
pub mod tls;
pub mod transport;
pub mod planned;
pub mod crowd;
pub mod strays;
pub mod endpoint;
pub mod custodian;
mod looks;
mod objects;
mod uplink;
pub mod client;
