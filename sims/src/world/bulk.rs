//! A sender that always has another object, and a receiver that reads whatever comes: how much of
//! a link a transport uses.

use std::collections::BTreeMap;

use bytes::Bytes;
use quinn_proto::{Connection, Dir, Event, StreamEvent, StreamId, WriteError};

use super::{
    net::{LinkId, Net, Turn},
    pair::Pair,
};

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// Bytes of each object, on a stream of its own.
    pub object_bytes: usize,
    /// Objects under way at once.
    pub objects_max: usize,
    /// Objects in all.
    pub objects: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// When the first byte of an object was handed to the transport, ns.
    pub first_ns: Option<u64>,
    /// When each object was acknowledged whole, ns, in order.
    pub acknowledged_ns: Vec<u64>,
    /// Bytes that the receiver read.
    pub read_bytes: u64,
    /// When it read the last of them, ns.
    pub read_ns: u64,
    /// Why the connection ended, if it did.
    pub ended: Option<String>,
}

/// The state of a bulk transfer.
#[derive(Debug)]
pub struct Transfer {
    bulk: Bulk,
    /// Objects not handed out whole yet, with what is left of each.
    writing: BTreeMap<StreamId, Bytes>,
    begun: u64,
    under_way: usize,
    /// What came of it so far.
    pub outcome: Outcome,
}

impl Transfer {
    /// Nothing is sent yet.
    pub fn new(bulk: Bulk) -> Self {
        let (writing, outcome) = Default::default();
        Self { bulk, writing, begun: 0, under_way: 0, outcome }
    }

    /// Whether everything is acknowledged, or nothing more can be.
    pub fn is_over(&self) -> bool {
        let done = self.outcome.acknowledged_ns.len() as u64;
        done == self.bulk.objects || self.outcome.ended.is_some()
    }

    /// Runs a pair until everything is acknowledged, the connection ends, or `until_ns`.
    pub fn run(&mut self, pair: &mut Pair, until_ns: u64) {
        while !self.is_over() {
            let Some(turn) = pair.next(until_ns) else { return };
            let Turn::Connection(id) = turn else { continue };
            if id == pair.client {
                self.send(&mut pair.net, id);
            } else {
                while let Some(event) = pair.net.poll(id) {
                    if let Some(connection) = pair.net.connection(id) {
                        self.outcome.read_bytes += read(connection, &event, |_| {});
                        self.outcome.read_ns = pair.net.now_ns();
                    }
                }
                pair.net.touch(id);
            }
        }
    }

    /// Reads and throws away what came to a station's side; how many bytes.
    pub fn serve(net: &mut Net, id: LinkId) -> u64 {
        let mut bytes = 0;
        while let Some(event) = net.poll(id) {
            if let Some(connection) = net.connection(id) {
                bytes += read(connection, &event, |_| {});
            }
        }
        net.touch(id);
        bytes
    }

    /// Takes what the sending side's connection tells, and writes what it has room for.
    pub fn send(&mut self, net: &mut Net, id: LinkId) {
        while let Some(event) = net.poll(id) {
            match event {
                Event::ConnectionLost { reason } => self.outcome.ended = Some(reason.to_string()),
                Event::Stream(StreamEvent::Finished { .. }) => {
                    self.under_way -= 1;
                    self.outcome.acknowledged_ns.push(net.now_ns());
                }
                Event::Stream(StreamEvent::Writable { id: stream }) => {
                    self.write(net, id, stream);
                }
                _ => {}
            }
        }
        self.begin(net, id);
        net.touch(id);
    }

    fn begin(&mut self, net: &mut Net, id: LinkId) {
        while self.under_way < self.bulk.objects_max && self.begun < self.bulk.objects {
            let Some(connection) = net.connection(id) else { return };
            if connection.is_handshaking() {
                return;
            }
            let Some(stream) = connection.streams().open(Dir::Uni) else { return };
            self.outcome.first_ns.get_or_insert(net.now_ns());
            self.begun += 1;
            self.under_way += 1;
            self.writing.insert(stream, Bytes::from(vec![0x5a; self.bulk.object_bytes]));
            self.write(net, id, stream);
        }
    }

