//! The radio's modem: sockets, lines and files; what goes when is [`Radio`]'s decision.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use codecs_quic::{Change, Monotonic};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UdpSocket, unix::pipe},
    sync::{Mutex, mpsc, watch},
};

use super::{held::Held, sources::serial};
use crate::{
    config::{Door, Rf},
    downlink::{
        Stand,
        radio::{Action, Radio, RadioConfig, RadioCounts},
        supply::{self, HeardTogether},
    },
    store::{Disk, Store},
};

/// How long a line may take for a frame beyond which it stands.
const WRITE_MAX: Duration = Duration::from_secs(2);
/// Bytes of one read: more than the longest command unit.
const READ_BYTES: usize = 64 << 10;

/// Where CADUs go.
enum Out {
    Udp(UdpSocket),
    Serial(pipe::Sender),
    File(File),
}

/// Where CLTUs come from.
enum In {
    Udp(UdpSocket),
    Serial(pipe::Receiver),
    Nowhere,
}

/// The task that owns the modem.
pub struct Modem {
    radio: Radio,
    out: Out,
    input: In,
    name: String,
    store: Arc<Mutex<Held<Disk>>>,
    clock: Monotonic,
    stand: watch::Receiver<Stand>,
    told: mpsc::Sender<HeardTogether>,
    complaint: Option<String>,
}

impl Modem {
    /// Opens the modem; the line is what `opened` holds.
    pub async fn open(
        (rf, config): (&Rf, &RadioConfig),
        (store, opened): (Arc<Mutex<Held<Disk>>>, &Store<Disk>),
        clock: Monotonic,
        stand: watch::Receiver<Stand>,
        told: mpsc::Sender<HeardTogether>,
    ) -> anyhow::Result<Self> {
        let radio = supply::open(config, opened).context("[downlink.rf]")?;
        let (out, shared) = open_out(rf).await?;
        let input = open_in(rf, shared).await?;
        let name = rf.to.to_string();
        Ok(Self { radio, out, input, name, store, clock, stand, told, complaint: None })
    }

    /// Sends and hears until `stop` turns true.
    pub async fn run(
        mut self,
        mut commits: mpsc::UnboundedReceiver<Change>,
        mut stop: watch::Receiver<bool>,
    ) -> RadioCounts {
        let mut buffer = vec![0; READ_BYTES];
        while !*stop.borrow() {
            let stand = *self.stand.borrow_and_update();
            self.radio.set_stand(stand);
            self.send().await;
            let due = self.radio.timeout().map(|at| self.clock.instant(at));
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                // Without anyone who knows of contacts the flight is over.
                changed = self.stand.changed() => if changed.is_err() { break },
                change = commits.recv() => match change {
                    Some(change) => supply::committed(&mut self.radio, change),
                    None => break,
                },
                read = self.input.read(&mut buffer) => match read {
                    Ok(length) => self.hear(buffer.get(..length).unwrap_or_default()).await,
                    Err(error) => {
                        self.complain("the uplink", &error);
                        if matches!(self.input, In::Serial(_)) {
                            self.input = In::Nowhere;
                        }
                    }
                },
                () = sleep_until(due) => {}
            }
        }
        self.radio.counts()
    }

    async fn send(&mut self) {
        if self.radio.wants() {
            supply::take_up(&mut self.radio, &self.store.lock().await.store);
        }
        while let Some(action) = self.radio.poll(self.clock.now_ns()) {
            match action {
                Action::Send(cadu) => {
                    if let Err(error) = self.out.send(&cadu).await {
                        // As lost as in the air: its units have no receipt.
                        self.complain("the downlink", &error);
                    }
                }
                Action::Take(key, info) => {
                    let mut held = self.store.lock().await;
                    supply::hand(&mut self.radio, &mut held.store, key, info);
                }
            }
        }
    }

    async fn hear(&mut self, chunk: &[u8]) {
        if let Some(together) = supply::hear(&mut self.radio, chunk) {
            let _ = self.told.send(together).await;
        }
    }

    /// The same trouble is told once, however long it lasts.
    fn complain(&mut self, what: &str, error: &io::Error) {
        let text = format!("{what} by {}: {error}", self.name);
        if self.complaint.as_ref() != Some(&text) {
            tracing::warn!("{text}");
            self.complaint = Some(text);
        }
    }
}

impl Out {
    async fn send(&mut self, cadu: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(cadu).await.map(|_| ()),
            Self::Serial(line) => {
                // A line that stands must not keep the uplink from being heard.
                let written = tokio::time::timeout(WRITE_MAX, line.write_all(cadu)).await;
                written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            // A frame at a time into the page cache: no wait that a thread would be worth.
            Self::File(file) => file.write_all(cadu),
        }
    }
}

