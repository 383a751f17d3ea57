//! What the station file says of a door, checked.

use super::{framing::Framing, rotation::Rotation};
use codecs::{
    frame::cadu::Coding,
    ids::{Apid, SpacecraftId},
};
use serde::Deserialize;
use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// Doors of a station.
pub const DOORS_MAX: usize = 32;
/// Clients that a listening door serves at once, at most and by default.
pub const CLIENTS_MAX: usize = 64;
const CLIENTS_DEFAULT: usize = 8;
/// How long a frame waits for the ones before it by default; streams of one object overtake each
/// other by less than a second on any link that is up.
pub const PATIENCE_MS_DEFAULT: u64 = 1_000;
const PATIENCE_MS_MAX: u64 = 600_000;

/// A `[[door]]` of the station file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorConfig {
    /// Name in metrics and messages: letters, digits, `-` and `_`.
    pub name: String,
    /// `udp:HOST:PORT`, `tcp-client:HOST:PORT`, `tcp-server:ADDRESS:PORT` or `file:PATH`.
    pub to: String,
    /// Frames, or the packets in them.
    pub send: Goods,
    /// Spacecraft by number; all where none is named.
    #[serde(default)]
    pub spacecraft: Vec<u16>,
    /// Virtual channels, 0 to 63; all where none is named.
    #[serde(default)]
    pub virtual_channels: Vec<u8>,
    /// Applications whose packets go out, 0 to 2046; all where none is named.
    #[serde(default)]
    pub apids: Vec<u16>,
    /// Only what this antenna heard; otherwise the merged view of all.
    pub antenna: Option<u16>,
    /// Erred frames, and packets with bytes of erred frames, go out too.
    #[serde(default)]
    pub erred: bool,
    /// What stands around each frame or packet.
    #[serde(default)]
    pub framing: FramingKind,
    /// Coding of CADUs, as `groundstation inspect --coding` takes it.
    pub coding: Option<String>,
    /// What happens to what a slow consumer did not take.
    pub when_slow: Option<WhenSlow>,
    /// Where a door begins after a start of the station.
    pub from: Option<Begin>,
    /// Clients of a `tcp-server` at once.
    pub clients_max: Option<usize>,
    /// Megabits a second that a `udp` door sends at most.
    pub rate_mbit_s: Option<f64>,
    /// Milliseconds that a frame waits for the ones before it.
    pub patience_ms: Option<u64>,
    /// Bytes at which a file is closed and another begun.
    pub rotate_bytes: Option<u64>,
    /// Seconds after which a file is closed.
    pub rotate_s: Option<u64>,
    /// A file is closed at the end of each contact.
    #[serde(default)]
    pub rotate_per_contact: bool,
}

/// What a door hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Goods {
    /// Transfer frames.
    Frames,
    /// Packets, each once.
    Packets,
}

impl fmt::Display for Goods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frames => "frames",
            Self::Packets => "packets",
        })
    }
}

/// What stands around a frame or packet in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FramingKind {
    /// Nothing.
    #[default]
    Raw,
    /// Attached sync marker and coding: frames only.
    Cadu,
    /// Its length before it, two bytes, big-endian.
    Length16,
    /// Its length before it, four bytes, big-endian.
    Length32,
    /// KISS: between FEND bytes, as data of port 0.
    Kiss,
}

/// What happens to what a slow consumer did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenSlow {
    /// It is read back from the archive: late, and whole.
    Wait,
    /// It is dropped and counted.
    Drop,
}

/// Where a door begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// With what comes from now on.
    Live,
    /// Where it last ended; live where it never ran.
    Last,
    /// With the oldest unit of the archive.
    Start,
}

/// Where a door leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// One datagram a frame or packet, to a host and port.
    Udp(String),
    /// A stream to a host and port, connected anew when it breaks.
    TcpClient(String),
    /// A stream to each client that connects here.
    TcpServer(SocketAddr),
    /// Appended to a file.
    File(PathBuf),
}

