//! What a run found out, told: a summary in words, tables for a notebook, a page for people.
//!
//! ```text
//! answer of a world ─► summary
//!    ├───────────────► tables ─► table (Parquet)
//!    └───────────────► page (HTML) ◄─ plot
//! ```

pub mod summary;
pub mod table;
pub mod tables;
pub mod page;

pub use summary::{Prices, Summary};
