//! One datagram a frame or packet.

use super::{
    Stop,
    board::Board,
    cursor::Cursor,
    source::{Out, Source},
};
use crate::{
    door::{framing::Framing, pace::Pace, select::Parcel, spec::Door},
    shell::{clock::StationClock, follow::Step},
};
use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _, UdpSocket},
    ops::ControlFlow,
    thread,
    time::{Duration, Instant},
};

/// Largest payload of a datagram over IPv4.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// How soon a name that did not resolve is tried again.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// A socket that sends to one host.
pub struct Datagrams {
    host: String,
    socket: Option<UdpSocket>,
    tried: Option<Instant>,
    framing: Framing,
    buffer: Vec<u8>,
    pace: Option<Pace>,
    clock: StationClock,
    board: Board,
    stop: Stop,
}

/// Sends until nothing more comes.
pub fn run(mut source: Source, door: &Door, host: &str, parts: (Board, StationClock, Stop)) {
    let mut out = Datagrams::new(door, host, parts);
    out.open_again();
    while !matches!(source.step(&mut out), Step::Ended | Step::Stopped) {}
    source.flush(&mut out);
    if out.socket.is_some() {
        out.board.closed(None);
    }
}

impl Datagrams {
    /// Sends nothing yet.
    pub fn new(door: &Door, host: &str, (board, clock, stop): (Board, StationClock, Stop)) -> Self {
        Self {
            host: host.into(),
            socket: None,
            tried: None,
            framing: door.framing.clone(),
            buffer: Vec::new(),
            pace: door.rate_bit_s.map(Pace::new),
            clock,
            board,
            stop,
        }
    }

    /// Finds the host.
    pub fn open(&mut self) -> io::Result<()> {
        self.socket = Some(connect(&self.host)?);
        self.board.opened();
        Ok(())
    }

    /// The same, where that is not done and was not tried just now.
    fn open_again(&mut self) {
        if self.socket.is_some() || self.tried.is_some_and(|at| at.elapsed() < RESOLVE_EVERY) {
            return;
        }
        self.tried = Some(Instant::now());
        if let Err(error) = self.open() {
            self.board.failed(&format!("udp:{}: {error}", self.host));
        }
    }

    fn drop_one(&self, reason: &'static str) {
        self.board.count(|view| *view.dropped.entry(reason).or_default() += 1);
    }
}

fn connect(host: &str) -> io::Result<UdpSocket> {
    let mut last = io::Error::other("the name has no address");
    for address in host.to_socket_addrs()? {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Out for Datagrams {
    fn put(&mut self, parcel: &Parcel) -> ControlFlow<()> {
        self.open_again();
        self.buffer.clear();
        if self.framing.write(&parcel.bytes, &mut self.buffer).is_err() {
            self.drop_one("framing");
            return ControlFlow::Continue(());
        }
        if self.buffer.len() > DATAGRAM_BYTES_MAX {
            self.drop_one("too_large");
            return ControlFlow::Continue(());
        }
        if let Some(pace) = &mut self.pace {
            let wait = pace.wait_ns(self.buffer.len(), self.clock.mono_ns());
            if wait > 0 {
                thread::sleep(Duration::from_nanos(wait));
            }
        }
        if self.stop.is_over() {
            return ControlFlow::Break(());
        }
        let Some(socket) = &self.socket else {
            self.drop_one("unresolved");
            return ControlFlow::Continue(());
        };
        let mut sent = socket.send(&self.buffer);
        // What an earlier datagram met is told by the next: this one has not been sent.
        if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused) {
            self.drop_one("refused");
            sent = socket.send(&self.buffer);
        }
        match sent {
            Ok(bytes) => self.board.count(|view| {
                view.sent += 1;
                view.sent_bytes += bytes as u64;
            }),
            Err(error) => {
                self.board.failed(&format!("udp:{}: {error}", self.host));
                self.drop_one("send");
            }
        }
        ControlFlow::Continue(())
    }

    fn settle(&mut self) -> ControlFlow<()> {
        self.open_again();
        self.board.tell();
        ControlFlow::Continue(())
    }

    fn checkpoint(&mut self, _: Cursor) {}
}
