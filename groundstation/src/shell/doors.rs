//! The doors' sockets, files and threads: one thread a connection, each at its own pace.

mod sys;
mod board;
mod cursor;
mod source;
mod udp;
mod tcp;
mod file;
pub mod replay;

use self::{
    board::Board,
    cursor::CursorFile,
    source::{LOOK_AGAIN, Source},
};
use super::{clock::StationClock, follow::Hub};
use crate::{
    door::spec::{Begin, Destination, Door},
    publish::Feed,
};
use anyhow::Context as _;
use codecs::mission::Definition;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, sync::watch};

/// Folder of the doors' cursors, beside the station file.
pub const CURSORS: &str = "doors";
/// How long a stop waits for consumers to take what is still to be handed out.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// How soon accepting is tried again where it failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Tells that whatever is under way ends, and until when consumers may take what there is.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<OnceLock<Instant>>);

impl Stop {
    /// Asks, leaving consumers a moment.
    fn ask(&self) {
        let _ = self.0.set(Instant::now() + STOP_WITHIN);
    }

    /// Asks, at once.
    pub fn now(&self) {
        let _ = self.0.set(Instant::now());
    }

    /// Whether consumers have had their time.
    pub fn is_over(&self) -> bool {
        self.0.get().is_some_and(|until| *until <= Instant::now())
    }
}

/// What all doors share.
pub struct Shared {
    /// Where units come from.
    pub hub: Hub,
    /// What the mission says of frames.
    pub definition: Arc<Definition>,
    /// The station's time.
    pub clock: StationClock,
    /// Whose archive it is.
    pub ledger: u64,
    /// The folder of the station file.
    pub base: PathBuf,
    /// The daemon stops.
    pub stop: Stop,
}

impl Shared {
    /// Where a door notes how far it came, if it goes on from there.
    fn cursor_file(&self, door: &Door) -> Option<CursorFile> {
        if door.begin != Begin::Last {
            return None;
        }
        let file = CursorFile::new(&self.base.join(CURSORS), &door.name, self.ledger);
        let told = |error| tracing::error!(door = door.name, %error, "no cursor: begins anew");
        file.map_err(told).ok()
    }
}

/// Doors that are open.
pub struct Doors {
    stop: Stop,
    threads: Threads,
}

type Threads = Arc<Mutex<Vec<JoinHandle<()>>>>;

/// Opens the doors. Only an address to listen on can fail; everything else is tried again.
pub async fn open(
    doors: Vec<Door>,
    shared: Shared,
    feed: &Feed,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Doors> {
    let shared = Arc::new(shared);
    let opened = Doors { stop: shared.stop.clone(), threads: Threads::default() };
    for door in doors {
        let board = Board::new(&door, feed.clone());
        let name = format!("door {}", door.name);
        match door.to.clone() {
            Destination::TcpServer(address) => {
                let listener = listen(&door.name, address)?;
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                let at = listener.local_addr()?;
                board.change(|view| view.to = format!("tcp-server:{at}"));
                let threads = Arc::clone(&opened.threads);
                let serving = accept(listener, Arc::clone(&shared), Arc::new(door), board, threads);
                let mut stopped = stopped.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = serving => {}
                        () = super::signals::told(&mut stopped) => {}
                    }
                });
            }
            to => {
                let shared = Arc::clone(&shared);
                let run = move || match &to {
                    Destination::Udp(host) => {
                        let source = Source::new(&shared, &door, &board, None);
                        udp::run(source, &door, host, (board, shared.clock, shared.stop.clone()));
                    }
                    Destination::TcpClient(host) => tcp::connect(&shared, &door, &board, host),
                    Destination::File(path) => {
                        file::run(&shared, &door, &board, &at(&shared.base, path));
                    }
                    Destination::TcpServer(_) => {}
                };
                opened.spawn(name, run)?;
            }
        }
    }
    Ok(opened)
}

/// Listens for the clients of a door.
pub fn listen(door: &str, address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    std::net::TcpListener::bind(address).with_context(|| {
        format!("door {door}: can't listen on {address} (key to); choose another port")
    })
}

/// A path of the station file, which may be relative to it.
fn at(base: &Path, path: &Path) -> PathBuf {
    base.join(path)
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    door: Arc<Door>,
    board: Board,
    threads: Threads,
) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                board.failed(&format!("can't accept a client: {error}"));
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        if clients.load(Ordering::Relaxed) >= door.clients_max {
            board.change(|view| *view.dropped.entry("too_many_clients").or_default() += 1);
            continue;
        }
        if stream.set_nonblocking(false).is_err() {
            continue;
        }
        clients.fetch_add(1, Ordering::Relaxed);
        let (shared, served) = (Arc::clone(&shared), Arc::clone(&door));
        let (told, counted) = (board.clone(), Arc::clone(&clients));
        let client = move || {
            tcp::serve(&shared, &served, &told, stream);
            counted.fetch_sub(1, Ordering::Relaxed);
        };
        if let Err(error) = spawn(&threads, format!("door {}", door.name), client) {
            clients.fetch_sub(1, Ordering::Relaxed);
            board.failed(&format!("can't serve a client: {error}"));
        }
    }
}

fn spawn(
    threads: &Threads,
    name: String,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let thread = thread::Builder::new().name(name).spawn(run)?;
    let mut threads = threads.lock().unwrap_or_else(PoisonError::into_inner);
    threads.retain(|thread| !thread.is_finished());
    threads.push(thread);
    Ok(())
}

impl Doors {
    fn spawn(&self, name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        spawn(&self.threads, name, run)
    }

    /// The daemon stops: consumers get what there is, within a moment.
    pub fn stop(&self) {
        self.stop.ask();
    }

    /// Waits for the threads, once the archive is closed.
    pub fn join(self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a door's thread failed; see the log above");
            }
        }
    }
}
