//! What the daemon's memory may reach at the most, part by part: the sum of the bounds that stand
//! in the code and in the station file. Pools are processes of their own.

use crate::{
    archive,
    config::{Config, PoolKind},
    decode, deframe,
    door::{order, outbox, select, spec::Destination},
    ledger,
    peers::{FIRST_CREDIT_BYTES, HANDSHAKES_MAX, SharesError},
    pool::{
        apart::APART_BYTES_MIN,
        formats::TREE,
        frames::READING_BYTES,
        http::{CONNECTION_BYTES as POOL_CONNECTION_BYTES, DESCRIPTION_BYTES_MAX},
        oip_grpc,
        room::ROOMS_BYTES,
        shared::SHARED_BYTES,
        stream::WHOLE_BYTES_MAX,
        task::Contracts,
    },
    publish::memory,
    rf, router,
    router::{discovery::FOUND_MAX, room::Room, spec::POOLS_MAX},
};
use codecs::{
    link::uplink::{
        ContentKind, MAX_DOMAIN_BYTES, WINDOW,
        object::MAX_UPLINK_BYTES,
        queue::{ENDED_MAX, WAITING_BYTES_MAX},
        record::MAX_DETAIL_BYTES,
    },
    mission::Definition,
};
use codecs_quic::LOOK_BYTES;
use serde::Serialize;
use std::collections::BTreeSet;

/// Code, runtime, stacks and what the allocator keeps: measured on an idle station, doubled.
const BASE_BYTES: u64 = 32 << 20;
/// What a connection costs beside its credit: keys, path, timers, maps of the transport.
const CONNECTION_BYTES: u64 = 128 << 10;
/// Streams and tasks of a session.
const STREAM_BYTES: u64 = 4 << 10;
/// Each stream may hold so much more than it buffers before the transport copies it together.
const STREAM_SLACK_BYTES: u64 = 32 << 10;
/// Two receive batches of the socket, each of 32 segments of 64 KiB.
const SOCKET_BYTES: u64 = 2 * 32 * (64 << 10);
/// Of a range in a set: an entry in a tree that is two thirds full.
const RANGE_BYTES: u64 = 48;
/// Of one identity in a set: key and place.
const IDENTITY_BYTES: u64 = 96;
/// What a server says of a model, and what is read out of it.
const DESCRIBED_BYTES: u64 = 4 * DESCRIPTION_BYTES_MAX as u64;
/// A job without its input: fields, key, and its places in queue, names and deadlines.
const JOB_BYTES: u64 = 1 << 10;

/// Of an object of the uplink, beside its content: fields, key, and its place in a tree.
const UPLINK_BYTES: u64 = 512 + (MAX_DOMAIN_BYTES + MAX_DETAIL_BYTES) as u64;

/// Uplink objects of one session on streams at once.
pub const UPLINK_STREAMS_MAX: usize = 4;
/// Control messages that wait for a peer that does not read.
pub const CONTROL_BYTES_MAX: usize = 4 << 20;
/// Live frames that wait, and as much again for the batches they came in.
const QUICK_LOOK_BYTES: u64 = 512 << 10;
/// Bytes sent to a peer and not acknowledged: receipts, and commands at a link's rate.
pub const SEND_BYTES: u64 = 1 << 20;

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What takes it.
    pub part: &'static str,
    /// How many there may be.
    pub count: u64,
    /// Bytes of each.
    pub each_bytes: u64,
    /// Both multiplied.
    pub bytes: u64,
    /// Where the bound comes from.
    pub bound: &'static str,
}

/// Every part, and their sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// In the order in which a unit meets them.
    pub parts: Vec<Part>,
    /// The most that memory may reach, in bytes.
    pub bytes: u64,
    /// Bytes in memory from which on no datagram is left in the batch that it came in: a quarter of
    /// the parts that have nothing to do with pools, which ordinary traffic does not reach.
    pub crowded_bytes: u64,
}

/// Connections that the doors may have at once.
fn door_connections(config: &Config) -> u64 {
    let doors = config.doors.iter().filter_map(|door| door.check().ok());
    let connections = doors.map(|door| match door.to {
        Destination::TcpServer(_) => door.clients_max as u64,
        _ => 1,
    });
    connections.sum()
}

/// What pools may have, beside the answers on their way.
#[derive(Default)]
struct Pools {
    servers: u64,
    /// Those that speak HTTP without a vendor's client, which keep pieces of memory.
    plain: u64,
    embedded: u64,
    connections: u64,
    windows: u64,
    descriptions: u64,
    /// Most jobs of a question.
    together: u64,
}

