//! A station with doors, and a spacecraft that delivers frames to it.

use bytes::Bytes;
use codecs::{
    frame::aos::{AosBuilder, AosConfig},
    ids::{Apid, Channel, Codec, SeqRange, SpacecraftId, StoreEpoch},
    link::{
        self,
        control::ControlReader,
        object::{Annotation, HEADER_BYTES, ObjectHeader, Quality, TimeSource, write_unit},
        wire::Message,
    },
    packet::space::{PacketHeader, SequenceCount, build},
    time::Tai,
};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;
use std::{net::SocketAddr, path::PathBuf, process::Command, sync::Arc, time::Duration};
use tests::process::{DEADLINE, Daemon, binary, get};

/// Length of every frame here.
pub const FRAME_BYTES: usize = 223;
const SCID: u16 = 71;

const MISSION: &str = "mission = 'test'\ndomain = 'test'\n[[spacecraft]]\nid = 7\nname = 'A'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 223\nfecf = true\n";

/// A station in a temporary folder.
pub struct Station {
    pub dir: tempfile::TempDir,
    pub daemon: Daemon,
    pub quic: SocketAddr,
    pub http: String,
}

impl Station {
    /// Makes a station with these doors and starts it.
    pub fn start(doors: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, mission) = (dir.path().join("station"), dir.path().join("mission.toml"));
        std::fs::write(&mission, MISSION).unwrap();
        let made = Command::new(binary("groundstation"))
            .args(["init", root.to_str().unwrap(), "--mission", mission.to_str().unwrap()])
            .args(["--station", "Test,48,11,500", "--spacecraft", "7:A"])
            .args(["--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::create_dir(root.join("out")).unwrap();
        // It leads to where nothing is yet.
        std::os::unix::fs::symlink("away/frames.bin", root.join("link.bin")).unwrap();
        let config = root.join("station.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n{doors}")).unwrap();
        Self::run(dir)
    }

    fn run(dir: tempfile::TempDir) -> Self {
        let config = dir.path().join("station/station.toml");
        let mut daemon =
            Daemon::start("groundstation", &["run", "--config", config.to_str().unwrap()]);
        let ready = daemon.expect("ready");
        let quic = ready["quic"].as_str().unwrap().parse().unwrap();
        Self { dir, daemon, quic, http: ready["http"].as_str().unwrap().into() }
    }

    /// Kills the daemon without warning, or stops it in order, and starts it again.
    pub fn restart(self, kill: bool) -> Self {
        let Self { dir, daemon, .. } = self;
        if kill {
            // Dropping kills.
            drop(daemon);
        } else {
            daemon.terminate();
            assert!(daemon.end().success());
        }
        Self::run(dir)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("station").join(name)
    }

    /// What a door says of itself.
    pub fn door(&self, name: &str) -> Value {
        let snapshot = get(&self.http, "/api/v1/snapshot");
        let doors = snapshot["doors"].as_array().unwrap();
        doors.iter().find(|door| door["name"] == name).unwrap().clone()
    }

