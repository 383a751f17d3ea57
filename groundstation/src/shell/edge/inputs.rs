//! Inputs: sockets on a thread of their own, so that undoing codes holds up neither link nor spool;
//! a thread a file, which is read in `reading`.

use super::{
    drops::Drops,
    files::{self, FinishedFiles},
};
use crate::{
    edge::{
        config::{Input, Place},
        finished::{FileIdentity, how},
        intake::{Intake, IntakeCounts, Reception, StreamLost},
        recorded::{Begun, Stamp},
        taken::{FileMark, Taken},
        tally::InputTally,
    },
    shell::clock::StationClock,
};
use anyhow::Context as _;
use codecs::link::object::TimeSource;
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Bytes read at a time; with [`QUEUE_MAX`] it bounds what waits for the spool.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
/// Messages that wait for the spool. At the bound streams wait, and datagrams fill the socket's
/// buffer, where the system counts what it drops.
const QUEUE_MAX: usize = 64;
/// The same of files, which lose nothing by waiting.
const FILES_QUEUE_MAX: usize = 4;
/// Datagrams taken in one go.
const DATAGRAMS_MAX: usize = 64;
/// Asked of the system for the buffer of a UDP socket: what a slow commit may take.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// Connections at once on a listening input; another is closed.
const CONNECTIONS_MAX: usize = 16;
/// First wait before a connection is made again.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest such wait.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A modem that vanished is noticed after about half a minute of silence.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// How far the edge has come with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It takes everything.
    Run,
    /// Sockets are closed; files are read to their end.
    Drain,
    /// Nothing more is read.
    Stop,
}

/// What inputs tell.
#[derive(Debug)]
pub enum FromInput {
    /// Units that were heard.
    Heard {
        /// On which input.
        input: usize,
        /// The units, each with when it was heard.
        units: Vec<(Stamp, Reception)>,
        /// How far its file was read for them.
        read: Option<FileMark>,
    },
    /// A file on a disk is read from its start.
    Begun {
        /// On which input.
        input: usize,
        /// Its device and number there.
        file: (u64, u64),
        /// What the spool has of it.
        resumed: Option<Taken>,
    },
    /// The input gives no more.
    Ended {
        /// Which.
        input: usize,
        /// A file that was read to its end, as it then was.
        whole: Option<FileIdentity>,
        /// A file or pipe that was read to its end and gave no unit.
        barren: bool,
    },
}

/// What all inputs share.
#[derive(Debug)]
pub struct Hub {
    /// The inputs.
    pub inputs: Vec<Input>,
    tallies: Vec<Mutex<InputTally>>,
    clock: StationClock,
    /// Files are read once more that were read to their end before.
    again: bool,
}

impl Hub {
    /// Nothing is heard yet.
    pub fn new(inputs: Vec<Input>, clock: StationClock, again: bool) -> Self {
        let tally = |input: &Input| {
            Mutex::new(InputTally { name: input.name.clone(), ..InputTally::default() })
        };
        Self { tallies: inputs.iter().map(tally).collect(), inputs, clock, again }
    }

    /// What is counted of an input.
    pub fn tally(&self, input: usize) -> MutexGuard<'_, InputTally> {
        // Numbers are whole after every statement.
        self.tallies[input].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted of every input.
    pub fn tallies(&self) -> Vec<InputTally> {
        (0..self.inputs.len()).map(|input| self.tally(input).clone()).collect()
    }
}

/// An input with its socket or file.
enum Bound {
    Udp(UdpSocket),
    Listener(TcpListener),
    Connect(String),
    File(File),
}

/// Opens an input and lets it go: what is told where it can't be opened is what a start says.
pub fn try_open(input: &Input) -> anyhow::Result<()> {
    open(input).map(drop)
}

fn open(input: &Input) -> anyhow::Result<(Bound, String)> {
    let bound = bind(&input.place).with_context(|| format!("input {}", input.name))?;
    let by_file = input.recorded.is_some_and(|recorded| recorded.begun == Begun::File);
    if let (Bound::File(file), true) = (&bound.0, by_file) {
        anyhow::ensure!(
            files::identity(file).is_some(),
            "input {}: received = \"file\": {} is no file on a disk, and has no time of its own",
            input.name,
            bound.1
        );
    }
    Ok(bound)
}

