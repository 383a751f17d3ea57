//! How much of a link's capacity arrives as objects, under one congestion control or another.
//!
//! Goodput is acknowledged object bytes over what the link could carry from the first data byte
//! on. Two ceilings stand beside it: what headers leave, and what is left of that by losses of
//! packets that must be sent again.

pub mod cases;
pub mod passes;
pub mod steps;
pub mod watch;
pub mod way;

use std::sync::Arc;

use codecs::{
    link::{congestion::Series, profile::Profile},
    time::Tai,
};
use codecs_quic::{PlannedLink, Role, TransportOptions, client_transport, transport};
use quinn_proto::congestion::{BbrConfig, CubicConfig};

use self::watch::Watch;
pub use self::way::{Air, Way};
use super::{
    bulk::{Bulk, Outcome, Transfer},
    identity::{Authority, SERVER_NAME},
    net::{LinkId, Net, NodeId, Settings, Traffic, Turn},
    pair::{client_config, server_config},
    shell::epoch,
};

/// Where simulated time starts.
pub const START: Tai = Tai(2_000_000_000_000_000_000);
/// Bytes of a packet that are no object: IPv4, UDP and QUIC headers, the frame's own, and the tag.
pub const HEADER_BYTES: f64 = 28.0 + 34.0;

/// Who decides how much is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The contact plan, as shipped.
    Plan,
    /// The library's CUBIC: what the client does without a plan.
    Cubic,
    /// The library's BBR.
    Bbr,
}

impl Law {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Plan, Self::Cubic, Self::Bbr];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
        }
    }
}

/// Who sends over the link.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Its congestion control.
    pub law: Law,
    /// When it connects, ns.
    pub from_ns: u64,
    /// What it sends.
    pub bulk: Bulk,
}

/// A link and what is known of it beforehand.
#[derive(Clone, Debug)]
pub struct Link {
    /// Transport of both sides.
    pub profile: Profile,
    /// When the run begins.
    pub start: Tai,
    /// The way to the station.
    pub up: Way,
    /// The way back.
    pub down: Way,
    /// What a plan says of it.
    pub plan: Series,
    /// When the run ends at the latest, ns.
    pub until_ns: u64,
}

/// What one flow did.
#[derive(Clone, Debug)]
pub struct Report {
    /// What came of its objects.
    pub outcome: Outcome,
    /// Bytes of one object.
    pub object_bytes: u64,
    /// Every object was acknowledged.
    pub is_whole: bool,
    /// When the last byte of any flow arrived, ns.
    pub arrived_ns: u64,
    /// What passed over the way to the station, all flows together.
    pub up: Traffic,
    /// Largest payload that it found to fit.
    pub mtu: u16,
}

impl Report {
    /// When the last object was acknowledged, ns.
    pub fn end_ns(&self) -> u64 {
        self.outcome.acknowledged_ns.last().copied().unwrap_or(0)
    }

    /// Bytes of objects acknowledged by a time.
    pub fn acknowledged(&self, until_ns: u64) -> u64 {
        let objects = self.outcome.acknowledged_ns.partition_point(|at| *at <= until_ns);
        objects as u64 * self.object_bytes
    }

    /// Goodput between the first data byte and the last acknowledgement, or the run's end where
    /// not everything was acknowledged.
    pub fn goodput(&self, link: &Link) -> f64 {
        let Some(first) = self.outcome.first_ns else { return 0.0 };
        let until = if self.is_whole { self.end_ns() } else { link.until_ns };
        let capacity = link.up.bytes(link.start, first, until);
        self.acknowledged(until) as f64 / capacity.max(1.0)
    }

    /// Packets dropped at the full queue, over those offered.
    pub fn dropped(&self) -> f64 {
        self.up.queue_full as f64 / self.up.offered.max(1) as f64
    }

    /// Part of the capacity that headers leave.
    pub fn ceiling(&self) -> f64 {
        let packet = f64::from(self.mtu) + 28.0;
        (packet - HEADER_BYTES) / packet
    }
}

/// Flies some flows over one link.
///
/// # Errors
/// Transport settings out of bounds.
pub fn fly(link: &Link, flows: &[Flow], seed: u64) -> anyhow::Result<Vec<Report>> {
    fly_watched(link, flows, seed, None)
}

