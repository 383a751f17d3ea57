//! What the air takes from a signal, by the methods of ITU-R.
//!
//! ```text
//! climate of the place ─┬► gas (P.676, over P.835) ──────┐
//!                       ├► rain (P.838, P.618 §2.2.1.1) ─┤
//!                       ├► cloud (P.840) ────────────────┼► path (P.618 §2.5): dB at an elevation,
//!                       └► scintillation (P.618 §2.4.1) ─┘   exceeded for a share of the year
//! ```

pub mod climate;
pub mod atmosphere;
pub mod gas;
mod oxygen;
pub mod slant;
pub mod rain;
pub mod cloud;
pub mod scintillation;
pub mod path;
pub mod quantile;