fn bind(place: &Place) -> anyhow::Result<(Bound, String)> {
    let at = || place.to_string();
    Ok(match place {
        Place::Udp(address) => {
            let socket = UdpSocket::bind(address).with_context(at)?;
            let asked = SOCKET_BUFFER_BYTES;
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, asked);
            let granted = rustix::net::sockopt::socket_recv_buffer_size(&socket).unwrap_or(0) / 2;
            tracing::info!("{place}: asked for a buffer of {asked} bytes, granted {granted}");
            socket.set_nonblocking(true).with_context(at)?;
            let told = Place::Udp(socket.local_addr().with_context(at)?).to_string();
            (Bound::Udp(socket), told)
        }
        Place::TcpListen(address) => {
            let listener = TcpListener::bind(address).with_context(at)?;
            listener.set_nonblocking(true).with_context(at)?;
            let told = Place::TcpListen(listener.local_addr().with_context(at)?).to_string();
            (Bound::Listener(listener), told)
        }
        Place::Tcp(address) => (Bound::Connect(address.clone()), at()),
        Place::File(path) => {
            let file = File::open(path).with_context(at)?;
            anyhow::ensure!(!file.metadata().with_context(at)?.is_dir(), "{place}: it is a folder");
            (Bound::File(file), at())
        }
        Place::Stdin => {
            let stdin = io::stdin().as_fd().try_clone_to_owned().context("standard input")?;
            (Bound::File(stdin.into()), at())
        }
    })
}

/// What comes in, apart by whether its source can wait.
pub struct Heard {
    /// Of sockets.
    pub live: mpsc::Receiver<FromInput>,
    /// Of files and standard input.
    pub files: mpsc::Receiver<FromInput>,
}

