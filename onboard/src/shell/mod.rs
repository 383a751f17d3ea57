//! What touches the operating system: disk, sockets, clock, connection.

pub mod disk;
