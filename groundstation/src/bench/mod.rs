//! `groundstation bench ingest`: what this machine can take, as ratios to its own bare parts;
//! `groundstation bench faults`: the same of ingest beside pools in trouble.
//!
//! ```text
//! shell: frames ─► send ═ QUIC ═► receive ─┬► bare     counted and dropped
//!                                          ├► decoded  frames verified, packets out
//!                                          └► durable  archived, receipted, and that
//!        disk: the same folder, written as the archive writes it
//! report: medians, ratios, table
//! ```

pub mod report;
pub mod faults;
pub mod shell;