impl Pools {
    fn of(config: &Config, contracts: &Contracts) -> Self {
        let mut all = Self::default();
        for pool in &config.pools {
            let servers = if pool.discover.is_some() { FOUND_MAX as u64 } else { 1 };
            let servers = servers.min(POOLS_MAX as u64 - all.servers);
            all.servers += servers;
            let slots = u64::from(pool.spec("", Vec::new()).concurrency.1);
            // As many as there are questions at a time, and who asks what models there are: kept
            // ones are used first.
            let connections = match pool.kind {
                PoolKind::OipGrpc => oip_grpc::CHANNELS as u64,
                PoolKind::Embedded => 1,
                _ => slots + 1,
            };
            let tasks = match pool.kind {
                // What its packages are for is known once it runs.
                PoolKind::Embedded => contracts.all().count(),
                PoolKind::OipRest | PoolKind::OipGrpc => pool.tasks.len(),
                _ => 0,
            };
            all.connections += servers * connections;
            match pool.kind {
                PoolKind::OipGrpc => all.windows += servers * connections,
                PoolKind::OipRest => all.plain += servers,
                PoolKind::Embedded => all.embedded += servers,
                _ => {}
            }
            all.descriptions += servers * tasks as u64;
            all.together = all.together.max(pool.batch_max.unwrap_or(1).into());
        }
        all
    }
}

impl Budget {
    /// The budget of a station.
    pub fn of(config: &Config, mission: &Definition) -> Result<Self, SharesError> {
        let profile = config.profile();
        let shares = config.shares()?;
        let connections = config.listen.connections_max as u64;
        let origins: BTreeSet<&str> = config.principals.iter().map(|p| p.origin.as_str()).collect();
        // One origin has one session; two of them for the moment of a takeover.
        let sessions = connections.min(origins.len() as u64);
        let first = u64::from(FIRST_CREDIT_BYTES);
        let session_credit = shares.sum_bytes - connections * first;
        let streams = sessions * u64::from(profile.streams_max);
        let (crafts, parameters) = (mission.spacecraft.len(), mission.parameters.len());
        let identities = decode::IDENTITIES_MAX as u64;
        let ranges = (ledger::PREFIXES_MAX * ledger::RANGES_MAX) as u64;
        let row = |part, count, each_bytes, bound| Part {
            part,
            count,
            each_bytes,
            bytes: count * each_bytes,
            bound,
        };
        let out = door_connections(config);
        let (radios, radio) = (config.rf.len() as u64, rf::RADIO_BYTES_MAX as u64);
        let door = (deframe::RECENT_BYTES_MAX + order::HELD_BYTES_MAX + outbox::BYTES_MAX) as u64
            + select::IDENTITIES_MAX as u64 * IDENTITY_BYTES;
        let recent = deframe::recent_bytes(&profile) as u64;
        let kinds = ContentKind::ALL.len() as u64;
        let objects = ENDED_MAX as u64 + crafts as u64 * kinds * WINDOW;
        let on_streams = (MAX_UPLINK_BYTES * UPLINK_STREAMS_MAX) as u64;
        let lets_go = u64::from(config.archive.retain.is_set());
        let stores = u64::from(config.archive.object_store.is_some());
        let contracts = Contracts::with(&mission.tasks);
        let pools = Pools::of(config, &contracts);
        let rooms = contracts.all().flat_map(|of| {
            let elements = of.outputs_elements(pools.together);
            config.pools.iter().map(move |pool| pool.answers().room(elements))
        });
        let answers = Room::bytes_max(config.routing.answer_bytes, rooms.max().unwrap_or(0));
        let works = u64::from(pools.connections > 0);
        let trees = ((WHOLE_BYTES_MAX + APART_BYTES_MIN) * TREE) as u64;
        let mut parts = vec![
            row("program, runtime, stacks", 1, BASE_BYTES, "measured, doubled"),
            row("socket", 1, SOCKET_BYTES, "two batches of 32 reads of 64 KiB"),
            row("handshakes", HANDSHAKES_MAX as u64, CONNECTION_BYTES, "handshakes under way"),
            row("connections", connections, CONNECTION_BYTES, "listen.connections_max"),
            row("their first credit", connections, first, "before a session is open"),
            row("credit of sessions", 1, session_credit, "limits.receive_bytes, credit_bytes"),
            row("fragments of it", 1, session_credit * 3 / 2, "half as much again, and copies"),
            row("streams", streams, STREAM_BYTES + STREAM_SLACK_BYTES, "sessions x the profile's"),
            row(
                "towards peers",
                sessions,
                CONTROL_BYTES_MAX as u64 + SEND_BYTES,
                "control messages, send window",
            ),
            row("live frames", connections, QUICK_LOOK_BYTES, "the oldest are dropped"),
            row("blocks of the archive", 1, archive::memory_bytes() as u64, "a fixed pool"),
            row("ledger", ranges, RANGE_BYTES, "1,024 counters of 1,024 ranges"),
            row("its copy in a checkpoint", ranges, 16, "when a segment begins"),
            row("frames of the merged view", 1, recent, "latest frames; the profile"),
            row("packets known", 2 * identities, IDENTITY_BYTES, "decoding and the page"),
            row("page, histories", 1, memory::histories_bytes(crafts, parameters), "the mission"),
            row("page, holes followed", 1, memory::sequences_bytes(crafts), "the mission"),
            row("page, pictures", 1, memory::pictures_bytes(), "latest products"),
            row("jobs", router::JOBS_MAX as u64, JOB_BYTES, "queued heavy work"),
            row("jobs, inputs", 1, router::INPUT_BYTES_MAX, "held outside the archive"),
            row("uplink, contents", 1, WAITING_BYTES_MAX as u64, "without an outcome"),
            row("uplink, objects", objects, UPLINK_BYTES, "1,024 a kind and spacecraft, and ended"),
            row("uplink, on streams", sessions, on_streams, "sessions x 4"),
            row("radios, parts heard", radios, radio, "[[rf]] x half a unit, and units under way"),
            row("doors", out, door, "connections x frames, order, packets known, unconfirmed"),
            row("floor of retention", lets_go * ranges, RANGE_BYTES + 16, "a ledger, and its copy"),
            row("stored elsewhere", stores * ranges, RANGE_BYTES, "what the store has of a ledger"),
            row("a segment on its way", stores, config.archive.segment_bytes, "one at a time"),
        ];
        let window = u64::from(oip_grpc::WINDOW_BYTES);
        let of_pools = [
            row(
                "jobs, answers",
                works,
                answers,
                "routing.answer_bytes, and the largest where it is more",
            ),
            row("an answer's JSON", works, trees, "one read at a time, and a short one"),
            row("models described", pools.descriptions, DESCRIBED_BYTES, "pools x tasks"),
            row(
                "connections to pools",
                pools.connections,
                POOL_CONNECTION_BYTES,
                "concurrency_max",
            ),
            row("windows of gRPC", pools.windows, window, "two a server"),
            row("pieces kept for pools", pools.plain, ROOMS_BYTES, "used again"),
            row("embedded pools", pools.embedded, SHARED_BYTES + READING_BYTES, "inputs, the line"),
        ];
        // What is pinned is in memory, so below that mark until the next look; beyond it nothing
        // more is. It holds for all peers together, whatever credit each has.
        let crowded_bytes = parts.iter().map(|part| part.bytes).sum::<u64>() / 4;
        let pinned = crowded_bytes + LOOK_BYTES as u64;
        let bound = "a quarter of the above, and 8 MiB until memory is looked at";
        parts.push(row("pinned receive batches", 1, pinned, bound));
        parts.extend(of_pools);
        parts.retain(|part| part.bytes > 0);
        let bytes = parts.iter().map(|part| part.bytes).sum();
        Ok(Self { parts, bytes, crowded_bytes })
    }