impl In {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.recv(buffer).await,
            Self::Serial(line) => match line.read(buffer).await? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                length => Ok(length),
            },
            Self::Nowhere => std::future::pending().await,
        }
    }
}

/// The way out; and the line, where it is one that may be read too.
async fn open_out(rf: &Rf) -> anyhow::Result<(Out, Option<File>)> {
    let at = || format!("[downlink.rf] to = \"{}\"", rf.to);
    match &rf.to {
        Door::Udp(address) => {
            let why = || format!("{}: give a host that has an address, and a port", at());
            let mut addresses = tokio::net::lookup_host(address).await.with_context(why)?;
            let address = addresses.next().with_context(why)?;
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await.with_context(at)?;
            socket.connect(address).await.with_context(at)?;
            Ok((Out::Udp(socket), None))
        }
        Door::Serial(device) => {
            let line = serial::open(device, rf.baud).with_context(at)?;
            let read = line.try_clone().with_context(at)?;
            Ok((Out::Serial(pipe::Sender::from_file_unchecked(line).with_context(at)?), Some(read)))
        }
        Door::File(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            Ok((Out::File(file.with_context(|| format!("{}: can't be written", at()))?), None))
        }
    }
}

async fn open_in(rf: &Rf, shared: Option<File>) -> anyhow::Result<In> {
    let Some(from) = &rf.from else { return Ok(In::Nowhere) };
    let at = || format!("[downlink.rf] from = \"{from}\"");
    match (from, shared) {
        (Door::Udp(address), _) => {
            let bound = UdpSocket::bind(address).await;
            Ok(In::Udp(bound.with_context(|| {
                format!("{}: can't listen there; give a free address and port", at())
            })?))
        }
        (Door::Serial(_), Some(line)) if *from == rf.to => {
            Ok(In::Serial(pipe::Receiver::from_file_unchecked(line).with_context(at)?))
        }
        (Door::Serial(device), _) => {
            let line = serial::open(device, rf.baud).with_context(at)?;
            Ok(In::Serial(pipe::Receiver::from_file_unchecked(line).with_context(at)?))
        }
        (Door::File(_), _) => bail!("{}: no file is listened to", at()),
    }
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    fn rf(to: &str, from: Option<&str>) -> Rf {
        let from = from.map(|from| format!("from = {from:?}\n")).unwrap_or_default();
        let text = format!("to = {to:?}\n{from}rate_bps = 9600\nscid = 71\n");
        codecs::config::parse("rf.toml", &text).unwrap()
    }

    async fn open(rf: &Rf) -> anyhow::Result<(Out, In)> {
        let (out, shared) = open_out(rf).await?;
        Ok((out, open_in(rf, shared).await?))
    }

    #[tokio::test]
    async fn one_line_carries_every_byte_both_ways() {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let device = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
        let device = format!("serial:{device}");
        let (mut out, mut input) = open(&rf(&device, Some(&device))).await.unwrap();
        let all: Vec<u8> = (0..=255).collect();
        out.send(&all).await.unwrap();
        let (mut far, mut came) = (File::from(far), [0; 256]);
        far.read_exact(&mut came).unwrap();
        assert_eq!(came[..], all);
        far.write_all(&all).unwrap();
        let mut heard = Vec::new();
        while heard.len() < all.len() {
            let mut buffer = [0; 256];
            let length = input.read(&mut buffer).await.unwrap();
            heard.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(heard, all);
        drop(far);
        assert!(input.read(&mut [0; 16]).await.is_err(), "a line that is gone says so");
    }

    #[tokio::test]
    async fn a_file_grows_over_restarts_and_mistakes_name_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("air.cadu");
        for byte in [1, 2] {
            let to = format!("file:{}", path.display());
            let (mut out, _) = open(&rf(&to, None)).await.unwrap();
            out.send(&[byte; 3]).await.unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), [1, 1, 1, 2, 2, 2]);
        let missing = format!("file:{}", folder.path().join("no/air.cadu").display());
        let said = |error: anyhow::Error| format!("{error:#}");
        let error = said(open(&rf(&missing, None)).await.err().unwrap());
        assert!(
            error.contains("[downlink.rf] to") && error.contains("can't be written"),
            "{error}"
        );
        let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
        let from = format!("udp:{}", taken.local_addr().unwrap());
        let error = said(open(&rf("udp:127.0.0.1:9", Some(&from))).await.err().unwrap());
        assert!(error.contains("[downlink.rf] from") && error.contains("free address"), "{error}");
        let device = format!("serial:{}", path.display());
        let error = said(open(&rf(&device, None)).await.err().unwrap());
        assert!(error.contains("no serial line"), "{error}");
    }
}
