//! The sender: one spacecraft that has nothing but frames, and writes them an object at a time.

use super::{
    super::report::Stage,
    child::{cpu_s, now_ns, tell, told},
    frames::{self, FRAME_BYTES, FRAMES_AN_OBJECT},
};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use codecs::{
    ids::{KeyPrefix, Origin, RangeSet, SpacecraftId},
    link::{self, control::ControlReader, profile::LEO, wire::Message},
};
use codecs_quic::{Role, TransportOptions};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, VarInt};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde::{Deserialize, Serialize};
use std::{
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Streams whose last acknowledgement is outstanding.
const STREAMS_MAX: usize = 16;

/// Part of `bench ingest`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is measured
    #[arg(long)]
    pub stage: Stage,
    /// Folder of the station
    #[arg(long)]
    pub station: PathBuf,
    /// Where it listens
    #[arg(long)]
    pub to: SocketAddr,
    /// UDP payload of packets, bytes
    #[arg(long)]
    pub mtu: u16,
    /// How long to send
    #[arg(long)]
    pub seconds: f64,
}

/// What was sent and answered.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Frames.
    pub frames: u64,
    /// Before the first byte.
    pub began_ns: u64,
    /// After the last answer.
    pub ended_ns: u64,
    /// Processor time of the sender.
    pub cpu_s: f64,
    /// Segments that the kernel cuts one send into; 1 where it does not.
    pub gso_segments: usize,
}

/// Sends, and says how long it took.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let objects = frames::objects(SpacecraftId(1), frames::OBJECTS, FRAMES_AN_OBJECT)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&args.station, 1, args.to, args.mtu).await?;
        let prefix = client.prefix(1);
        let time = Duration::from_secs_f64(args.seconds);
        let (began_ns, cpu) = (now_ns(), cpu_s());
        // A session ends with its control stream, and what is not read then is not taken.
        let mut greeted = None;
        let frames = match args.stage {
            Stage::Bare | Stage::Disk => {
                let streams = send(&client.connection, &prefix, &objects, time);
                let (frames, streams) = streams.await?;
                acknowledged(streams).await?;
                frames
            }
            Stage::Decoded => {
                greeted = Some(client.greet().await?);
                let (frames, streams) = send(&client.connection, &prefix, &objects, time).await?;
                acknowledged(streams).await?;
                frames
            }
            Stage::Durable => {
                let control = client.greet().await?;
                let sending = send(&client.connection, &prefix, &objects, time);
                control.receipted(sending).await?
            }
        };
        let (ended_ns, cpu_s) = (now_ns(), cpu_s() - cpu);
        tell(&Sent { frames, began_ns, ended_ns, cpu_s, gso_segments: client.gso_segments })?;
        // Until the parent has the receiver's answer.
        told().await?;
        drop(greeted);
        client.connection.close(VarInt::from_u32(0), b"");
        client.endpoint.wait_idle().await;
        Ok(())
    })
}

/// Part of `bench ingest`
#[derive(Debug, clap::Args)]
pub struct ConnectArgs {
    /// Folder of the station
    #[arg(long)]
    pub station: PathBuf,
    /// Where it listens
    #[arg(long)]
    pub to: SocketAddr,
    /// Spacecraft that connect
    #[arg(long)]
    pub spacecraft: u16,
}

/// Connects spacecraft that all send a while, keeps them connected, and waits for a word.
pub fn connect(args: &ConnectArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for craft in 1..=args.spacecraft {
            let client = Client::connect(&args.station, craft, args.to, 1452).await?;
            let control = client.greet().await?;
            clients.push((client, control, craft));
        }
        let mut sending = JoinSet::new();
        for (client, control, craft) in clients {
            let objects = frames::objects(SpacecraftId(craft), 1, FRAMES_AN_OBJECT)?;
            sending.spawn(async move {
                let prefix = client.prefix(craft);
                let time = Duration::from_secs(2);
                let sent = send(&client.connection, &prefix, &objects, time);
                let frames = control.receipted(sent).await?;
                anyhow::Ok((frames, client))
            });
        }
        let mut connected = Vec::new();
        let mut frames = 0;
        while let Some(ended) = sending.join_next().await {
            let (sent, client) = ended??;
            frames += sent;
            connected.push(client);
        }
        tell(&frames)?;
        told().await?;
        Ok(())
    })
}

/// A spacecraft's connection.
pub(super) struct Client {
    endpoint: Endpoint,
    pub(super) connection: Connection,
    origin: Origin,
    epoch: u64,
    gso_segments: usize,
}

