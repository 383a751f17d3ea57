//! What touches the operating system: the folder.

pub mod disk;
