//! What the air takes from a signal, by the methods of ITU-R.
//!
//! ```text
//! climate of the place ─┬► rain (P.838, P.618 §2.2.1.1) ─┐
//!                       ├► scintillation (P.618 §2.4.1) ─┴► exceeded for a share of the year
//!                       └► gas (P.676 annex 1) ───────────► dB/km
//! ```

pub mod gas;
pub mod rain;
pub mod scintillation;
