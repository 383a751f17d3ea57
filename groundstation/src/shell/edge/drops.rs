//! Datagrams that the system dropped for want of room in a socket's buffer.

use std::{
    fs,
    net::UdpSocket,
    os::fd::AsFd as _,
    sync::Mutex,
    time::{Duration, Instant},
};

/// How often the system's table is read: it lists every socket of the machine.
const EVERY: Duration = Duration::from_secs(1);

/// The counter of one socket.
#[derive(Debug)]
pub struct Drops {
    inode: String,
    table: &'static str,
    read: Mutex<Instant>,
}

impl Drops {
    /// Finds the socket; none where the system does not tell.
    pub fn of(socket: &UdpSocket) -> Option<Self> {
        let inode = rustix::fs::fstat(socket.as_fd()).ok()?.st_ino.to_string();
        let table = match socket.local_addr().ok()?.is_ipv4() {
            true => "/proc/net/udp",
            false => "/proc/net/udp6",
        };
        Some(Self { inode, table, read: Mutex::new(Instant::now()) })
    }

    /// Dropped since the socket was opened; none where it was asked a moment ago.
    pub fn count(&self) -> Option<u64> {
        let mut read = self.read.lock().ok()?;
        if read.elapsed() < EVERY {
            return None;
        }
        *read = Instant::now();
        drop(read);
        self.latest()
    }

    /// The same, however often it is asked.
    pub fn latest(&self) -> Option<u64> {
        dropped(&fs::read_to_string(self.table).ok()?, &self.inode)
    }
}

/// The last column of the line whose tenth is the inode.
fn dropped(table: &str, inode: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.split_whitespace().nth(9) == Some(inode))?;
    line.split_whitespace().nth(12)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_a_full_buffer_dropped() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        let drops = Drops::of(&socket).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        (0..200).for_each(|_| assert_eq!(sender.send_to(&[0; 1000], to).unwrap(), 1000));
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1000];
        let taken = std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count() as u64;
        assert_eq!(drops.latest(), Some(200 - taken), "{taken} were taken");
        assert_eq!(dropped(&fs::read_to_string(drops.table).unwrap(), "no inode"), None);
    }
}
