//! Connections of the serving side, within TLS where it has a certificate.
//!
//! Handshakes go side by side, so that one who connects and says nothing keeps nobody waiting.

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// Time for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections at a time to a listener, those in a handshake counted; who comes on top waits in the
/// system's queue.
const CONNECTIONS_MAX: usize = 256;

/// Bytes that a client of HTTP/2 says first (RFC 9113 §3.4), and time for them.
const PREFACE_BYTES: usize = 24;
const OPENING_TIMEOUT: Duration = Duration::from_secs(20);

/// Time for a client to read something of what is written to it.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause after an error of the system's own, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The server's side of TLS out of PEM files; a client that names a protocol gets this one.
pub fn acceptor(cert: &Path, key: &Path, protocol: &[u8]) -> anyhow::Result<TlsAcceptor> {
    let read = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain: Vec<_> = read.with_context(|| format!("certificate {}", cert.display()))?;
    anyhow::ensure!(!chain.is_empty(), "certificate {}: none in PEM", cert.display());
    let secret = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("key {}: no private key in PEM", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .with_context(|| format!("certificate {} and key {}", cert.display(), key.display()))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that a client made; its place is free once it is dropped.
pub struct Connection {
    stream: Stream,
    /// Time until it has said what is to be said first, and how much of that is left.
    opening: Option<(Pin<Box<Sleep>>, usize)>,
    /// Time for the other end to take what is written, and that time once it makes somebody wait.
    stall_time: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: Stream, place: OwnedSemaphorePermit) -> Self {
        Self { stream, opening: None, stall_time: STALL_TIMEOUT, stalled: None, _place: place }
    }

    /// The same, which ends where HTTP/2's first words do not come in time.
    pub fn opening(self) -> Self {
        let time = Box::pin(sleep(OPENING_TIMEOUT));
        Self { opening: Some((time, PREFACE_BYTES)), ..self }
    }

    /// Ends what waits too long for the other end to read.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.stall_time)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Where clients connect.
pub struct Incoming {
    address: Option<SocketAddr>,
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
}

impl Incoming {
    /// Accepts until it is dropped.
    pub fn new(listener: TcpListener, acceptor: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().ok();
        let (tell, ready) = mpsc::channel(CONNECTIONS_MAX);
        tokio::spawn(accept(listener, acceptor, tell));
        Self { address, ready }
    }

    /// The next connection; none when nobody accepts any more.
    pub async fn next(&mut self) -> Option<Connection> {
        self.ready.recv().await.map(|(connection, _)| connection)
    }
}

impl From<TcpListener> for Incoming {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener, None)
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    ready: mpsc::Sender<(Connection, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut told = false;
    loop {
        let free = places.available_permits();
        if free == 0 && !told {
            tracing::info!("{CONNECTIONS_MAX} connections: who comes waits until one ends");
        }
        told = free == 0 || told && free < CONNECTIONS_MAX / 2;
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = ready.closed() => return,
        };
        let Ok(place) = place else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("accepting: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are written whole: waiting to fill a packet only costs time.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = acceptor.clone() else {
            let connection = Connection::new(Stream::Plain(stream), place);
            if ready.send((connection, peer)).await.is_err() {
                return;
            }
            continue;
        };
        let ready = ready.clone();
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
            match shaken {
                Ok(Ok(stream)) => {
                    let stream = Stream::Tls(Box::new(stream));
                    let _ = ready.send((Connection::new(stream, place), peer)).await;
                }
                Ok(Err(error)) => tracing::info!("no TLS with {peer}: {error}"),
                Err(_) => tracing::info!("no TLS with {peer}: it says nothing"),
            }
        });
    }
}

impl axum::serve::Listener for Incoming {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The one who accepts ends only with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let own = self.get_mut();
        let before = buf.filled().len();
        let read = match &mut own.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let Some((time, left)) = &mut own.opening else { return read };
        *left = left.saturating_sub(buf.filled().len() - before);
        if *left == 0 {
            own.opening = None;
        } else if read.is_pending() {
            ready!(time.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let own = self.get_mut();
        let wrote = match &mut own.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        own.written(cx, wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let own = self.get_mut();
        let wrote = match &mut own.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        own.written(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let own = self.get_mut();
        let wrote = match &mut own.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        own.written(cx, wrote)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Both ends of a connection.
    async fn connection() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let places = Arc::new(Semaphore::new(1));
        let stream = Stream::Plain(listener.accept().await.unwrap().0);
        (Connection::new(stream, places.try_acquire_owned().unwrap()), other)
    }

    #[tokio::test]
    async fn who_does_not_begin_or_does_not_read_is_let_go() {
        let soon = || Box::pin(sleep(Duration::from_millis(20)));
        let (mut own, mut other) = connection().await;
        own.opening = Some((soon(), 2));
        other.write_all(b"a").await.unwrap();
        let mut bytes = [0; 8];
        assert_eq!(own.read(&mut bytes).await.unwrap(), 1);
        let late = own.read(&mut bytes).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);

        let (mut own, mut other) = connection().await;
        own.opening = Some((Box::pin(sleep(OPENING_TIMEOUT)), 2));
        other.write_all(b"ab").await.unwrap();
        own.read_exact(&mut bytes[..2]).await.unwrap();
        assert!(own.opening.is_none(), "who has begun may be silent");

        let many = vec![0; 1 << 20];
        own.stall_time = Duration::from_millis(20);
        let stuck = loop {
            if let Err(stuck) = own.write_all(&many).await {
                break stuck;
            }
        };
        assert_eq!(stuck.kind(), io::ErrorKind::TimedOut);
    }
}