    /// Waits until a door is in a state.
    pub async fn until(&self, name: &str, state: impl Fn(&Value) -> bool) -> Value {
        let reached = async {
            loop {
                let door = self.door(name);
                if state(&door) {
                    return door;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = tokio::time::timeout(DEADLINE, reached).await;
        reached.unwrap_or_else(|_| panic!("door {name} stays {}", self.door(name)))
    }

    /// Where a listening door listens.
    pub fn address(&self, name: &str) -> SocketAddr {
        let to = self.door(name)["to"].as_str().unwrap().to_string();
        to.strip_prefix("tcp-server:").unwrap().parse().unwrap()
    }
}

/// Frames of one virtual channel, with the packets in them.
pub fn recording(vc: u8, packets: u16) -> (Vec<Bytes>, Vec<Vec<u8>>) {
    let config = AosConfig::new(FRAME_BYTES).with_fecf(true);
    let mut builder = AosBuilder::new(config, SCID, vc, 0).unwrap();
    let (mut frames, mut sent) = (vec![], vec![]);
    for count in 0..packets {
        let header = PacketHeader::telemetry(Apid(100 + count % 3), SequenceCount(count / 3));
        let packet = build(&header, &vec![count as u8; 40 + usize::from(count) * 37 % 300]);
        let packet = packet.unwrap();
        builder.push(&packet, &mut |frame| frames.push(frame)).unwrap();
        sent.push(packet);
    }
    builder.flush(&mut |frame| frames.push(frame));
    (frames, sent)
}

/// A spacecraft on its link.
pub struct Craft {
    connection: Connection,
    _send: SendStream,
    recv: RecvStream,
    reader: ControlReader,
    _endpoint: Endpoint,
}

impl Craft {
    /// Connects with the enrolled identity and says hello.
    pub async fn connect(station: &Station) -> Self {
        let folder = station.path("enrolled/a");
        let mut roots = RootCertStore::empty();
        let authority = station.path("authority/authority.crt");
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_file(folder.join("identity.crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(folder.join("identity.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        tls.alpn_protocols = vec![link::ALPN.to_vec()];
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(tls)));
        let connection = endpoint.connect(station.quic, "station").unwrap().await.unwrap();
        let (mut send, recv) = connection.open_bi().await.unwrap();
        let hello = Message::Hello { session: 1, more: false, channels: Vec::new() };
        send.write_all(&hello.encode()).await.unwrap();
        let reader = ControlReader::new();
        let mut craft = Self { connection, _send: send, recv, reader, _endpoint: endpoint };
        while !matches!(craft.message().await, Message::Welcome { more: false, .. }) {}
        craft
    }

    async fn message(&mut self) -> Message {
        loop {
            if let Some(message) = self.reader.next_message().unwrap() {
                return message;
            }
            let read = tokio::time::timeout(DEADLINE, self.recv.read_chunk(65_536, true)).await;
            let chunk = read.expect("the station answers").unwrap().expect("it stays");
            self.reader.push(&chunk.bytes);
        }
    }

    /// Delivers frames of a virtual channel, counted from `first`, in objects of `run` frames of
    /// which the last goes first, and waits for the receipts.
    pub async fn deliver(&mut self, vc: u8, first: u64, frames: &[Bytes], run: usize) {
        let frames: Vec<_> = frames.iter().map(|frame| (frame.clone(), None)).collect();
        self.deliver_units(vc, 1, first, &frames, run).await;
    }

    /// Delivers what an antenna heard of the frames: those of which `heard` says so. Each site is
    /// a store of its own; here it is known by its epoch, which is the antenna's number.
    pub async fn deliver_heard(
        &mut self,
        vc: u8,
        antenna: u16,
        frames: &[Bytes],
        heard: impl Fn(usize) -> bool,
    ) {
        let reception = |(at, frame): (usize, &Bytes)| {
            let annotation = Annotation {
                // A frame a hundredth of a second, and a clock that is a little off.
                received: Tai(1_900_000_000_000_000_000
                    + at as i64 * 10_000_000
                    + i64::from(antenna) * 3_000_000),
                source: TimeSource::Measured,
                quality: Quality::Good,
                antenna,
                corrected_symbols: 0,
            };
            (frame.clone(), Some(annotation))
        };
        let kept = frames.iter().enumerate().filter(|(at, _)| heard(*at));
        let units: Vec<_> = kept.map(reception).collect();
        self.deliver_units(vc, antenna.into(), 0, &units, 40).await;
    }

    async fn deliver_units(
        &mut self,
        vc: u8,
        epoch: u64,
        first: u64,
        frames: &[(Bytes, Option<Annotation>)],
        run: usize,
    ) {
        let channel = Channel::virtual_channel(1, SCID, vc, 0);
        let mut waiting = codecs::ids::RangeSet::new();
        waiting.insert(SeqRange { first, last: first + frames.len() as u64 - 1 });
        let objects: Vec<_> = frames.chunks(run).enumerate().collect();
        for (at, frames) in objects.into_iter().rev() {
            let mut stream = self.connection.open_uni().await.unwrap();
            let bytes = object(channel, epoch, first + (at * run) as u64, frames);
            stream.write_all(&bytes).await.unwrap();
            stream.finish().unwrap();
        }
        while !waiting.is_empty() {
            match self.message().await {
                Message::Receipts { entries, .. } => {
                    let entries = entries.iter().filter(|entry| {
                        (entry.channel, entry.epoch) == (channel, StoreEpoch(epoch))
                    });
                    entries.flat_map(|entry| &entry.ranges).for_each(|r| waiting.remove(*r));
                }
                Message::Refusals { reason, .. } => panic!("refused: {reason:?}"),
                _ => {}
            }
        }
    }
}

fn object(
    channel: Channel,
    epoch: u64,
    first: u64,
    frames: &[(Bytes, Option<Annotation>)],
) -> Vec<u8> {
    let mut body = Vec::new();
    frames.iter().for_each(|(frame, heard)| write_unit(&mut body, *heard, frame));
    let header = ObjectHeader {
        annotated: frames.iter().all(|(_, heard)| heard.is_some()),
        codec: Codec::AosFrame,
        priority: 1,
        epoch: StoreEpoch(epoch),
        spacecraft: SpacecraftId(7),
        channel,
        first,
        count: frames.len() as u32,
        length: body.len() as u32,
        created: Tai(0),
    };
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(&body);
    out
}
