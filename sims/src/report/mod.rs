//! What a run found out, told: a summary in words, tables for a notebook, a page for people.
//!
//! ```text
//! answer ─► summary
//!    ├────► tables ─► table (Parquet)
//!    └────► page (HTML) ◄─ plot
//! ```

pub mod answer;
pub mod table;
pub mod tables;
pub mod page;

pub use answer::{Answer, Summary};
