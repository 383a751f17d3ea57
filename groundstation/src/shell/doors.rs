//! The doors' sockets, files and threads: one thread a connection, each at its own pace.

mod sys;
mod board;
mod cursor;
mod source;
mod udp;
mod tcp;
mod file;
pub mod replay;

pub(super) use file::rename_new;

use self::{
    board::Board,
    cursor::CursorFile,
    source::{LOOK_AGAIN, Source},
};
use super::{clock::StationClock, follow::Hub};
use crate::{
    door::spec::{Begin, Destination, Door, DoorConfig},
    publish::{Event, Feed},
};
use anyhow::Context as _;
use codecs::mission::Definition;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, task::AbortHandle};

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
#[derive(Clone)]
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
    /// The door, or the daemon, stops.
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
    shared: Shared,
    feed: Feed,
    open: BTreeMap<String, Open>,
}

/// A door that is open.
struct Open {
    config: DoorConfig,
    shared: Arc<Shared>,
    listener: Option<Arc<TcpListener>>,
    accepting: Option<AbortHandle>,
    threads: Threads,
}

type Threads = Arc<Mutex<Vec<JoinHandle<()>>>>;

/// Doors that the station file names, with every address taken that they listen on: opening them
/// can't fail any more.
pub struct Prepared(Vec<Ready>);

struct Ready {
    config: DoorConfig,
    door: Door,
    listener: Option<Arc<TcpListener>>,
}

impl Doors {
    /// No door yet.
    pub fn new(shared: Shared, feed: Feed) -> Self {
        Self { shared, feed, open: BTreeMap::new() }
    }

    /// Takes the addresses to listen on. Only that can fail; everything else is tried again by the
    /// doors.
    pub async fn prepare(&self, configs: &[DoorConfig]) -> anyhow::Result<Prepared> {
        let mut ready = Vec::new();
        for config in configs {
            let open = self.open.get(&config.name);
            let same = open.is_some_and(|open| open.config == *config);
            // `Config::load` checked it.
            let Ok(door) = config.check() else { continue };
            let listener = match door.to {
                Destination::TcpServer(address) if !same => {
                    let left = self.left(address, configs, &ready);
                    Some(match left {
                        Some(listener) => listener,
                        None => {
                            let listener = listen(&door.name, address)?;
                            listener.set_nonblocking(true)?;
                            Arc::new(TcpListener::from_std(listener)?)
                        }
                    })
                }
                _ => None,
            };
            ready.push(Ready { config: config.clone(), door, listener });
        }
        Ok(Prepared(ready))
    }

    /// An address that a door leaves passes on to the next one: clients that knock in between wait.
    fn left(
        &self,
        address: SocketAddr,
        configs: &[DoorConfig],
        ready: &[Ready],
    ) -> Option<Arc<TcpListener>> {
        let left = self.open.values().filter(|open| !configs.contains(&open.config));
        let taken = |listener: &Arc<TcpListener>| {
            let others = ready.iter().filter_map(|ready| ready.listener.as_ref());
            others.into_iter().any(|other| Arc::ptr_eq(other, listener))
        };
        let fits = |listener: &&Arc<TcpListener>| {
            let own = listener.local_addr().is_ok_and(|at| at == address);
            own && address.port() != 0 && !taken(listener)
        };
        left.filter_map(|open| open.listener.as_ref()).find(fits).cloned()
    }

    /// Opens what is new, closes what is gone, and leaves alone what is as it was.
    pub async fn apply(&mut self, Prepared(ready): Prepared) {
        let stays = |open: &Open| ready.iter().any(|ready| ready.config == open.config);
        let (stay, go): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.open).into_iter().partition(|(_, open)| stays(open));
        self.open = stay;
        go.values().for_each(Open::finish);
        for (name, open) in go {
            // Another of its name goes on where it ends.
            let threads = Arc::clone(&open.threads);
            let _ = tokio::task::spawn_blocking(move || join(&threads)).await;
            self.feed.publish(Event::DoorClosed { name });
        }
        for Ready { config, door, listener } in ready {
            let name = door.name.clone();
            if self.open.contains_key(&name) {
                continue;
            }
            let shared = Shared {
                hub: self.shared.hub.apart(),
                stop: Stop::default(),
                ..self.shared.clone()
            };
            let open = Open::begin(config, door, Arc::new(shared), listener, &self.feed);
            self.open.insert(name, open);
        }
    }

    /// The daemon stops: consumers get what there is, within a moment.
    pub fn stop(&self) {
        for open in self.open.values() {
            open.shared.stop.ask();
            open.accepting.iter().for_each(AbortHandle::abort);
        }
    }

    /// Waits for the threads, once the archive is closed.
    pub fn join(self) {
        self.open.values().for_each(|open| join(&open.threads));
    }
}

impl Open {
    fn begin(
        config: DoorConfig,
        door: Door,
        shared: Arc<Shared>,
        listener: Option<Arc<TcpListener>>,
        feed: &Feed,
    ) -> Self {
        let board = Board::new(&door, feed.clone());
        let threads = Threads::default();
        let mut accepting = None;
        if let Some(listener) = &listener {
            if let Ok(at) = listener.local_addr() {
                board.change(|view| view.to = format!("tcp-server:{at}"));
            }
            let (listener, threads) = (Arc::clone(listener), Arc::clone(&threads));
            let serving = accept(listener, Arc::clone(&shared), Arc::new(door), board, threads);
            accepting = Some(tokio::spawn(serving).abort_handle());
        } else {
            let (name, told) = (format!("door {}", door.name), board.clone());
            let shared = Arc::clone(&shared);
            let run = move || match door.to.clone() {
                Destination::Udp(host) => {
                    let source = Source::new(&shared, &door, &board, None);
                    udp::run(source, &door, &host, (board, shared.clock, shared.stop.clone()));
                }
                Destination::TcpClient(host) => tcp::connect(&shared, &door, &board, &host),
                Destination::File(path) => {
                    file::run(&shared, &door, &board, &at(&shared.base, &path));
                }
                Destination::TcpServer(_) => {}
            };
            if let Err(error) = spawn(&threads, name, run) {
                told.failed(&format!("can't start: {error}"));
            }
        }
        Self { config, shared, listener, accepting, threads }
    }

    /// Closes it: consumers get what is archived by now, within a moment.
    fn finish(&self) {
        self.accepting.iter().for_each(AbortHandle::abort);
        self.shared.hub.finish();
        self.shared.stop.ask();
    }
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
    listener: Arc<TcpListener>,
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

fn join(threads: &Threads) {
    let threads = std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner));
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a door's thread failed; see the log above");
        }
    }
}
