//! Where the cores meet the operating system: disk, sockets, clock, threads.

pub mod log;
pub mod output;
pub mod clock;
pub mod mission;
pub mod disk;
pub mod watch;
mod window;
pub mod witness;
pub mod catalogue;
pub mod bucket;
pub mod rules;
pub mod tls;
pub mod reset;
pub mod memory;
pub mod sessions;
pub mod server;
pub mod session;
pub mod pace;
pub mod quicklook;
pub mod object;
pub mod writer;
pub mod uploader;
pub mod keeping;
pub mod restore;
pub mod follow;
pub mod pipeline;
pub mod door_files;
pub mod operator_files;
pub mod doors;
pub mod reading;
pub mod history;
pub mod export;
pub mod gaps;
pub mod plan;
pub mod jobs;
pub mod pools;
pub mod idle;
pub mod discover;
pub mod listing;
pub mod telemetry;
pub mod work;
pub mod uplink;
pub mod modem;
pub mod rf;
pub mod signals;
pub mod systemd;
pub mod control;
pub mod start;
pub mod check;
pub mod daemon;
pub mod reload;
pub mod edge;
pub mod status;

use codecs::time::Tai;
use std::{io, time::SystemTime};

/// The real clock.
pub fn wall_clock() -> Tai {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Tai::from_unix(since.as_secs() as i64, since.subsec_nanos())
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut done = 0;
    while done < N {
        done += rustix::rand::getrandom(&mut bytes[done..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}