    fn write(&mut self, net: &mut Net, id: LinkId, stream: StreamId) {
        let Some(connection) = net.connection(id) else { return };
        let Some(left) = self.writing.get_mut(&stream) else { return };
        let mut stream_out = connection.send_stream(stream);
        while !left.is_empty() {
            match stream_out.write_chunks(std::slice::from_mut(left)) {
                Ok(_) => {}
                Err(WriteError::Blocked) => return,
                Err(_) => break,
            }
        }
        let _ = stream_out.finish();
        self.writing.remove(&stream);
    }
}

/// Reads what a stream event tells of, to `take`; how many bytes.
pub fn read(connection: &mut Connection, event: &Event, mut take: impl FnMut(Bytes)) -> u64 {
    let mut bytes = 0;
    let mut drain = |connection: &mut Connection, id| {
        let mut stream = connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            bytes += chunk.bytes.len() as u64;
            take(chunk.bytes);
        }
        let _ = chunks.finalize();
    };
    match event {
        Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
            while let Some(id) = connection.streams().accept(Dir::Uni) {
                drain(connection, id);
            }
        }
        Event::Stream(StreamEvent::Readable { id }) => drain(connection, *id),
        _ => {}
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        link::{Fixed, LinkModel, LinkSettings, LossSettings},
        world::pair::PairSettings,
    };
    use codecs::{link::profile::LEO, time::Tai};
    use codecs_quic::TransportOptions;

    const START: Tai = Tai(2_000_000_000_000_000_000);

    fn leg(rate_bps: f64, mean: f64, seed: u64) -> Box<LinkModel<Fixed>> {
        let settings = LinkSettings {
            rate_bps,
            ground_delay_ns: 12_000_000,
            queue_ns: 100_000_000,
            loss: LossSettings { mean, burst_packets: 3.0 },
            seed,
        };
        Box::new(LinkModel::new(settings, Fixed { range_km: 900.0 }))
    }

    fn fly(seed: u64) -> (u64, Outcome) {
        let settings = PairSettings {
            client: LEO,
            server: LEO,
            options: TransportOptions::default(),
            control: None,
            start: START,
            seed,
        };
        let (up, down) = (leg(50e6, 0.002, seed), leg(5e6, 0.002, seed + 1));
        let mut pair = Pair::new(settings, up, down).unwrap();
        let bulk = Bulk { object_bytes: 256 << 10, objects_max: 8, objects: 40 };
        let mut transfer = Transfer::new(bulk);
        transfer.run(&mut pair, 60_000_000_000);
        (pair.net.trace().hash(), transfer.outcome)
    }

    #[test]
    fn a_seed_gives_the_same_trace_and_another_one_another() {
        let (hash, outcome) = fly(1);
        assert_eq!(outcome.ended, None);
        assert_eq!(outcome.acknowledged_ns.len(), 40, "{outcome:?}");
        assert_eq!(outcome.read_bytes, 40 * (256 << 10));
        assert_eq!((hash, outcome), fly(1));
        assert_ne!(fly(2).0, hash);
    }

    #[test]
    fn a_clean_link_is_used_as_far_as_its_rate_allows() {
        let settings = PairSettings {
            client: LEO,
            server: LEO,
            options: TransportOptions::default(),
            control: None,
            start: START,
            seed: 3,
        };
        let mut pair = Pair::new(settings, leg(50e6, 0.0, 3), leg(5e6, 0.0, 4)).unwrap();
        let mut transfer =
            Transfer::new(Bulk { object_bytes: 256 << 10, objects_max: 8, objects: 400 });
        transfer.run(&mut pair, 60_000_000_000);
        let Outcome { first_ns, read_ns, read_bytes, .. } = transfer.outcome;
        let seconds = (read_ns - first_ns.unwrap()) as f64 / 1e9;
        let share = read_bytes as f64 * 8.0 / seconds / 50e6;
        // No transfer beats the link, and headers take a few percent.
        assert!((0.7..0.98).contains(&share), "{share}");
    }
}
