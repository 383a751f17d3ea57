//! A source's socket.

use std::{
    io,
    os::{
        fd::AsFd,
        unix::{fs::FileTypeExt, net::UnixDatagram as StdUnixDatagram},
    },
    path::{Path, PathBuf},
    task::{Context as Waiting, Poll, ready},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use rustix::net::{RecvFlags, recv, sockopt::set_socket_recv_buffer_size};
use tokio::{
    io::ReadBuf,
    net::{UdpSocket, UnixDatagram},
};

use crate::{
    config::Source,
    shell::sys::datagrams_dropped,
    source::{PACKET_BYTES_MAX, PACKET_BYTES_MIN},
};

/// Bytes asked of the system for bursts; what it grants may be less.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

enum Socket {
    Unix(UnixDatagram, PathBuf),
    Udp(UdpSocket),
}

/// A bound socket; a Unix one is removed with it.
pub struct Datagrams {
    socket: Socket,
    buffer: Box<[u8]>,
}

impl Datagrams {
    /// Binds the configured socket.
    pub async fn bind(source: &Source) -> anyhow::Result<Self> {
        let socket = match (&source.unix, source.udp) {
            (Some(path), _) => Socket::Unix(bind_unix(path)?, path.clone()),
            (None, Some(address)) => {
                let bound = UdpSocket::bind(address).await;
                Socket::Udp(bound.with_context(|| {
                    format!(
                        "[source] udp = \"{address}\": can't listen there; give a free address, \
                         or port 0 for any"
                    )
                })?)
            }
            (None, None) => bail!("[source] takes `unix` or `udp`"),
        };
        // Less is worth a try too: nothing depends on the size but the burst that fits.
        let _ = match &socket {
            Socket::Unix(socket, _) => set_socket_recv_buffer_size(socket, RECEIVE_BUFFER_BYTES),
            Socket::Udp(socket) => set_socket_recv_buffer_size(socket, RECEIVE_BUFFER_BYTES),
        };
        // One byte more than a packet, so that a longer one is seen to be longer.
        let buffer = vec![0; PACKET_BYTES_MAX.max(PACKET_BYTES_MIN) + 1].into();
        Ok(Self { socket, buffer })
    }

    /// Where it listens, for people.
    pub fn describe(&self) -> String {
        match &self.socket {
            Socket::Unix(_, path) => path.display().to_string(),
            Socket::Udp(socket) => {
                socket.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string())
            }
        }
    }

    /// The next datagram.
    pub fn poll_receive(&mut self, waiting: &mut Waiting<'_>) -> Poll<io::Result<Bytes>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(match &self.socket {
            Socket::Unix(socket, _) => socket.poll_recv(waiting, &mut buffer),
            Socket::Udp(socket) => socket.poll_recv(waiting, &mut buffer),
        })?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
    }

    /// A datagram that is there now, if any.
    pub fn try_receive(&mut self) -> Option<Bytes> {
        let flags = RecvFlags::DONTWAIT;
        let buffer = &mut self.buffer[..];
        let received = match &self.socket {
            Socket::Unix(socket, _) => recv(socket, buffer, flags),
            Socket::Udp(socket) => recv(socket, buffer, flags),
        };
        let (length, _) = received.ok()?;
        Some(Bytes::copy_from_slice(self.buffer.get(..length)?))
    }

    /// Datagrams that the system had no room for, on a count that wraps; none where it does not
    /// say, or holds its senders up instead, as on a Unix socket.
    pub fn overrun(&self) -> Option<u32> {
        match &self.socket {
            Socket::Unix(..) => None,
            Socket::Udp(socket) => datagrams_dropped(socket.as_fd()).ok(),
        }
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = &self.socket {
            // Left behind, it would only be found stale by the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Binds a path; a socket that nobody listens on any more is removed first.
fn bind_unix(path: &Path) -> anyhow::Result<UnixDatagram> {
    let bind = || UnixDatagram::bind(path);
    match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // Connecting to what is no socket is refused too; nobody's file is removed.
            let socket = std::fs::symlink_metadata(path)
                .is_ok_and(|metadata| metadata.file_type().is_socket());
            let probe = StdUnixDatagram::unbound().and_then(|probe| probe.connect(path));
            match probe {
                Ok(()) => bail!(
                    "[source] unix = {path:?}: another process listens there; stop it or give \
                     this one a path of its own"
                ),
                Err(error) if socket && error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path)
                        .with_context(|| format!("{}: stale socket", path.display()))?;
                    tracing::info!(path = %path.display(), "removed a stale socket");
                }
                Err(_) => bail!(
                    "[source] unix = {path:?}: something else is there; remove it or give \
                     another path"
                ),
            }
            bind()
        }
        other => other,
    }
    .with_context(|| format!("[source] unix = {path:?}: can't make the socket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &Path) -> Source {
        Source { unix: Some(path.into()), ..Source::default() }
    }

    #[tokio::test]
    async fn a_stale_socket_goes_and_a_live_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sensors.sock");
        drop(StdUnixDatagram::bind(&path).unwrap());
        let mut sensors = Datagrams::bind(&source(&path)).await.unwrap();
        let second = Datagrams::bind(&source(&path)).await.err().unwrap().to_string();
        assert!(second.contains("another process listens"), "{second}");
        let from = StdUnixDatagram::unbound().unwrap();
        from.send_to(b"hello", &path).unwrap();
        let heard = std::future::poll_fn(|waiting| sensors.poll_receive(waiting)).await;
        assert_eq!(heard.unwrap(), &b"hello"[..]);
        drop(sensors);
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        let file = Datagrams::bind(&source(&path)).await.err().unwrap().to_string();
        assert!(file.contains("something else"), "{file}");
        assert_eq!(std::fs::read(&path).unwrap(), b"a file");
    }

    #[tokio::test]
    async fn udp_takes_a_free_port() {
        let source = Source { udp: Some("127.0.0.1:0".parse().unwrap()), ..Source::default() };
        let sensors = Datagrams::bind(&source).await.unwrap();
        assert!(!sensors.describe().ends_with(":0"));
        let taken = Some(sensors.describe().parse().unwrap());
        let taken = Source { udp: taken, ..Source::default() };
        let error = Datagrams::bind(&taken).await.err().unwrap().to_string();
        assert!(error.contains("free address"), "{error}");
    }
}
