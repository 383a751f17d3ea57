//! The receiver: bare QUIC, or the daemon's own sessions with or without its archive.

use super::{
    super::report::Stage,
    child::{cpu_s, now_ns, tell, told},
    frames::{self, Count, FRAMES_AN_OBJECT},
};
use crate::{
    archive::{Archive, Archived, Settings, twice::Twice},
    config::Config,
    publish::Feed,
    receipt::Ingest,
    shell::{
        catalogue::CatalogueLog,
        clock::StationClock,
        disk::Folder,
        follow::Hub,
        mission, pipeline, reset,
        rules::Rules,
        server,
        session::Station,
        sessions::Sessions,
        tls,
        uplink::Uplink,
        writer::{Sink, Writer},
    },
};
use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use codecs::{
    frame::extract::Extractor,
    ids::Codec,
    link::{
        MAX_OBJECT_BYTES, MAX_UNIT_BYTES,
        object::{ObjectError, ObjectReader},
        receiver::ReceiverConfig,
        wire::Limits,
    },
};
use codecs_quic::Role;
use quinn::{Connection, Endpoint, RecvStream, VarInt};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};

/// How long what was acknowledged may wait to be read.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often that is looked for.
const LOOK_AGAIN: Duration = Duration::from_micros(500);
/// Memory that stitched frames share.
const STITCHED_BYTES: usize = 256 << 10;

/// Part of `bench ingest`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(long)]
    pub stage: Stage,
    /// Station file
    #[arg(long)]
    pub config: PathBuf,
}

/// It listens.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Where.
    pub address: SocketAddr,
    /// Socket buffers as granted, receive and send, bytes.
    pub socket_buffers: [usize; 2],
    /// Packets that the kernel hands over as one; 1 where it does not.
    pub gro_segments: usize,
}

/// It stopped.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// Processor time since it listened.
    pub cpu_s: f64,
    /// When everything was taken; where receipts do not tell the sender itself.
    pub ended_ns: Option<u64>,
    /// Frames whose check field holds; of the bare one, those whose bytes came.
    pub frames: u64,
    /// Others.
    pub erred: u64,
    /// Packets.
    pub packets: u64,
    /// How blocks reached the disk.
    pub write_mode: String,
}

/// Runs until the parent says so.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = UdpSocket::bind("127.0.0.1:0").context("a free UDP port")?;
        let crypto = tls::server_config(&config)?;
        let (quic, strays) = reset::endpoint_config(&config)?;
        let (profile, options) = (config.profile(), config.transport());
        let mut server = server::config(crypto, &profile, &options)?;
        if args.stage == Stage::Bare {
            // No session will give it its share.
            let mut numbers = codecs_quic::transport(&profile, Role::Server, &options)?;
            numbers.receive_window(VarInt::from_u32(profile.connection_window_bytes));
            server.transport_config(Arc::new(numbers));
        }
        let (endpoint, socket) = match args.stage {
            Stage::Bare => codecs_quic::open(socket, quic, Some(server), &options),
            _ => {
                // It looks as often as the daemon and finds room, as ordinary traffic does.
                let crowd = crate::shell::memory::crowd(u64::MAX);
                codecs_quic::open_watched(socket, quic, server, &options, strays, crowd)
            }
        }?;
        let ready = Ready {
            address: endpoint.local_addr()?,
            socket_buffers: [socket.receive_bytes, socket.send_bytes],
            gro_segments: socket.segments_read_max,
        };
        match args.stage {
            Stage::Bare => bare(endpoint, &ready).await,
            Stage::Decoded => decoded(endpoint, &config, &ready).await,
            Stage::Durable | Stage::Disk => durable(endpoint, &config, &ready).await,
        }
    })
}

/// What passed between the word to the parent and the last frame that it announced.
struct Taken {
    cpu_s: f64,
    ended_ns: u64,
}

/// Tells the parent where, and waits until as much is taken as it says was sent.
async fn between(ready: &Ready, taken: impl Fn() -> u64) -> anyhow::Result<Taken> {
    let cpu = cpu_s();
    tell(ready)?;
    let sent = told().await?;
    let patience = Instant::now() + PATIENCE;
    // What the transport acknowledged is not read yet.
    while taken() < sent {
        anyhow::ensure!(Instant::now() < patience, "{} of {sent} were taken", taken());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(Taken { cpu_s: cpu_s() - cpu, ended_ns: now_ns() })
}

async fn bare(endpoint: Endpoint, ready: &Ready) -> anyhow::Result<()> {
    let bytes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&bytes);
    let serving = async move {
        while let Some(incoming) = endpoint.accept().await {
            let connection = incoming.await?;
            tokio::spawn(count(connection, Arc::clone(&counted)));
        }
        anyhow::Ok(())
    };
    let per_object = frames::object_bytes();
    let taken = || bytes.load(Ordering::Relaxed) / per_object * u64::from(FRAMES_AN_OBJECT);
    let Taken { cpu_s, ended_ns } = tokio::select! {
        taken = between(ready, taken) => taken?,
        ended = serving => return ended,
    };
    let (frames, write_mode) = (taken(), String::new());
    tell(&Done { cpu_s, ended_ns: Some(ended_ns), frames, erred: 0, packets: 0, write_mode })
}