/// Opens every input and starts to listen; says where, in the order of the inputs.
pub fn start(
    hub: &Arc<Hub>,
    phase: &watch::Receiver<Phase>,
    known: &FinishedFiles,
    taken: &BTreeMap<u32, Taken>,
) -> anyhow::Result<(Heard, Vec<String>)> {
    let ((to_live, live), (to_files, files_heard)) =
        (mpsc::channel(QUEUE_MAX), mpsc::channel(FILES_QUEUE_MAX));
    let (mut sockets, mut files, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for (input, of) in hub.inputs.iter().enumerate() {
        let (bound, at) = open(of)?;
        told.push(at);
        let to = if of.place.ends() { to_files.clone() } else { to_live.clone() };
        let feed = Feed { input, hub: Arc::clone(hub), to, phase: phase.clone() };
        match bound {
            Bound::File(file) => {
                let how = how(&of.carrying);
                let held = known.holds(&file, how);
                let noted = files::place(&file).and_then(|(device, inode)| {
                    taken.values().find(|of| of.file.key() == (device, inode, how)).cloned()
                });
                // Read once more from its start is what came to its end; what did not goes on.
                let noted = noted.filter(|of| !(hub.again && (held || of.whole)));
                files.push((feed, file, hub.again || !held, noted));
            }
            bound => sockets.push((feed, bound)),
        }
    }
    for (feed, file, wanted, noted) in files {
        std::thread::Builder::new()
            .name("edge-file".into())
            .spawn(move || if wanted { feed.file(file, noted) } else { feed.pass_over() })
            .context("no thread for a file")?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("edge-inputs".into())
        .spawn(move || {
            runtime.block_on(async {
                let mut inputs = JoinSet::new();
                sockets.into_iter().for_each(|(feed, bound)| {
                    inputs.spawn(feed.socket(bound));
                });
                while inputs.join_next().await.is_some() {}
            });
        })
        .context("no thread for sockets")?;
    Ok((Heard { live, files: files_heard }, told))
}

/// One input on its way to the spool.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) input: usize,
    pub(super) hub: Arc<Hub>,
    pub(super) to: mpsc::Sender<FromInput>,
    pub(super) phase: watch::Receiver<Phase>,
}

/// One connection or file.
pub(super) struct Stream {
    intake: Intake,
    counted: IntakeCounts,
}

impl Feed {
    pub(super) fn of(&self) -> &Input {
        &self.hub.inputs[self.input]
    }

    pub(super) fn begin(&self) -> Option<Stream> {
        let Input { name, carrying, envelope, .. } = self.of();
        match Intake::new(carrying, *envelope) {
            Ok(intake) => {
                let mut tally = self.hub.tally(self.input);
                (tally.connections, tally.open) = (tally.connections + 1, tally.open + 1);
                Some(Stream { intake, counted: IntakeCounts::default() })
            }
            Err(error) => {
                tracing::error!(input = name, "{error}");
                None
            }
        }
    }

    /// What the clock says now.
    pub(super) fn now(&self, source: TimeSource) -> Stamp {
        Stamp { received: self.hub.clock.tai(), source }
    }

    /// Cuts a chunk, which came then, into units.
    pub(super) fn cut(
        &self,
        stream: &mut Stream,
        (chunk, came): (&[u8], Stamp),
        units: &mut Vec<(Stamp, Reception)>,
    ) -> Result<(), StreamLost> {
        let done = stream.intake.push(chunk, &mut |unit| units.push((came, unit)));
        let mut tally = self.hub.tally(self.input);
        tally.bytes += chunk.len() as u64;
        self.count(&mut tally, stream);
        done
    }

    fn count(&self, tally: &mut InputTally, stream: &mut Stream) {
        let now = stream.intake.counts();
        tally.add(&now, &stream.counted);
        stream.counted = now;
    }

    pub(super) fn message(&self, units: Vec<(Stamp, Reception)>) -> Option<FromInput> {
        let read = None;
        (!units.is_empty()).then_some(FromInput::Heard { input: self.input, units, read })
    }

    /// Ends a connection: what waited for more comes out, and came then.
    pub(super) fn end(
        &self,
        mut stream: Stream,
        came: Stamp,
        lost: Result<(), StreamLost>,
    ) -> Option<FromInput> {
        let mut units = Vec::new();
        stream.intake.finish(&mut |unit| units.push((came, unit)));
        let mut tally = self.hub.tally(self.input);
        self.count(&mut tally, &mut stream);
        tally.open -= 1;
        tally.in_sync -= u64::from(stream.counted.in_sync);
        if let Err(lost) = lost {
            tally.streams_lost += 1;
            tracing::warn!(input = self.of().name, "{lost}");
        }
        drop(tally);
        self.message(units)
    }

    async fn send(&self, message: Option<FromInput>) {
        // Without a receiver the edge is gone.
        if let Some(message) = message {
            let _ = self.to.send(message).await;
        }
    }

    async fn stopping(&mut self) {
        let _ = self.phase.wait_for(|phase| *phase >= Phase::Drain).await;
    }

    async fn socket(mut self, bound: Bound) {
        let done = match bound {
            Bound::Udp(socket) => self.datagrams(socket).await,
            Bound::Listener(listener) => self.listen(listener).await,
            Bound::Connect(address) => {
                self.connect(&address).await;
                Ok(())
            }
            Bound::File(_) => Ok(()),
        };
        if let Err(error) = done {
            tracing::error!(input = self.of().name, "{error}");
        }
        self.send(Some(FromInput::Ended { input: self.input, whole: None, barren: false })).await;
    }

    async fn datagrams(&mut self, socket: UdpSocket) -> io::Result<()> {
        let drops = Drops::of(&socket);
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let Some(mut stream) = self.begin() else { return Ok(()) };
        let mut datagram = vec![0; 1 << 16];
        loop {
            tokio::select! {
                ready = socket.readable() => ready?,
                () = self.stopping() => break,
            }
            let mut units = Vec::new();
            for _ in 0..DATAGRAMS_MAX {
                match socket.try_recv(&mut datagram) {
                    // A stream of coded units is found again by its markers, and datagrams have
                    // no stream: nothing is ever lost for good.
                    Ok(length) => {
                        let came = (&datagram[..length], self.now(TimeSource::Measured));
                        let _ = self.cut(&mut stream, came, &mut units);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => tracing::warn!(input = self.of().name, "{error}"),
                }
            }
            self.count_drops(drops.as_ref().and_then(Drops::count));
            self.send(self.message(units)).await;
        }
        self.count_drops(drops.as_ref().and_then(Drops::latest));
        let last = self.end(stream, self.now(TimeSource::Measured), Ok(()));
        self.send(last).await;
        Ok(())
    }

    fn count_drops(&self, dropped: Option<u64>) {
        if let Some(dropped) = dropped {
            self.hub.tally(self.input).dropped_datagrams = dropped;
        }
    }

    async fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = self.stopping() => break,
            };
            let name = &self.of().name;
            match accepted {
                Ok((_, peer)) if connections.len() >= CONNECTIONS_MAX => {
                    tracing::warn!(input = name, %peer, "closed: {CONNECTIONS_MAX} are open");
                }
                Ok((connection, peer)) => {
                    tracing::info!(input = name, %peer, "connected");
                    let mut feed = self.clone();
                    connections.spawn(async move { feed.read(connection, peer).await });
                }
                Err(error) => {
                    tracing::warn!(input = name, "{error}");
                    // Out of descriptors, as a rule: trying at once would only burn time.
                    tokio::time::sleep(BACKOFF_MIN).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
        Ok(())
    }

    async fn connect(&mut self, address: &str) {
        let (mut backoff, mut complaint) = (BACKOFF_MIN, None);
        while *self.phase.borrow() < Phase::Drain {
            let connected = tokio::select! {
                connected = TcpStream::connect(address) => connected,
                () = self.stopping() => break,
            };
            match connected.and_then(|connection| Ok((connection.peer_addr()?, connection))) {
                Ok((peer, connection)) => {
                    tracing::info!(input = self.of().name, %peer, "connected");
                    complaint = None;
                    if self.read(connection, peer).await > 0 {
                        backoff = BACKOFF_MIN;
                    }
                }
                // The same trouble is told once, however long it lasts.
                Err(error) => {
                    let text = error.to_string();
                    if complaint.as_ref() != Some(&text) {
                        tracing::warn!(input = self.of().name, "not connected: {text}");
                        complaint = Some(text);
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => backoff = (2 * backoff).min(BACKOFF_MAX),
                () = self.stopping() => {}
            }
        }
    }

    /// Reads a connection to its end; how many bytes there were.
    async fn read(&mut self, mut connection: TcpStream, peer: SocketAddr) -> u64 {
        let Some(mut stream) = self.begin() else { return 0 };
        keep_alive(&connection);
        let (mut chunk, mut total, mut lost) = (vec![0; CHUNK_BYTES], 0, Ok(()));
        loop {
            let read = tokio::select! {
                read = connection.read(&mut chunk) => read,
                () = self.stopping() => break,
            };
            match read {
                Ok(0) => {
                    tracing::info!(input = self.of().name, %peer, "closed by the other side");
                    break;
                }
                Ok(read) => {
                    total += read as u64;
                    let mut units = Vec::new();
                    let came = (&chunk[..read], self.now(TimeSource::Measured));
                    lost = self.cut(&mut stream, came, &mut units);
                    self.send(self.message(units)).await;
                    if lost.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(input = self.of().name, %peer, "{error}");
                    break;
                }
            }
        }
        let last = self.end(stream, self.now(TimeSource::Measured), lost);
        self.send(last).await;
        total
    }
}

fn keep_alive(connection: &TcpStream) {
    use rustix::net::sockopt;
    // Where the system refuses, a dead peer is noticed later.
    let _ = sockopt::set_socket_keepalive(connection, true)
        .and_then(|()| sockopt::set_tcp_keepidle(connection, KEEPALIVE_IDLE))
        .and_then(|()| sockopt::set_tcp_keepintvl(connection, KEEPALIVE_IDLE / 3))
        .and_then(|()| sockopt::set_tcp_keepcnt(connection, 3));
}
