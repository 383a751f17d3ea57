//! A stream to each consumer: those that connect to us, and those that we connect to.

use super::{
    LOOK_AGAIN, Shared, Stop,
    board::Board,
    cursor::{Cursor, CursorFile},
    source::{Out, Source},
    sys::unconfirmed_bytes,
};
use crate::{
    door::{framing::Framing, outbox::Outbox, retry::Retry, select::Parcel, spec::Door},
    shell::follow::Step,
};
use rustix::net::{RecvFlags, recv, sockopt};
use std::{
    io::{self, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    ops::ControlFlow,
    thread,
    time::{Duration, Instant},
};

/// Small frames and packets go into one write up to this many bytes.
const PIECE_BYTES: usize = 16 << 10;
/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How soon a full connection is looked at again, where nothing wakes us.
const PAUSE: Duration = Duration::from_millis(5);

/// How a stream is got again.
enum Again {
    /// It is not: the client may come back.
    Never,
    /// By connecting to this host.
    Connect { host: String, retry: Retry, due: Instant },
}

/// A stream, its like after it breaks, and what neither has confirmed.
pub struct Link {
    stream: Option<TcpStream>,
    since: Instant,
    again: Again,
    outbox: Outbox,
    framing: Framing,
    /// Parcels that wait to make one piece, and the first unit of any.
    piece: Vec<u8>,
    piece_from: Option<crate::archive::record::Position>,
    board: Board,
    cursor: Option<CursorFile>,
    stop: Stop,
}

/// Serves one client that connected, until it goes.
pub fn serve(shared: &Shared, door: &Door, board: &Board, stream: TcpStream) {
    match Link::from(door, board, shared.stop.clone()).prepared(stream) {
        Ok(link) => link.follow(shared, door),
        Err(error) => board.failed(&format!("a client could not be served: {error}")),
    }
}

/// Connects to a host, again and again, until nothing more comes.
pub fn connect(shared: &Shared, door: &Door, board: &Board, host: &str) {
    Link::to(door, board, host, shared.stop.clone()).follow(shared, door);
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(LOOK_AGAIN))?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    // No bound on unconfirmed data: it would cut off a consumer that stands still and is alive.
    Ok(())
}

