//! What the station file says of peers; a reload replaces it as a whole.

use crate::{
    admit::Table,
    config::Config,
    peers::{LimitsConfig, Shares},
};
use codecs::link::profile::Profile;
use std::time::Duration;

/// What the station file says of peers.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who may do what.
    pub table: Table,
    /// How much each of them may take.
    pub shares: Shares,
    /// How much anyone may take.
    pub limits: LimitsConfig,
    /// Transport numbers of new connections.
    pub profile: Profile,
    /// How long an object stream may be silent.
    pub object_stall: Duration,
    /// Connections at once.
    pub connections_max: usize,
}

/// How long a peer may take for each of handshake, control stream and hello, beside its distance.
const GREETING: Duration = Duration::from_secs(10);
/// Round trips for each of those, some of them lost.
const GREETING_ROUND_TRIPS: u32 = 4;

impl Rules {
    /// As a station file has them.
    pub fn of(config: &Config) -> Self {
        Self {
            table: config.table(),
            // An error was told when the file was read; without shares everyone has the least.
            shares: config.shares().unwrap_or_default(),
            limits: config.limits.clone(),
            profile: config.profile(),
            object_stall: config.object_stall(),
            connections_max: config.listen.connections_max,
        }
    }

    /// How long a peer may take for each step until its session is open: a connection without a
    /// session costs others a place.
    pub fn greeting(&self) -> Duration {
        let round_trip = Duration::from_millis(self.profile.initial_rtt_ms);
        let idle = Duration::from_millis(self.profile.idle_timeout_ms);
        (GREETING + GREETING_ROUND_TRIPS * round_trip).min(idle)
    }
}
