//! What takes `unsafe`; nothing else of this crate does. The interfaces here are safe.

#![allow(unsafe_code)]

pub mod aligned;
