//! A peer made of the protocol's own parts, which can also do what no honest peer does.

use bytes::Bytes;
use codecs::{
    ids::{Channel, Codec, KeyPrefix, Origin, SeqRange, SpacecraftId, StoreEpoch},
    link::{
        self,
        control::ControlReader,
        custody::{KeyRanges, RefusalReason},
        object::{HEADER_BYTES, ObjectHeader, write_unit},
        wire::Message,
    },
    time::Tai,
};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};
use rustls::{
    ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tests::process::{Daemon, binary, get};

/// How long anything awaited here may take.
pub const SOON: Duration = Duration::from_secs(20);

/// A station in a temporary folder.
pub struct Station {
    pub dir: tempfile::TempDir,
    pub daemon: Daemon,
    pub quic: SocketAddr,
    pub http: String,
}

impl Station {
    /// Makes a station with two spacecraft, 7 and 8, and starts it.
    pub fn start() -> Self {
        Self::start_in(&[])
    }

    /// The same, with more in its environment.
    pub fn start_in(environment: &[(&str, &str)]) -> Self {
        let craft = [(7, "A".to_string()), (8, "B".to_string())];
        Self::run(Self::make(&craft), environment)
    }

    /// A station with so many spacecraft, numbered from 1, and a place for each.
    pub fn fleet(count: u16) -> Self {
        let craft: Vec<_> = (1..=count).map(|id| (id, format!("S{id}"))).collect();
        let dir = Self::make(&craft);
        let config = dir.path().join("station/station.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let places = format!("[listen]\nconnections_max = {}", count + 4);
        // So many at once may be slow, and are not stopped for it.
        let text = text.replace("[listen]", &places).replace("object_stall_s = 1", "");
        std::fs::write(&config, text).unwrap();
        Self::run(dir, &[])
    }

    fn make(craft: &[(u16, String)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("station");
        let mission = dir.path().join("mission.toml");
        let mut definition = "mission = \"test\"\ndomain = \"test\"\n".to_string();
        let mut init = Command::new(binary("groundstation"));
        init.args(["init", root.to_str().unwrap(), "--mission", mission.to_str().unwrap()])
            .args(["--station", "Test,48,11,500"])
            .args(["--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        for (id, name) in craft {
            definition.push_str(&format!("[[spacecraft]]\nid = {id}\nname = \"{name}\"\n"));
            init.args(["--spacecraft", &format!("{id}:{name}")]);
        }
        std::fs::write(&mission, definition).unwrap();
        let made = init.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let config = root.join("station.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("[identity]", "object_stall_s = 1\n\n[identity]");
        std::fs::write(&config, text).unwrap();
        dir
    }

    fn run(dir: tempfile::TempDir, environment: &[(&str, &str)]) -> Self {
        let config = text(&dir.path().join("station/station.toml"));
        let arguments = ["run", "--config", &config];
        let mut daemon = Daemon::start_in("groundstation", &arguments, environment);
        let ready = daemon.expect("ready");
        let quic = ready["quic"].as_str().unwrap().parse().unwrap();
        Self { dir, daemon, quic, http: ready["http"].as_str().unwrap().into() }
    }

    /// Kills the daemon without warning and starts it again, on another port.
    pub fn kill_and_restart(self) -> Self {
        let Self { dir, daemon, .. } = self;
        // Dropping kills.
        drop(daemon);
        Self::run(dir, &[])
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("station").join(name)
    }

    /// Changes the station file.
    pub fn configure(&self, change: impl FnOnce(String) -> String) {
        let path = self.path("station.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = change(text.clone());
        assert_ne!(text, changed, "nothing changed");
        std::fs::write(&path, changed).unwrap();
    }

    /// Runs a command of the station's on its file: whether it went well, and what it said.
    pub fn command(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(binary("groundstation"));
        command.args(arguments).arg("--config").arg(self.path("station.toml"));
        let out = command.output().unwrap();
        let text = if out.status.success() { out.stdout } else { out.stderr };
        (out.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// The daemon's resident memory, now and at its highest, in bytes.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id())).unwrap();
        let kibibytes = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        (kibibytes("VmRSS:") << 10, kibibytes("VmHWM:") << 10)
    }

    /// What `check` says that memory may reach, in bytes.
    pub fn budget(&self) -> u64 {
        let (done, said) = self.command(&["check", "--json"]);
        assert!(done, "{said}");
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        said["memory"]["bytes"].as_u64().unwrap()
    }

    /// What the page counts.
    pub fn counts(&self) -> serde_json::Value {
        get(&self.http, "/api/v1/snapshot")["counts"].clone()
    }

    /// Waits until a count is reached.
    pub async fn counted(&self, pointer: &str, wanted: u64) {
        let reached = async {
            loop {
                let counts = self.counts();
                if counts.pointer(pointer).and_then(|count| count.as_u64()) >= Some(wanted) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = tokio::time::timeout(SOON, reached).await;
        assert!(reached.is_ok(), "{pointer} did not reach {wanted}: {}", self.counts());
    }

    /// Proves the archive.
    pub fn audit(&self) -> serde_json::Value {
        let config = text(&self.path("station.toml"));
        let out = Command::new(binary("groundstation"))
            .args(["audit", "--json", "--config", &config])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// The identity of an enrolled spacecraft.
    pub fn identity(&self, name: &str) -> Identity {
        let folder = self.path("enrolled").join(name);
        let table = std::fs::read_to_string(folder.join("onboard-identity.toml")).unwrap();
        let table: toml::Table = table.parse().unwrap();
        let origin = table["identity"]["origin"].as_str().unwrap();
        Identity {
            chain: vec![CertificateDer::from_pem_file(folder.join("identity.crt")).unwrap()],
            key: PrivateKeyDer::from_pem_file(folder.join("identity.key")).unwrap(),
            origin: Origin::from_hex(origin).unwrap(),
        }
    }

    /// A greeted client with the identity of spacecraft 7.
    pub async fn honest(&self) -> Client {
        let mut client = Client::connect(self, Some(self.identity("a"))).await.unwrap();
        client.hello(1).await;
        client
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}

/// Certificate, key, and the origin that goes with them.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub origin: Origin,
}

/// A connection with its control stream.
pub struct Client {
    pub connection: Connection,
    pub send: SendStream,
    recv: RecvStream,
    reader: ControlReader,
    pub endpoint: Endpoint,
}

/// An endpoint that trusts the station's authority.
pub fn endpoint(station: &Station, identity: Option<Identity>, alpn: &[u8]) -> Endpoint {
    endpoint_on("127.0.0.1:0", station, identity, alpn)
}

/// The same, on an address.
pub fn endpoint_on(
    address: &str,
    station: &Station,
    identity: Option<Identity>,
    alpn: &[u8],
) -> Endpoint {
    let mut tls = match identity {
        Some(identity) => {
            trusting(station).with_client_auth_cert(identity.chain, identity.key).unwrap()
        }
        None => trusting(station).with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let mut endpoint = Endpoint::client(address.parse().unwrap()).unwrap();
    endpoint.set_default_client_config(quic(tls));
    endpoint
}

/// TLS 1.3 that trusts the station's authority.
pub fn trusting(station: &Station) -> ConfigBuilder<rustls::ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    let authority = station.path("authority/authority.crt");
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
}

/// An endpoint with another TLS for its connections.
pub fn with_tls(mut endpoint: Endpoint, mut tls: rustls::ClientConfig) -> Endpoint {
    tls.alpn_protocols = vec![link::ALPN.to_vec()];
    endpoint.set_default_client_config(quic(tls));
    endpoint
}

fn quic(tls: rustls::ClientConfig) -> ClientConfig {
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    ClientConfig::new(Arc::new(tls))
}

impl Client {
    /// Connects; a refusal of the certificate shows once something is read.
    pub async fn connect(station: &Station, identity: Option<Identity>) -> Result<Self, String> {
        Self::connect_from(endpoint(station, identity, link::ALPN), station).await
    }

    /// The same, over an endpoint that there is.
    pub async fn connect_from(endpoint: Endpoint, station: &Station) -> Result<Self, String> {
        let connecting = endpoint.connect(station.quic, "station").unwrap();
        let connection = connecting.await.map_err(|error| error.to_string())?;
        let (send, recv) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let reader = ControlReader::new();
        Ok(Self { connection, send, recv, reader, endpoint })
    }

    /// Says hello and returns what of this origin is durable.
    pub async fn hello(&mut self, session: u64) -> Vec<KeyRanges> {
        self.say_hello(session).await;
        let mut all = Vec::new();
        loop {
            match self.message().await {
                Ok(Message::Welcome { durable, more, .. }) => {
                    all.extend(durable);
                    if !more {
                        return all;
                    }
                }
                other => panic!("wanted a welcome: {other:?}"),
            }
        }
    }

    /// Says hello and waits for nothing.
    pub async fn say_hello(&mut self, session: u64) {
        let hello = Message::Hello { session, more: false, channels: Vec::new() };
        self.send.write_all(&hello.encode()).await.unwrap();
    }

    /// The next control message, or why the connection ended.
    pub async fn message(&mut self) -> Result<Message, String> {
        loop {
            if let Some(message) = self.reader.next_message().unwrap() {
                return Ok(message);
            }
            let read = tokio::time::timeout(SOON, self.recv.read_chunk(65_536, true)).await;
            match read.map_err(|_| "nothing came".to_string())? {
                Ok(Some(chunk)) => self.reader.push(&chunk.bytes),
                Ok(None) => return Err("the control stream ended".into()),
                Err(error) => return Err(format!("{error}: {:?}", self.connection.close_reason())),
            }
        }
    }

    /// Reads until these sequences are receipted; the ledger that did.
    pub async fn receipted(&mut self, stream: u32, range: SeqRange) -> u64 {
        let mut waiting = codecs::ids::RangeSet::new();
        waiting.insert(range);
        let mut by = 0;
        while !waiting.is_empty() {
            match self.message().await {
                Ok(Message::Receipts { entries, ledger, .. }) => {
                    by = ledger;
                    let entries = entries.iter().filter(|e| e.channel == Channel::stream(stream));
                    entries.flat_map(|entry| &entry.ranges).for_each(|r| waiting.remove(*r));
                }
                Ok(Message::Refusals { reason, .. }) => panic!("refused: {reason:?}"),
                Ok(_) => {}
                Err(error) => panic!("{error}, waiting for {waiting:?}"),
            }
        }
        by
    }

    /// Reads until something is refused.
    pub async fn refused(&mut self) -> (RefusalReason, u32, Vec<KeyRanges>) {
        loop {
            match self.message().await {
                Ok(Message::Refusals { reason, retry_after_ms, entries }) => {
                    return (reason, retry_after_ms, entries);
                }
                Ok(_) => {}
                Err(error) => panic!("{error}, waiting for a refusal"),
            }
        }
    }

    /// Reads until these sequences are receipted and something else is refused, in any order.
    pub async fn refused_and_receipted(
        &mut self,
        stream: u32,
        range: SeqRange,
    ) -> (RefusalReason, u32, Vec<KeyRanges>) {
        let mut waiting = codecs::ids::RangeSet::new();
        waiting.insert(range);
        let mut refused = None;
        while !waiting.is_empty() || refused.is_none() {
            match self.message().await {
                Ok(Message::Receipts { entries, .. }) => {
                    let entries = entries.iter().filter(|e| e.channel == Channel::stream(stream));
                    entries.flat_map(|entry| &entry.ranges).for_each(|r| waiting.remove(*r));
                }
                Ok(Message::Refusals { reason, retry_after_ms, entries }) => {
                    refused = Some((reason, retry_after_ms, entries));
                }
                Ok(_) => {}
                Err(error) => panic!("{error}, waiting for {waiting:?} and a refusal"),
            }
        }
        refused.unwrap()
    }

    /// Sends an object and finishes its stream.
    pub async fn object(&self, bytes: Bytes) {
        let mut stream = self.connection.open_uni().await.unwrap();
        // It may be stopped before all is written.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.finish();
    }

    /// Why the station closed the connection.
    pub async fn closed(&self) -> String {
        let closed = tokio::time::timeout(SOON, self.connection.closed()).await;
        closed.expect("the station keeps the connection").to_string()
    }
}

/// The prefix that objects here have.
pub fn prefix(origin: Origin, stream: u32) -> KeyPrefix {
    KeyPrefix {
        origin,
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: Channel::stream(stream),
    }
}

/// A unit's bytes by its sequence.
pub fn unit(sequence: u64) -> Vec<u8> {
    (0..200 + sequence % 700).map(|at| (at * 7 + sequence) as u8).collect()
}

/// An object of whole units of spacecraft 7, with a header to lie in.
pub fn object(stream: u32, first: u64, count: u64, lie: impl FnOnce(&mut ObjectHeader)) -> Bytes {
    object_of(7, stream, first, count, lie)
}

/// The same of any spacecraft.
pub fn object_of(
    spacecraft: u16,
    stream: u32,
    first: u64,
    count: u64,
    lie: impl FnOnce(&mut ObjectHeader),
) -> Bytes {
    let mut body = Vec::new();
    (first..first + count).for_each(|sequence| write_unit(&mut body, None, &unit(sequence)));
    let mut header = ObjectHeader {
        annotated: false,
        codec: Codec::Record,
        priority: 1,
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(spacecraft),
        channel: Channel::stream(stream),
        first,
        count: count as u32,
        length: body.len() as u32,
        created: Tai(0),
    };
    lie(&mut header);
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(&body);
    out.into()
}
