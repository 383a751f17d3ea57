//! System calls here that no safe interface offers.
#![allow(unsafe_code)]

pub mod memory;

use std::{
    io,
    mem::size_of_val,
    os::fd::{AsRawFd, BorrowedFd},
};

/// SO_MEMINFO (socket(7), Linux 4.12; asm-generic/socket.h). Unlike SO_RXQ_OVFL it is answered at
/// any time: the drops of a flood that no datagram follows are told too.
const SO_MEMINFO: libc::c_int = 55;

/// Datagrams that the system dropped before they were read, since the socket was made; the count
/// wraps.
pub fn datagrams_dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut counts = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut length = size_of_val(&counts) as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed. `counts` is writable for
    // `length` bytes, the kernel writes at most that many, and any bits are a u32.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            counts.as_mut_ptr().cast(),
            &mut length,
        )
    };
    match done {
        0 if length as usize == size_of_val(&counts) => Ok(counts[counts.len() - 1]),
        // An older kernel counts less.
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt::set_socket_recv_buffer_size;
    use std::{net::UdpSocket, os::fd::AsFd};

    #[test]
    fn each_datagram_is_read_or_counted_as_dropped() {
        let (near, far) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        set_socket_recv_buffer_size(&near, 4096).unwrap();
        assert_eq!(datagrams_dropped(near.as_fd()).unwrap(), 0);
        for _ in 0..200 {
            far.send_to(&[7; 100], near.local_addr().unwrap()).unwrap();
        }
        near.set_nonblocking(true).unwrap();
        let read = std::iter::from_fn(|| near.recv(&mut [0; 200]).ok()).count();
        let dropped = datagrams_dropped(near.as_fd()).unwrap();
        assert!(dropped > 0 && read as u32 + dropped == 200, "{read} read, {dropped} dropped");
    }
}
