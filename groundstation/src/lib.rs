//! The ground station: admits units, archives each exactly once, decodes, shows and dispatches.
//!
//! ```text
//! admit ─► ledger ─► archive ─► receipt ─► process ─► publish ─► api
//!             │          ├─► door         └ unsqueeze ─► merge ─► deframe ─► decode ─► limits
//!             └────► audit
//! ```
//!
//! Cores are state machines with time as an argument; `shell` holds sockets, disk, clock and
//! threads.

pub mod sys;
pub mod config;
pub mod reload;
pub mod init;
pub mod enroll;
pub mod admit;
pub mod operators;
pub mod peers;
pub mod ledger;
pub mod archive;
pub mod receipt;
pub mod contacts;
pub mod keep;
pub mod upload;
pub mod import;
pub mod catalogue;
pub mod witness;
pub mod audit;
pub mod gaps;
pub mod unsqueeze;
pub mod header;
pub mod merge;
pub mod deframe;
pub mod decode;
pub mod limits;
pub mod product;
pub mod records;
pub mod rf;
pub mod process;
pub mod publish;
pub mod pool;
pub mod router;
pub mod telemetry;
pub mod uplink;
pub mod door;
pub mod api;
pub mod recording;
pub mod seldom;
pub mod budget;
pub mod edge;
pub mod shell;
pub mod bench;
pub mod commands;
pub mod cli;