    /// As a table for people.
    pub fn table(&self) -> String {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let mut out = String::from("memory may reach, in MiB:\n");
        for part in &self.parts {
            let Part { part, count, each_bytes, bytes, bound } = part;
            let each =
                if *count > 1 { format!("{count} x {each_bytes} bytes; ") } else { String::new() };
            out.push_str(&format!("{:>9.1}  {part:<26} {each}{bound}\n", mebibytes(*bytes)));
        }
        out.push_str(&format!("{:>9.1}  in all", mebibytes(self.bytes)));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PoolConfig;
    use std::collections::BTreeMap;

    fn config(principals: usize, connections_max: usize) -> Config {
        let mut text = format!(
            "mission = \"m\"\n[station]\nname = \"t\"\nlatitude_deg = 0.0\nlongitude_deg = 0.0\n\
             [listen]\nconnections_max = {connections_max}\n\
             [identity]\nauthority = \"a\"\ncertificate = \"c\"\nkey = \"k\"\n"
        );
        for at in 0..principals {
            text.push_str(&format!(
                "[[principal]]\nname = \"p{at}\"\nkey = \"sha256:{at:064x}\"\n\
                 origin = \"{at:032x}\"\nspacecraft = [7]\nactions = []\n"
            ));
        }
        codecs::config::parse("station.toml", &text).unwrap()
    }

    fn mission() -> Definition {
        Definition::from_toml("mission = \"m\"\ndomain = \"m\"\n").unwrap()
    }

    #[test]
    fn the_sum_is_the_sum_and_follows_what_the_file_allows() {
        let few = Budget::of(&config(4, 16), &mission()).unwrap();
        assert_eq!(few.bytes, few.parts.iter().map(|part| part.bytes).sum::<u64>());
        let many = Budget::of(&config(100, 128), &mission()).unwrap();
        assert!(many.bytes > few.bytes);
        let table = few.table();
        assert!(table.contains("blocks of the archive") && table.ends_with("in all"), "{table}");
        // A smaller budget for peers is a smaller sum, by that, the fragments, and a quarter of both
        // that batches may take.
        let mut thrifty = config(100, 128);
        thrifty.limits.receive_bytes = 64 << 20;
        let saved = many.bytes - Budget::of(&thrifty, &mission()).unwrap().bytes;
        // Even shares round down.
        assert!(saved.abs_diff((192 << 20) * 25 / 8) < 1_000, "{saved}");
    }

    /// Whatever was pinned when memory is found crowded, and what came until it was looked at, has
    /// its row beside all that is counted.
    #[test]
    fn batches_that_fragments_pin_have_their_row() {
        let budget = Budget::of(&config(4, 16), &mission()).unwrap();
        let (pinned, rest): (Vec<_>, Vec<_>) =
            budget.parts.iter().partition(|part| part.part == "pinned receive batches");
        let rest: u64 = rest.iter().map(|part| part.bytes).sum();
        assert_eq!(budget.crowded_bytes, rest / 4);
        let [pinned] = pinned[..] else { panic!("{pinned:?}") };
        assert_eq!(pinned.bytes, budget.crowded_bytes + LOOK_BYTES as u64);
        assert_eq!(budget.bytes, rest + pinned.bytes);
    }

    /// Nothing but pools makes it larger, and they do not move the mark from which on memory is
    /// crowded.
    #[test]
    fn pools_have_their_rows_found_ones_as_many_as_may_be_found() {
        let of = |rows: &str| {
            let mut config = config(4, 16);
            let pools: BTreeMap<String, Vec<PoolConfig>> = toml::from_str(rows).unwrap();
            config.pools = pools.into_values().flatten().collect();
            Budget::of(&config, &mission()).unwrap()
        };
        let tasks = "tasks = { 'cloud-mask/1' = 'screen' }\nregion = 'eu'";
        let rest = format!("[[pool]]\nname = 'a'\nkind = 'oip-rest'\nurl = 'https://a'\n{tasks}\n");
        let found =
            format!("[[pool]]\nname = 'b'\nkind = 'oip-grpc'\ndiscover = 'dns:b:1'\n{tasks}\n");
        let (none, one) = (of(""), of(&rest));
        let both = of(&(rest + &found));
        assert!(one.bytes >= none.bytes + (512 << 20), "answers on their way");
        let server =
            2 * (u64::from(oip_grpc::WINDOW_BYTES) + POOL_CONNECTION_BYTES) + DESCRIBED_BYTES;
        assert_eq!(both.bytes, one.bytes + FOUND_MAX as u64 * server);
        let row =
            |name| format!("[[pool]]\nname = '{name}'\nkind = 'embedded'\npackages = ['p']\n");
        let (own, two) = (of(&row("a")), of(&(row("a") + &row("b"))));
        assert!(two.bytes >= own.bytes + SHARED_BYTES, "memory that each child sees");
        assert_eq!(
            (both.crowded_bytes, one.crowded_bytes),
            (none.crowded_bytes, none.crowded_bytes)
        );
    }

    #[test]
    fn doors_uplink_retention_and_the_object_store_have_their_rows() {
        let of = |config: &Config, name: &str| -> u64 {
            let budget = Budget::of(config, &mission()).unwrap();
            let parts = budget.parts.iter().filter(|part| part.part.starts_with(name));
            parts.map(|part| part.bytes).sum()
        };
        let mut config = config(4, 16);
        let rows = ["doors", "floor of retention", "stored elsewhere", "a segment on its way"];
        assert_eq!(rows.map(|name| of(&config, name)), [0; 4], "what is not used takes nothing");
        // Two sessions more have their streams more.
        let streams = of(&self::config(6, 16), "uplink, on") - of(&config, "uplink, on");
        assert!(streams >= 8 << 20, "{streams}");
        let door = |name: &str, to: &str, more: &str| {
            format!("name = '{name}'\nto = '{to}'\nsend = 'frames'\n{more}")
        };
        let mut add = |text: String| {
            config.doors.push(codecs::config::parse("door", &text).unwrap());
            of(&config, "doors")
        };
        let one = add(door("a", "udp:h:1", ""));
        assert!(one >= 33 << 20, "frames, their order and what is unconfirmed: {one}");
        assert_eq!(add(door("b", "tcp-server:127.0.0.1:0", "clients_max = 5")), 6 * one);
        config.archive.retain.bytes = Some(1);
        config.archive.object_store = Some(Default::default());
        assert!(rows.iter().all(|name| of(&config, name) > 0));
        assert_eq!(of(&config, "a segment on its way"), config.archive.segment_bytes);
    }
}