/// Flies some flows over one link, with an eye on the way to the station.
///
/// # Errors
/// Transport settings out of bounds.
pub fn fly_watched(
    link: &Link,
    flows: &[Flow],
    seed: u64,
    watch: Option<&Watch>,
) -> anyhow::Result<Vec<Report>> {
    let mut shared = Shared::new(link, seed, watch)?;
    let mut under_way: Vec<(LinkId, u64, Transfer)> = Vec::new();
    let mut arrived_ns = 0;
    for (at, flow) in flows.iter().enumerate() {
        shared.net.wake(shared.client, flow.from_ns, at as u64);
    }
    while under_way.len() < flows.len() || under_way.iter().any(|(.., of)| !of.is_over()) {
        let Some(turn) = shared.net.next(link.until_ns) else { break };
        match turn {
            Turn::Wake(_, at) => {
                let Some(flow) = flows.get(at as usize) else { continue };
                let id = shared.connect(link, flow.law, seed.wrapping_add(at))?;
                under_way.push((id, at, Transfer::new(flow.bulk)));
            }
            Turn::Connection(id) if id.node == shared.client => {
                let of = under_way.iter_mut().find(|(of, ..)| *of == id);
                if let Some((.., transfer)) = of {
                    transfer.send(&mut shared.net, id);
                }
            }
            Turn::Connection(id) => {
                if Transfer::serve(&mut shared.net, id) > 0 {
                    arrived_ns = shared.net.now_ns();
                }
            }
        }
    }
    let up = shared.net.traffic(shared.client, shared.server);
    under_way.sort_by_key(|(_, at, _)| *at);
    let reports = under_way.into_iter().zip(flows).map(|((id, _, transfer), flow)| Report {
        is_whole: transfer.outcome.acknowledged_ns.len() as u64 == flow.bulk.objects,
        outcome: transfer.outcome,
        object_bytes: flow.bulk.object_bytes as u64,
        up,
        arrived_ns,
        mtu: shared.net.connection(id).map_or(0, |of| of.stats().path.current_mtu),
    });
    Ok(reports.collect())
}

/// A spacecraft and a station over one link.
struct Shared {
    net: Net,
    authority: Authority,
    client: NodeId,
    server: NodeId,
    options: TransportOptions,
}

impl Shared {
    fn new(link: &Link, seed: u64, watch: Option<&Watch>) -> anyhow::Result<Self> {
        let (authority, options) = (Authority::new(seed)?, TransportOptions::default());
        let station = authority.station("station")?;
        let numbers = transport(&link.profile, Role::Server, &options)?;
        let config = server_config(&authority, &station, link.start, numbers)?;
        let mut net = Net::new(link.start);
        let settings = |seed, key, server| Settings { seed, key, options, server };
        let server = net.add(settings(seed ^ 1, station.key_hash, Some(Arc::new(config))));
        let craft = authority.client("client")?;
        let client = net.add(settings(seed ^ 2, craft.key_hash, None));
        let up = link.up.leg(seed);
        let up = match watch {
            Some(watch) => watch.over(up, link),
            None => up,
        };
        net.lay(client, server, up);
        net.lay(server, client, link.down.leg(seed ^ 3));
        Ok(Self { net, authority, client, server, options })
    }

    fn connect(&mut self, link: &Link, law: Law, seed: u64) -> anyhow::Result<LinkId> {
        let planned = PlannedLink::new(epoch::instant(0));
        planned.set(link.plan.clone());
        let mut numbers = client_transport(&link.profile, &self.options, &planned)?;
        match law {
            Law::Plan => &mut numbers,
            Law::Cubic => numbers.congestion_controller_factory(Arc::new(CubicConfig::default())),
            Law::Bbr => numbers.congestion_controller_factory(Arc::new(BbrConfig::default())),
        };
        let (station, craft) =
            (self.authority.station("station")?, self.authority.client("client")?);
        let config = client_config(&craft, &station, Arc::new(numbers), seed)?;
        self.net.connect(self.client, self.server, config, SERVER_NAME)
    }
}

#[cfg(test)]
mod tests;
