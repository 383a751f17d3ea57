//! How fast worlds run: datagrams on one busy link, and connections that each send a little.

use codecs::{
    link::profile::{LEO, Profile},
    time::Tai,
};
use codecs_quic::{Role, TransportOptions, transport};
use quinn_proto::Dir;
use std::sync::Arc;

use super::measure::{Figure, Load, beside};
use crate::{
    link::{Fixed, LinkModel, LinkSettings, LossSettings},
    world::{
        bulk::{Bulk, Transfer, read},
        identity::{Authority, SERVER_NAME},
        net::{LinkId, Net, NodeId, Settings, Turn},
        pair::{Pair, PairSettings, client_config, server_config},
    },
};

const START: Tai = Tai(2_000_000_000_000_000_000);
const SECOND_NS: u64 = 1_000_000_000;
/// Simulated seconds of a round, after the handshakes.
const ROUND_S: u64 = 10;
/// What each connection of the crowd sends in a second.
const TELEMETRY_BYTES: usize = 4 << 10;

/// Measures; `told` is called with the name of what comes next.
pub fn measure(load: Load, mut told: impl FnMut(&str)) -> anyhow::Result<Vec<Figure>> {
    told("datagrams on one link in simulated time");
    let mut busy = Busy::new()?;
    let datagrams = beside(
        load.rounds,
        "one QUIC bulk link of 50 Mb/s",
        "datagrams",
        || busy.fly(ROUND_S),
        None,
    );
    told("connections of 4 KiB/s in simulated time");
    let mut crowd = Crowd::new(load.connections, &LEO)?;
    crowd.fly(1);
    let connections = beside(
        load.rounds,
        "QUIC connections of 4 KiB/s",
        "connection-seconds",
        || crowd.fly(ROUND_S) * load.connections,
        None,
    );
    Ok(vec![datagrams, connections])
}

fn leg(rate_bps: f64, seed: u64) -> Box<LinkModel<Fixed>> {
    let settings = LinkSettings {
        rate_bps,
        ground_delay_ns: 12_000_000,
        queue_ns: 100_000_000,
        loss: LossSettings::NONE,
        seed,
    };
    // 15 ms each way.
    Box::new(LinkModel::new(settings, Fixed { range_km: 900.0 }))
}

struct Busy {
    pair: Pair,
    transfer: Transfer,
}

impl Busy {
    fn new() -> anyhow::Result<Self> {
        let settings = PairSettings {
            client: LEO,
            server: LEO,
            options: TransportOptions::default(),
            control: None,
            start: START,
            seed: 1,
        };
        let pair = Pair::new(settings, leg(50e6, 1), leg(5e6, 2))?;
        let bulk =
            Bulk { object_bytes: 256 << 10, objects_max: LEO.objects_max, objects: u64::MAX };
        Ok(Self { pair, transfer: Transfer::new(bulk) })
    }

    /// Datagrams that arrive in so many seconds, both ways.
    fn fly(&mut self, seconds: u64) -> usize {
        let arrived = |pair: &Pair| {
            let (up, down) = (pair.client_node, pair.server_node);
            pair.net.traffic(up, down).delivered + pair.net.traffic(down, up).delivered
        };
        let before = arrived(&self.pair);
        self.transfer.outcome.acknowledged_ns.clear();
        let until = self.pair.net.now_ns() + seconds * SECOND_NS;
        self.transfer.run(&mut self.pair, until);
        (arrived(&self.pair) - before) as usize
    }
}

struct Crowd {
    net: Net,
    clients: Vec<LinkId>,
    server: NodeId,
}

impl Crowd {
    fn new(count: usize, profile: &Profile) -> anyhow::Result<Self> {
        let options = TransportOptions::default();
        let authority = Authority::new(1)?;
        let station = authority.station("station")?;
        let numbers = transport(profile, Role::Server, &options)?;
        let server = Some(Arc::new(server_config(&authority, &station, START, numbers)?));
        let mut net = Net::new(START);
        let server = net.add(Settings { seed: 0, key: station.key_hash, options, server });
        let numbers = Arc::new(transport(profile, Role::Client, &options)?);
        let craft = authority.client("client")?;
        let mut clients = Vec::new();
        for index in 0..count as u64 {
            let key = craft.key_hash;
            let node = net.add(Settings { seed: 1 + index, key, options, server: None });
            net.lay(node, server, leg(2e6, index));
            net.lay(server, node, leg(2e6, !index));
            let config = client_config(&craft, &station, Arc::clone(&numbers), index)?;
            clients.push(net.connect(node, server, config, SERVER_NAME)?);
            // Spread over the second, as spacecraft that know nothing of each other are.
            net.wake(node, SECOND_NS + index * SECOND_NS / count as u64, index);
        }
        Ok(Self { net, clients, server })
    }

    /// Flies on; the seconds it flew.
    fn fly(&mut self, seconds: u64) -> usize {
        let until = self.net.now_ns() + seconds * SECOND_NS;
        while let Some(turn) = self.net.next(until) {
            match turn {
                Turn::Wake(node, index) => {
                    self.net.wake(node, self.net.now_ns() + SECOND_NS, index);
                    let Some(id) = self.clients.get(index as usize).copied() else { continue };
                    if let Some(connection) = self.net.connection(id)
                        && let Some(stream) = connection.streams().open(Dir::Uni)
                    {
                        let mut stream = connection.send_stream(stream);
                        let _ = stream.write(&[0x5a; TELEMETRY_BYTES]);
                        let _ = stream.finish();
                    }
                    self.net.touch(id);
                }
                Turn::Connection(id) => {
                    while let Some(event) = self.net.poll(id) {
                        if id.node == self.server
                            && let Some(connection) = self.net.connection(id)
                        {
                            read(connection, &event, drop);
                        }
                    }
                    self.net.touch(id);
                }
            }
        }
        seconds as usize
    }
}
