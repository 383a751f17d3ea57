//! The socket of a modem that radiates: one unit a datagram, or one after another.

use crate::rf::config::Modem;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket, lookup_host},
    time::timeout,
};

/// How long a modem may take to be reached, or to take a unit.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to a modem.
pub enum Line {
    /// A unit a datagram.
    Datagrams(UdpSocket),
    /// Units one after another.
    Stream(TcpStream),
}

impl Line {
    /// Reaches a modem.
    pub async fn connect(to: &Modem) -> io::Result<Self> {
        within(connect(to)).await
    }

    /// Hands it a unit.
    pub async fn send(&mut self, unit: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => within(socket.send(unit)).await.map(|_| ()),
            Self::Stream(stream) => within(stream.write_all(unit)).await,
        }
    }
}

/// The same patience for whoever stands in a modem's place.
pub async fn within<T>(act: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the modem does not answer");
    timeout(PATIENCE, act).await.map_err(slow)?
}

async fn connect(to: &Modem) -> io::Result<Line> {
    match to {
        Modem::Tcp(host) => {
            let stream = TcpStream::connect(host).await?;
            stream.set_nodelay(true)?;
            Ok(Line::Stream(stream))
        }
        Modem::Udp(host) => {
            let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            let at: SocketAddr = lookup_host(host).await?.next().ok_or_else(nowhere)?;
            let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(at).await?;
            Ok(Line::Datagrams(socket))
        }
    }
}
