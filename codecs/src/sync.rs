//! From symbols to aligned blocks: where each block starts, and the sequence that whitens it.
//!
//! ```text
//! marker (bytes of any alignment ► blocks) ─► randomizer (blocks, in place)
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod marker;
pub mod randomizer;
