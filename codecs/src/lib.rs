//! Bytes in, typed views out: CCSDS frames and packets, squeezed blocks, mission definitions,
//! model packages and the link protocol's state machines.
//!
//! ```text
//! ids ─ time ─► sync ─► fec ─► frame ─► packet ─► squeeze ─► mission ─► tensor ─► package
//! ─► product ─► link
//! ```
//!
//! No IO, no clock, no threads, no global state: time and randomness come in as arguments.
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod ids;
pub mod time;
pub mod sync;
pub mod fec;
pub mod frame;
pub mod packet;
pub mod squeeze;
#[cfg(feature = "mission")]
pub mod mission;
pub mod tensor;
pub mod package;
pub mod product;
pub mod link;
#[cfg(feature = "mission")]
pub mod config;
