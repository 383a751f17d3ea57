//! What names the operating system's types; nothing here reads a clock twice.

pub mod epoch;