/// Why a text names no destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// The word before the first colon is not known.
    #[error(
        "`{0}` leads nowhere; known are udp:HOST:PORT, tcp-client:HOST:PORT, \
         tcp-server:ADDRESS:PORT and file:PATH"
    )]
    Kind(String),
    /// Not a host and a port.
    #[error("`{0}` is no HOST:PORT with a port from 1 to 65535")]
    Host(String),
    /// Not an address of this machine.
    #[error("`{0}` is no ADDRESS:PORT; write 127.0.0.1:10016, or 0.0.0.0:10016 for any network")]
    Address(String),
    /// No path.
    #[error("`file:` needs a path behind it")]
    Path,
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let unknown = || DestinationError::Kind(text.into());
        let (kind, rest) = text.split_once(':').ok_or_else(unknown)?;
        let host = || {
            let (host, port) = rest.rsplit_once(':').unwrap_or_default();
            let port: u16 = port.parse().unwrap_or(0);
            match host.is_empty() || port == 0 {
                true => Err(DestinationError::Host(rest.into())),
                false => Ok(rest.to_string()),
            }
        };
        match kind {
            "udp" => host().map(Self::Udp),
            "tcp-client" => host().map(Self::TcpClient),
            "tcp-server" => {
                let address = rest.parse().map_err(|_| DestinationError::Address(rest.into()))?;
                Ok(Self::TcpServer(address))
            }
            "file" if rest.is_empty() => Err(DestinationError::Path),
            "file" => Ok(Self::File(rest.into())),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(host) => write!(f, "udp:{host}"),
            Self::TcpClient(host) => write!(f, "tcp-client:{host}"),
            Self::TcpServer(address) => write!(f, "tcp-server:{address}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Which units, frames and packets; an empty list is all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Frames, or the packets in them.
    pub goods: Goods,
    /// Spacecraft.
    pub spacecraft: Vec<SpacecraftId>,
    /// Virtual channels.
    pub virtual_channels: Vec<u8>,
    /// Applications.
    pub apids: Vec<Apid>,
    /// Only what this antenna heard.
    pub antenna: Option<u16>,
    /// Erred ones too.
    pub erred: bool,
}

impl Selection {
    /// Everything of a kind.
    pub const fn all(goods: Goods) -> Self {
        Self {
            goods,
            spacecraft: Vec::new(),
            virtual_channels: Vec::new(),
            apids: Vec::new(),
            antenna: None,
            erred: false,
        }
    }
}

/// A door that can be opened.
#[derive(Clone, Debug)]
pub struct Door {
    /// Name in metrics and messages.
    pub name: String,
    /// Where it leads.
    pub to: Destination,
    /// What goes out.
    pub selection: Selection,
    /// In which form.
    pub framing: Framing,
    /// What happens to what a slow consumer did not take.
    pub when_slow: WhenSlow,
    /// Where it begins.
    pub begin: Begin,
    /// Clients at once.
    pub clients_max: usize,
    /// Bits a second at most.
    pub rate_bit_s: Option<f64>,
    /// How long a frame waits for the ones before it.
    pub patience_ns: u64,
    /// When a file is closed.
    pub rotation: Rotation,
}

impl DoorConfig {
    /// The door, or the key that is wrong and why.
    pub fn check(&self) -> Result<Door, (&'static str, String)> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(word) {
            return Err(("name", "must be 1 to 64 letters, digits, `-` and `_`".into()));
        }
        let to: Destination = self.to.parse().map_err(|error| ("to", format!("{error}")))?;
        let packets = self.send == Goods::Packets;
        if self.virtual_channels.iter().any(|vc| *vc > 63) {
            return Err(("virtual_channels", "a virtual channel is 0 to 63".into()));
        }
        if !packets && !self.apids.is_empty() {
            return Err(("apids", "frames have none; `send = \"packets\"` does".into()));
        }
        if self.apids.iter().any(|apid| *apid > 2046) {
            return Err(("apids", "an application is 0 to 2046".into()));
        }
        let patience_ms = self.patience_ms.unwrap_or(PATIENCE_MS_DEFAULT);
        if patience_ms > PATIENCE_MS_MAX {
            return Err(("patience_ms", format!("must be at most {PATIENCE_MS_MAX}")));
        }
        let clients_max = self.clients_max.unwrap_or(CLIENTS_DEFAULT);
        if !(1..=CLIENTS_MAX).contains(&clients_max) {
            return Err(("clients_max", format!("must be 1 to {CLIENTS_MAX}")));
        }
        let rate = self.rate_mbit_s;
        if rate.is_some_and(|rate| !rate.is_finite() || rate < 0.001) {
            return Err(("rate_mbit_s", "must be 0.001 or more".into()));
        }
        self.belongs(&to)?;
        // A client that goes on where another ended is the same consumer: there is only one.
        let server = matches!(to, Destination::TcpServer(_));
        let resumed = server && self.from == Some(Begin::Last);
        if resumed && self.clients_max.is_some_and(|most| most != 1) {
            return Err(("clients_max", "must be 1 where a client goes on where it ended".into()));
        }
        let clients_max = if resumed { 1 } else { clients_max };
        // A datagram can be lost anyway, and a display wants what is new.
        let live = matches!(to, Destination::Udp(_));
        let slow = if live { WhenSlow::Drop } else { WhenSlow::Wait };
        // A client that comes is a new consumer; one we go to, and a file, are the same as before.
        let known = matches!(to, Destination::TcpClient(_) | Destination::File(_));
        let begin = if known { Begin::Last } else { Begin::Live };
        let when_slow = self.when_slow.unwrap_or(slow);
        let begin = self.from.unwrap_or(match when_slow {
            WhenSlow::Wait => begin,
            WhenSlow::Drop => Begin::Live,
        });
        if when_slow == WhenSlow::Drop && begin != Begin::Live {
            let message = "must be `live` where a slow consumer's share is dropped";
            return Err(("from", message.into()));
        }
        Ok(Door {
            name: self.name.clone(),
            selection: Selection {
                goods: self.send,
                spacecraft: self.spacecraft.iter().copied().map(SpacecraftId).collect(),
                virtual_channels: self.virtual_channels.clone(),
                apids: self.apids.iter().copied().map(Apid).collect(),
                antenna: self.antenna,
                erred: self.erred,
            },
            framing: self.framing()?,
            when_slow,
            begin,
            clients_max,
            rate_bit_s: rate.map(|rate| rate * 1e6),
            patience_ns: patience_ms * 1_000_000,
            rotation: Rotation {
                bytes: self.rotate_bytes,
                seconds: self.rotate_s,
                per_contact: self.rotate_per_contact,
            },
            to,
        })
    }

    fn framing(&self) -> Result<Framing, (&'static str, String)> {
        let coding = self.coding.as_deref().map(str::parse::<Coding>).transpose();
        let coding = coding.map_err(|error| ("coding", error.to_string()))?;
        if self.framing != FramingKind::Cadu && coding.is_some() {
            return Err(("coding", "only `framing = \"cadu\"` has one".into()));
        }
        if self.framing == FramingKind::Cadu && self.send == Goods::Packets {
            return Err(("framing", "a CADU holds a frame; `send = \"frames\"`".into()));
        }
        Ok(Framing::new(self.framing, coding.unwrap_or(Coding::NONE)))
    }

    /// Refuses options that would have no effect, so that nobody counts on them.
    fn belongs(&self, to: &Destination) -> Result<(), (&'static str, String)> {
        let file = matches!(to, Destination::File(_));
        let udp = matches!(to, Destination::Udp(_));
        let server = matches!(to, Destination::TcpServer(_));
        for (key, given, right, kind) in [
            ("rotate_bytes", self.rotate_bytes.is_some(), file, "file:"),
            ("rotate_s", self.rotate_s.is_some(), file, "file:"),
            ("rotate_per_contact", self.rotate_per_contact, file, "file:"),
            ("rate_mbit_s", self.rate_mbit_s.is_some(), udp, "udp:"),
            ("clients_max", self.clients_max.is_some(), server, "tcp-server:"),
        ] {
            if given && !right {
                return Err((key, format!("only a door to `{kind}` has it")));
            }
        }
        if self.rotate_bytes == Some(0) || self.rotate_s == Some(0) {
            return Err(("rotate_bytes", "a file can't be closed before anything is in it".into()));
        }
        Ok(())
    }
}

