//! What takes `unsafe`; nothing else of this crate does.

pub mod count;