impl Client {
    /// Connects as the `craft`-th enrolled spacecraft.
    pub(super) async fn connect(
        station: &Path,
        craft: u16,
        to: SocketAddr,
        mtu: u16,
    ) -> anyhow::Result<Self> {
        let folder = station.join("enrolled").join(format!("craft-{craft}"));
        let table = std::fs::read_to_string(folder.join("onboard-identity.toml"))?;
        let table: toml::Table = table.parse()?;
        let origin = table["identity"]["origin"].as_str().and_then(Origin::from_hex);
        let mut roots = RootCertStore::empty();
        let authority = station.join("authority/authority.crt");
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(folder.join("identity.crt"))?],
                PrivateKeyDer::from_pem_file(folder.join("identity.key"))?,
            )?;
        tls.alpn_protocols = vec![link::ALPN.to_vec()];
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
        let mut config = ClientConfig::new(Arc::new(tls));
        let options = TransportOptions { mtu_max: mtu, ..TransportOptions::default() };
        let mut numbers = codecs_quic::transport(&LEO, Role::Client, &options)?;
        // The path is loopback: nothing is to be searched for, and no search may fail.
        numbers.initial_mtu(mtu).mtu_discovery_config(None);
        config.transport_config(Arc::new(numbers));
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let (mut endpoint, socket) =
            codecs_quic::open(socket, EndpointConfig::default(), None, &options)?;
        endpoint.set_default_client_config(config);
        let connection = endpoint.connect(to, "station")?.await.context("connect")?;
        Ok(Self {
            endpoint,
            connection,
            origin: origin.context("its origin")?,
            epoch: u64::from_be_bytes(crate::shell::random()?),
            gso_segments: socket.segments_sent_max,
        })
    }

    /// The counter of its frames.
    pub(super) fn prefix(&self, craft: u16) -> KeyPrefix {
        frames::prefix(self.origin, SpacecraftId(craft), self.epoch)
    }

    /// Says hello, and reads the welcome.
    pub(super) async fn greet(&self) -> anyhow::Result<Control> {
        let (send, recv) = self.connection.open_bi().await?;
        let mut control = Control { send, recv, reader: ControlReader::new() };
        let hello = Message::Hello { session: self.epoch, more: false, channels: Vec::new() };
        control.send.write_all(&hello.encode()).await?;
        loop {
            if let Message::Welcome { more: false, .. } = control.message().await? {
                return Ok(control);
            }
        }
    }
}

/// Where receipts come.
pub(super) struct Control {
    send: SendStream,
    recv: RecvStream,
    reader: ControlReader,
}

impl Control {
    /// The next message; nothing is lost where it is not waited for to the end.
    pub(super) async fn message(&mut self) -> anyhow::Result<Message> {
        loop {
            if let Some(message) = self.reader.next_message()? {
                return Ok(message);
            }
            let chunk = self.recv.read_chunk(64 << 10, true).await?;
            self.reader.push(&chunk.context("the station ended its control stream")?.bytes);
        }
    }

    /// Sends, and reads until everything sent is receipted: how many frames.
    async fn receipted(
        mut self,
        sending: impl Future<Output = anyhow::Result<(u64, JoinSet<anyhow::Result<()>>)>>,
    ) -> anyhow::Result<u64> {
        let mut sending = std::pin::pin!(sending);
        let (mut sent, mut receipted) = (None, RangeSet::new());
        while sent.as_ref().is_none_or(|(frames, _)| receipted.count() < *frames) {
            tokio::select! {
                done = &mut sending, if sent.is_none() => sent = Some(done?),
                message = self.message() => match message? {
                    Message::Receipts { entries, .. } => {
                        let ranges = entries.iter().flat_map(|entry| &entry.ranges);
                        ranges.for_each(|range| receipted.insert(*range));
                    }
                    Message::Refusals { reason, .. } => {
                        bail!("the station refused frames: {}", reason.name());
                    }
                    _ => {}
                },
            }
        }
        Ok(receipted.count())
    }
}

/// Writes objects, one behind the other, for so long; the frames in them, and the streams whose
/// last bytes are not acknowledged yet.
async fn send(
    connection: &Connection,
    prefix: &KeyPrefix,
    objects: &[Bytes],
    time: Duration,
) -> anyhow::Result<(u64, JoinSet<anyhow::Result<()>>)> {
    let began = Instant::now();
    let mut streams = JoinSet::new();
    let mut frames = 0;
    for body in objects.iter().cycle() {
        if began.elapsed() >= time {
            break;
        }
        let header = frames::header(prefix, frames, body).encode().to_vec();
        let mut stream = connection.open_uni().await?;
        stream.write_all_chunks(&mut [header.into(), body.clone()]).await?;
        stream.finish()?;
        frames += u64::from(FRAMES_AN_OBJECT);
        streams.spawn(async move {
            let stopped = stream.stopped().await?;
            anyhow::ensure!(stopped.is_none(), "the receiver stopped a stream");
            Ok(())
        });
        while streams.len() > STREAMS_MAX || streams.try_join_next().is_some() {
            if streams.len() > STREAMS_MAX
                && let Some(ended) = streams.join_next().await
            {
                ended??;
            }
        }
    }
    Ok((frames, streams))
}

async fn acknowledged(mut streams: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    Ok(())
}

/// Bytes of frames.
pub const fn bytes(frames: u64) -> u64 {
    frames * FRAME_BYTES as u64
}
