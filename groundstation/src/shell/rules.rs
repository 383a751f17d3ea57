//! What the station file says of peers; a reload replaces it as a whole.

use crate::{admit::Table, config::Config};
use codecs::link::profile::Profile;
use std::time::Duration;

/// What the station file says of peers.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who may do what.
    pub table: Table,
    /// Transport numbers of new connections.
    pub profile: Profile,
    /// How long an object stream may be silent.
    pub object_stall: Duration,
    /// Connections at once.
    pub connections_max: usize,
}

impl Rules {
    /// As a station file has them.
    pub fn of(config: &Config) -> Self {
        Self {
            table: config.table(),
            profile: config.profile(),
            object_stall: config.object_stall(),
            connections_max: config.listen.connections_max,
        }
    }
}