async fn count(connection: Connection, bytes: Arc<AtomicU64>) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    streams.spawn(drain(stream, Arc::clone(&bytes)));
                }
                Err(_) => break,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn drain(mut stream: RecvStream, bytes: Arc<AtomicU64>) {
    let mut chunks = [const { Bytes::new() }; 32];
    while let Ok(Some(count)) = stream.read_chunks(&mut chunks).await {
        let length: usize =
            chunks[..count].iter_mut().map(|chunk| std::mem::take(chunk).len()).sum();
        bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// Reads frames out of objects, each stitched once into memory that many share.
struct Decoding {
    extractor: Extractor,
    stitched: BytesMut,
    count: Arc<Mutex<Count>>,
}

impl Sink for Decoding {
    fn take(&mut self, _: Codec, reader: &mut ObjectReader) -> Result<(), ObjectError> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(head) = reader.peek_unit()? {
            if self.stitched.capacity() < head.length {
                self.stitched.reserve(STITCHED_BYTES.max(head.length));
            }
            self.stitched.resize(head.length, 0);
            if !reader.copy_unit(&head, &mut self.stitched) {
                count.erred += 1;
            }
            count.frame(&mut self.extractor, &self.stitched.split().freeze());
        }
        Ok(())
    }
}

async fn decoded(endpoint: Endpoint, config: &Config, ready: &Ready) -> anyhow::Result<()> {
    let count = Arc::new(Mutex::new(Count::default()));
    let decoding = Decoding {
        extractor: frames::extractor(),
        stitched: BytesMut::with_capacity(STITCHED_BYTES),
        count: Arc::clone(&count),
    };
    let writer = Writer::without_archive(decoding);
    let counted = || {
        let count = count.lock().unwrap_or_else(PoisonError::into_inner);
        count.frames + count.erred
    };
    let Taken { cpu_s, ended_ns } = serve(endpoint, config, writer, 1, ready, counted).await?;
    let Count { frames, erred, packets } = *count.lock().unwrap_or_else(PoisonError::into_inner);
    let (ended_ns, write_mode) = (Some(ended_ns), String::new());
    tell(&Done { cpu_s, ended_ns, frames, erred, packets, write_mode })
}

async fn durable(endpoint: Endpoint, config: &Config, ready: &Ready) -> anyhow::Result<()> {
    let (folder, _lock) = Folder::claim(&config.path(&config.archive.dir))?;
    let settings = Settings { segment_bytes: config.archive.segment_bytes };
    let fresh = u64::from_be_bytes(crate::shell::random()?);
    let (archive, _) = Archive::open(folder.clone(), settings, fresh)?;
    let (ledger, end) = (archive.ledger_id(), archive.end());
    let Archive { intake, volume } = archive;
    let count = Arc::new(Mutex::new(Count::default()));
    let (counted, mut extractor) = (Arc::clone(&count), frames::extractor());
    let handle = move |unit: &Archived| {
        let mut count = counted.lock().unwrap_or_else(PoisonError::into_inner);
        count.frame(&mut extractor, &unit.bytes);
    };
    let hub = Hub::new(folder.clone(), Twice::NOTHING, end);
    let (pipeline, process) = pipeline::start(hub, handle, || {})?;
    let clock = StationClock::new(0.0);
    let commit = Duration::from_millis(config.archive.commit_ms);
    let feed = Feed::default();
    let (writer, thread) =
        Writer::start(Ingest::new(intake), volume, clock, commit, feed, pipeline)?;
    // The sender knows by its receipts that everything is taken.
    let taken = serve(endpoint, config, writer, ledger, ready, || u64::MAX).await?;
    // What was archived is interpreted to its end, which the figure does not hold back for.
    let ended = tokio::task::spawn_blocking(move || thread.join().and_then(|()| process.join()));
    ended.await?.map_err(|_| anyhow::anyhow!("a thread failed; see the log above"))?;
    let Count { frames, erred, packets } = *count.lock().unwrap_or_else(PoisonError::into_inner);
    let write_mode = folder.write_mode().name().to_owned();
    tell(&Done { cpu_s: taken.cpu_s, ended_ns: None, frames, erred, packets, write_mode })
}

/// The daemon's server around a writer, until everything that the parent announces is taken.
async fn serve(
    endpoint: Endpoint,
    config: &Config,
    writer: Writer,
    ledger: u64,
    ready: &Ready,
    taken: impl Fn() -> u64,
) -> anyhow::Result<Taken> {
    let definition = mission::load(&config.path(&config.mission))?;
    let archive = config.path(&config.archive.dir);
    std::fs::create_dir_all(&archive)?;
    let clock = StationClock::new(0.0);
    let (_rules, standing) = watch::channel(Arc::new(Rules::of(config)));
    let (stop, stopped) = watch::channel(false);
    let station = Station {
        rules: standing,
        mission: Arc::new(mission::spacecraft(&definition)),
        writer,
        sessions: Arc::new(Sessions::default()),
        feed: Feed::default(),
        clock,
        receiver: ReceiverConfig {
            ledger,
            domain: definition.domain.clone(),
            limits: Limits {
                object_bytes_max: MAX_OBJECT_BYTES as u32,
                unit_bytes_max: MAX_UNIT_BYTES as u32,
                objects_max: config.profile().objects_max as u16,
            },
            commit_ns: config.archive.commit_ms * 1_000_000,
        },
        uplink: Uplink::open(&archive, &definition.domain, clock)?,
        predecessors: BTreeSet::new(),
        catalogue: CatalogueLog::open(&archive)?.1,
        contacts: Box::new(Vec::new),
    };
    let serving = tokio::spawn(server::run(endpoint, Arc::new(station), stopped));
    let taken = between(ready, taken).await?;
    let _ = stop.send(true);
    serving.await?;
    Ok(taken)
}
