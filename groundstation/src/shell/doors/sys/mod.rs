//! The one system call here that no safe interface offers.
#![allow(unsafe_code)]

use rustix::ioctl::{Getter, Opcode, ioctl};
use std::{ffi::c_int, io, net::TcpStream};

/// `SIOCOUTQ` of `linux/sockios.h`, which is `TIOCOUTQ`.
const SIOCOUTQ: Opcode = 0x5411;

/// Bytes written to a connection that the peer's system has not confirmed.
pub fn unconfirmed_bytes(stream: &TcpStream) -> io::Result<u64> {
    // SAFETY: the request writes one `int`, which is what the getter has room for (tcp(7)); it
    // reads no memory of ours, and the socket is open while it is borrowed.
    let bytes = unsafe { ioctl(stream, Getter::<SIOCOUTQ, c_int>::new()) }?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}
