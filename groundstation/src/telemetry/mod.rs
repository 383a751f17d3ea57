//! One trace from frame to insight: spans, kept until a collector has them.
//!
//! ```text
//! units (commits, what led to work) ─┐
//! router (queue, questions, outcome) ─┴─► span ─► queue (bounded, drops counted) ─► otlp ─► shell
//! ```
//!
//! The trace's id comes from what the insight is about, so that a restart, and another station
//! that holds the same product, name the same trace. Nothing here is done for a frame: a unit has
//! spans once it led to a product or to work. Cores with time as an argument; `shell::telemetry`
//! asks the collector.

pub mod span;
pub mod units;
pub mod queue;
pub mod otlp;

pub use span::{Kind, Moment, Span, Value};