/// Connects to a host by any of its addresses.
pub fn open(host: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in host.to_socket_addrs()? {
        let opened = TcpStream::connect_timeout(&address, CONNECT_WITHIN);
        match opened.and_then(|stream| prepare(&stream).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Link {
    /// For a client: when its stream is gone, so is the link.
    pub fn from(door: &Door, board: &Board, stop: Stop) -> Self {
        Self::new(door, board, Again::Never, stop)
    }

    /// For a host, which it connects to when it is first asked to write.
    pub fn to(door: &Door, board: &Board, host: &str, stop: Stop) -> Self {
        let (retry, due) = (Retry::default(), Instant::now());
        Self::new(door, board, Again::Connect { host: host.into(), retry, due }, stop)
    }

    fn new(door: &Door, board: &Board, again: Again, stop: Stop) -> Self {
        Self {
            stream: None,
            since: Instant::now(),
            again,
            outbox: Outbox::default(),
            framing: door.framing.clone(),
            piece: Vec::new(),
            piece_from: None,
            board: board.clone(),
            cursor: None,
            stop,
        }
    }

    /// Over a stream that is open.
    pub fn with(mut self, stream: TcpStream) -> Self {
        self.up(stream);
        self
    }

    /// Over a stream that was accepted.
    pub fn prepared(self, stream: TcpStream) -> io::Result<Self> {
        prepare(&stream)?;
        Ok(self.with(stream))
    }

    fn follow(mut self, shared: &Shared, door: &Door) {
        self.cursor = shared.cursor_file(door);
        let cursor = self.cursor.as_ref().and_then(CursorFile::load);
        let mut source = Source::new(shared, door, &self.board, cursor);
        source.checkpoint(&mut self);
        let step = loop {
            match source.step(&mut self) {
                step @ (Step::Ended | Step::Stopped) => break step,
                Step::Went | Step::Quiet => {}
            }
        };
        if step == Step::Ended {
            // What waits is taken up at the next start, where there is one to go on from.
            if self.cursor.is_none() {
                source.flush(&mut self);
            }
            let stop = self.stop.clone();
            self.drain(|| stop.is_over());
        }
        source.checkpoint(&mut self);
        if self.stream.take().is_some() {
            self.board.closed(None);
        }
    }

    /// Waits until the peer's system has everything, or until it is too late; whether it has.
    pub fn drain(&mut self, too_late: impl Fn() -> bool) -> bool {
        self.cut();
        while !self.outbox.is_empty() {
            if too_late() || self.pump().is_break() {
                return false;
            }
            thread::sleep(PAUSE);
        }
        self.board.tell();
        true
    }

    fn up(&mut self, stream: TcpStream) {
        (self.stream, self.since) = (Some(stream), Instant::now());
        let again = self.outbox.reconnected();
        if again > 0 {
            tracing::info!(bytes = again, "sent again on a new connection");
        }
        self.board.opened();
    }

    fn broken(&mut self, error: &io::Error) {
        let Some(stream) = self.stream.take() else { return };
        if let Ok(open) = unconfirmed_bytes(&stream) {
            self.outbox.confirmed(self.outbox.written().saturating_sub(open));
        }
        let held = self.since.elapsed().as_millis() as u64;
        match &mut self.again {
            Again::Never => self.board.closed(None),
            Again::Connect { host, retry, due } => {
                *due = Instant::now() + Duration::from_millis(retry.wait_ms(Some(held)));
                let error = format!("tcp-client:{host}: the connection broke: {error}");
                tracing::warn!("{error}");
                self.board.closed(Some(error));
            }
        }
    }

    /// Connects if it is time; false where there is no connection.
    fn connected(&mut self) -> bool {
        if self.stream.is_some() {
            return true;
        }
        let Again::Connect { host, retry, due } = &mut self.again else { return false };
        if *due > Instant::now() {
            return false;
        }
        match open(host) {
            Ok(stream) => self.up(stream),
            Err(error) => {
                *due = Instant::now() + Duration::from_millis(retry.wait_ms(None));
                self.board.failed(&format!("tcp-client:{host}: {error}"));
            }
        }
        self.stream.is_some()
    }

    /// Writes what the connection takes within a moment, and learns what was confirmed.
    fn pump(&mut self) -> ControlFlow<()> {
        if !self.connected() {
            return match self.again {
                Again::Never => ControlFlow::Break(()),
                Again::Connect { .. } => ControlFlow::Continue(()),
            };
        }
        if let Err(error) = self.exchange() {
            self.broken(&error);
        }
        ControlFlow::Continue(())
    }

    fn exchange(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        // Nobody has anything to tell us; but the end of the stream is news.
        let mut ignored = [0; 4096];
        match recv(&*stream, &mut ignored, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err(io::Error::other("closed by the peer")),
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut failed = None;
        while let Some(bytes) = self.outbox.unwritten() {
            match stream.write(bytes) {
                Ok(count) => self.outbox.wrote(count),
                Err(error) => {
                    let full = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                    failed = (!full.contains(&error.kind())
                        && error.kind() != io::ErrorKind::Interrupted)
                        .then_some(error);
                    break;
                }
            }
        }
        let open = unconfirmed_bytes(stream)?;
        self.outbox.confirmed(self.outbox.written().saturating_sub(open));
        failed.map_or(Ok(()), Err)
    }

    /// Makes a piece of what waits for one.
    fn cut(&mut self) {
        if let Some(from) = self.piece_from.take() {
            self.outbox.push(std::mem::take(&mut self.piece).into(), from);
        }
    }
}

impl Out for Link {
    fn put(&mut self, parcel: &Parcel) -> ControlFlow<()> {
        let before = self.piece.len();
        if self.framing.write(&parcel.bytes, &mut self.piece).is_err() {
            self.piece.truncate(before);
            self.board.count(|view| *view.dropped.entry("framing").or_default() += 1);
            return ControlFlow::Continue(());
        }
        let first = self.piece_from.get_or_insert(parcel.position);
        *first = parcel.position.min(*first);
        let bytes = (self.piece.len() - before) as u64;
        self.board.count(|view| {
            view.sent += 1;
            view.sent_bytes += bytes;
        });
        if self.piece.len() < PIECE_BYTES {
            return ControlFlow::Continue(());
        }
        self.cut();
        self.pump()?;
        while self.outbox.is_full() {
            if self.stop.is_over() {
                return ControlFlow::Break(());
            }
            thread::sleep(PAUSE);
            self.pump()?;
        }
        ControlFlow::Continue(())
    }

    fn settle(&mut self) -> ControlFlow<()> {
        self.cut();
        self.board.tell();
        self.pump()
    }

    fn checkpoint(&mut self, cursor: Cursor) {
        let Some(file) = &self.cursor else { return };
        let open = self.outbox.open_from().into_iter().chain(self.piece_from).min();
        let first = open.into_iter().chain(cursor.held).min();
        let at = first.map_or(cursor.at, |first| first.min(cursor.at));
        let cursor = Cursor { at, held: Vec::new(), warm: cursor.warm.min(at), file: None };
        if let Err(error) = file.save(&cursor) {
            self.board.failed(&format!("how far it came could not be noted: {error}"));
        }
    }
}
