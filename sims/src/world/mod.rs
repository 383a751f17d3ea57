//! A world in simulated time: real transport, real cores, and links between them.
//!
//! ```text
//! queue ─► net (endpoints, modems ⇄ legs) ─► trace
//!            └ pair ─► bulk ─► goodput
//! ```
//!
//! Nothing here opens a socket, starts a thread or reads a clock: the same binary and the same
//! seed give the same trace. `docs/simulation.md` says what is real code and what is modelled.

pub mod queue;
pub mod trace;
pub mod identity;
pub mod shell;
pub mod net;
pub mod pair;
pub mod bulk;
pub mod fades;
pub mod legs;
pub mod antennas;
pub mod conserve;
pub mod answer;
pub mod modem;
pub mod craft;
pub mod edge;
pub mod daemon;
pub mod faults;
pub mod sensors;
pub mod island;
pub mod pools;
pub mod scenario;
pub mod run;
pub mod goodput;
