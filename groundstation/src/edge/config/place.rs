//! Where an input's bytes come from.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use codecs::config::host_port;

/// Where an input's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Datagrams to this address.
    Udp(SocketAddr),
    /// A connection that is made, and made again.
    Tcp(String),
    /// Connections that come.
    TcpListen(SocketAddr),
    /// A file, from its start.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Place {
    /// Whether it ends by itself.
    pub const fn ends(&self) -> bool {
        matches!(self, Self::File(_) | Self::Stdin)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::TcpListen(address) => write!(f, "tcp-listen:{address}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Stdin => f.write_str("-"),
        }
    }
}

/// Where bytes come from, and whether KISS frames are in them.
pub(super) fn place(from: &str, base: &Path) -> Result<(Place, bool), String> {
    const SHAPE: &str = "udp:ADDRESS:PORT, tcp:HOST:PORT, tcp-listen:ADDRESS:PORT, kiss:HOST:PORT, \
                         kiss-listen:ADDRESS:PORT, file:PATH or -";
    if from == "-" {
        return Ok((Place::Stdin, false));
    }
    let (kind, rest) = from.split_once(':').ok_or_else(|| format!("from = {from:?}: {SHAPE}"))?;
    let address =
        || rest.parse().map_err(|_| format!("from = {from:?}: {rest:?} is no address with a port"));
    let remote = || match host_port(rest) {
        Ok(_) => Ok(rest.to_owned()),
        Err(wrong) => Err(format!("from = {from:?}: {rest:?} is no host with a port: {wrong}")),
    };
    Ok(match kind {
        "udp" => (Place::Udp(address()?), false),
        "tcp" => (Place::Tcp(remote()?), false),
        "tcp-listen" => (Place::TcpListen(address()?), false),
        "kiss" => (Place::Tcp(remote()?), true),
        "kiss-listen" => (Place::TcpListen(address()?), true),
        "file" if !rest.is_empty() => (Place::File(base.join(rest)), false),
        _ => return Err(format!("from = {from:?}: {SHAPE}")),
    })
}