/// Checks the doors of a station; the key that is wrong, and why.
pub fn check_all(doors: &[DoorConfig]) -> Result<(), (String, String)> {
    if doors.len() > DOORS_MAX {
        return Err(("door".into(), format!("at most {DOORS_MAX} doors, not {}", doors.len())));
    }
    for (at, door) in doors.iter().enumerate() {
        let key = |key: &str| format!("door {}: {key}", door.name);
        door.check().map_err(|(wrong, message)| (key(wrong), message))?;
        if doors.iter().take(at).any(|other| other.name == door.name) {
            return Err((key("name"), "is another door's already".into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Door, String> {
        let config: DoorConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|(key, message)| format!("{key}: {message}"))
    }

    #[test]
    fn destinations_are_read_and_written() {
        for text in [
            "udp:127.0.0.1:10017",
            "tcp-client:yamcs.example:10016",
            "tcp-server:[::1]:2950",
            "file:out/frames.bin",
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        for (text, said) in [
            ("udp:10017", "`10017` is no HOST:PORT"),
            ("udp:host:0", "no HOST:PORT"),
            ("tcp-server:2950", "is no ADDRESS:PORT"),
            ("serial:/dev/tty", "leads nowhere"),
            ("file:", "needs a path"),
            ("", "leads nowhere"),
        ] {
            let error = text.parse::<Destination>().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_door_has_defaults_that_fit_its_consumer() {
        let door = |to: &str| check(&format!("name = 'a'\nto = '{to}'\nsend = 'frames'")).unwrap();
        let (udp, client) = (door("udp:h:1"), door("tcp-client:h:1"));
        assert_eq!((udp.when_slow, udp.begin), (WhenSlow::Drop, Begin::Live));
        assert_eq!((client.when_slow, client.begin), (WhenSlow::Wait, Begin::Last));
        let server = door("tcp-server:127.0.0.1:0");
        assert_eq!((server.when_slow, server.begin), (WhenSlow::Wait, Begin::Live));
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        let base = "name = 'a'\nto = 'udp:h:1'\n";
        for (rest, said) in [
            ("send = 'frames'\napids = [1]", "apids: frames have none"),
            ("send = 'packets'\nframing = 'cadu'", "framing: a CADU holds a frame"),
            ("send = 'frames'\ncoding = 'none'", "coding: only"),
            ("send = 'frames'\nrotate_s = 5", "rotate_s: only a door to `file:`"),
            ("send = 'frames'\nvirtual_channels = [64]", "virtual_channels: a virtual"),
            ("send = 'packets'\napids = [2047]", "apids: an application"),
            ("send = 'frames'\nrate_mbit_s = 0.0", "rate_mbit_s: must"),
            ("send = 'frames'\nframing = 'slip'", "unknown variant"),
        ] {
            let error = check(&format!("{base}{rest}")).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let error = check("name = 'a/b'\nto = 'udp:h:1'\nsend = 'frames'").unwrap_err();
        assert!(error.starts_with("name: must be"), "{error}");
    }
}
