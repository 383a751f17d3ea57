//! One scenario twice: with the real programs over the relay, in real time, and in simulated time.
//! What a simulation says of goodput and latency is worth something only if both say the same.

use super::world::World;
use codecs::{ids::Codec, squeeze, time::Tai};
use groundstation::{
    archive::{read::replay, record::Position, twice::Twice},
    shell::disk::Folder,
};
use sims::{
    link::{Fixed, LIGHT_KM_S, LinkModel, LinkSettings, LossSettings},
    relay::{Relay, SimulatedClock},
    world::{run::run, scenario::Scenario, sensors::Source, shell::fleet::Progress},
};
use std::{
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const SECONDS: u64 = 40;
const DELAY_MS: f64 = 50.0;
const QUEUE_MS: f64 = 200.0;
/// Largest block that is opened.
const BLOCK_BYTES: usize = 1 << 22;
/// Keys of the flight software that both have: nothing but what the sensors say, and no work that
/// takes long in an unoptimised build, since a simulation takes no time for it.
const FLIGHT: &str = "[health]\nevery_s = 0\n[realtime]\napids = []\n[squeeze]\nlevel = \"fast\"\n";

/// A link, and what is to go over it.
struct Case {
    rate_bps: f64,
    loss: f64,
    packet_bytes: usize,
    every_s: f64,
    payload_bytes: usize,
    payload_every_s: f64,
}

/// What both say.
#[derive(Debug)]
struct Said {
    goodput_bps: f64,
    p50_s: f64,
}

impl Said {
    /// Of units: seconds from the start to their archiving, seconds since capture, bytes.
    fn of(units: impl Iterator<Item = (f64, f64, usize)>) -> Self {
        let within: Vec<_> = units.filter(|(at_s, ..)| *at_s < SECONDS as f64).collect();
        let bytes: usize = within.iter().map(|(.., bytes)| bytes).sum();
        let mut latencies: Vec<_> = within.iter().map(|of| (of.1, of.2)).collect();
        latencies.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Half of the bytes: by units, small and large blocks being as many, it would be either.
        let mut so_far = 0;
        let half = latencies.iter().find(|(_, length)| {
            so_far += length;
            2 * so_far >= bytes
        });
        let p50_s = half.map_or(f64::NAN, |(latency_s, _)| *latency_s);
        Self { goodput_bps: 8.0 * bytes as f64 / SECONDS as f64, p50_s }
    }
}

impl Case {
    fn scenario(&self) -> Scenario {
        let Self { rate_bps, loss, packet_bytes, every_s, payload_bytes, payload_every_s } = self;
        let range_km = DELAY_MS / 1e3 * LIGHT_KM_S;
        let text = format!(
            "name = \"both\"\nstart = \"2026-01-01T00:00:00Z\"\nduration_s = {SECONDS}\n\
             [link]\nprofile = \"leo\"\ndown_bps = {rate_bps:.1}\nup_bps = {rate_bps:.1}\n\
             queue_ms = {QUEUE_MS:.1}\nloss = {loss:.4}\nburst_packets = 3.0\n\
             fixed = {{ range_km = {range_km:.3} }}\n[[spacecraft]]\nname = \"A\"\n\
             [telemetry]\npacket_bytes = {packet_bytes}\nevery_s = {every_s:.3}\n\
             payload_bytes = {payload_bytes}\npayload_every_s = {payload_every_s:.3}\n\
             [store]\nflight = '''\n{FLIGHT}'''\n"
        );
        Scenario::parse("both.toml", &text).unwrap()
    }

    fn simulated(&self) -> Said {
        let none = |name: &str| anyhow::bail!("{name} is not named");
        let answer = run(&self.scenario(), 1, 1, &none, &Progress::default()).unwrap();
        assert_eq!(answer.conservation.broken, Vec::<String>::new());
        let units = answer.craft[0].latency.iter();
        Said::of(units.map(|unit| (unit.archived_s, unit.latency_s(), unit.bytes as usize)))
    }

    fn relay(&self, to: SocketAddr) -> SocketAddr {
        let link = |seed| {
            let settings = LinkSettings {
                rate_bps: self.rate_bps,
                ground_delay_ns: 0,
                queue_ns: (QUEUE_MS * 1e6) as i64,
                loss: LossSettings { mean: self.loss, burst_packets: 3.0 },
                seed,
            };
            LinkModel::new(settings, Fixed { range_km: DELAY_MS / 1e3 * LIGHT_KM_S })
        };
        let (down, up) = (link(1), link(2));
        let (told, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let relay = Relay::bind("127.0.0.1:0".parse().unwrap(), to).await.unwrap();
                told.send(relay.address().unwrap()).unwrap();
                let clock = SimulatedClock { start: Tai(0), at: tokio::time::Instant::now() };
                relay.run(clock, down, up).await.unwrap();
            });
        });
        address.recv().unwrap()
    }

    fn real(&self) -> Said {
        let world = World::start();
        let config = world.path("enrolled/a/onboard.toml");
        let said = std::fs::read_to_string(&config).unwrap();
        let station = said.split("address = \"").nth(1).unwrap().split('"').next().unwrap();
        let relay = self.relay(station.parse().unwrap());
        let through = said.replacen(station, &relay.to_string(), 1);
        std::fs::write(&config, format!("{through}\n{FLIGHT}")).unwrap();
        self.plan(&world);
        let craft = world.craft();
        // Answered, so connected: what is made from now on waits for nothing but its turn.
        world.outcome(&world.send("command", "ping", &[]));
        let start = self.feed(&world);
        drop(craft);
        let mut folder = Folder::at(&world.path("archive"));
        let at = |segment| Position { segment, offset: 0 };
        let mut units = Vec::new();
        let read = replay(&mut folder, &Twice::NOTHING, at(0), at(u64::MAX), |unit| {
            if unit.codec == Codec::Squeezed {
                let block = squeeze::columns::unsqueeze(&unit.bytes, BLOCK_BYTES).unwrap();
                let first = block.packets().next().unwrap();
                let captured = Tai::from_cuc43(first[6..13].try_into().unwrap());
                let since = |from: Tai| unit.received.since(from) as f64 / 1e9;
                units.push((since(start), since(captured), unit.bytes.len()));
            }
            Ok(())
        });
        // A daemon may be writing behind what is read.
        let _ = read;
        Said::of(units.into_iter())
    }

    /// The contact plan that a world's station tells too.
    fn plan(&self, world: &World) {
        let (now, minute) = (now(), 60_000_000_000);
        let (rise, set) = (now.plus(-minute).to_rfc3339(), now.plus(10 * minute).to_rfc3339());
        let (rate_bps, rtt_ms) = (self.rate_bps, 2.0 * DELAY_MS);
        let plan = serde_json::json!({
            "contacts": [{ "rise": rise, "set": set, "rate_bps": rate_bps, "rtt_ms": rtt_ms }]
        });
        std::fs::write(world.path("contacts.json"), plan.to_string()).unwrap();
        let path = world.path("station.toml");
        let said = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{said}\n[contacts]\nfile = \"contacts.json\"\n")).unwrap();
        let reloaded = std::process::Command::new(tests::process::binary("groundstation"))
            .args(["reload", "--config", path.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(reloaded.status.success(), "{reloaded:?}");
    }

    /// Says what the sensors say, when they do; when they began.
    fn feed(&self, world: &World) -> Tai {
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(world.path("enrolled/a/s")).unwrap();
        let start = now();
        let begun = Instant::now();
        let telemetry = self.scenario().telemetry;
        let mut source = Source::new(&telemetry, None, (start, Vec::new()), 1).unwrap();
        let mut now_ns = 0;
        while now_ns < SECONDS * 1_000_000_000 {
            std::thread::sleep(Duration::from_nanos(now_ns).saturating_sub(begun.elapsed()));
            let now = start.plus(now_ns as i64);
            for packet in source.take(now_ns, now, now).unwrap() {
                socket.send(&packet).unwrap();
            }
            now_ns = source.due_ns(now_ns).max(now_ns + 1);
        }
        start
    }
}

fn now() -> Tai {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Tai::from_unix(unix.as_secs() as i64, unix.subsec_nanos())
}

fn agree(what: &str, real: f64, simulated: f64) {
    let ratio = simulated / real;
    assert!((0.95..=1.05).contains(&ratio), "{what}: {simulated} simulated, {real} real");
}

/// Compares in one run what a machine under load would tear apart.
#[test]
#[ignore = "80 s of real time on a quiet machine: make test-long"]
fn the_simulation_and_the_real_programs_say_the_same_of_goodput_and_latency() {
    let noisy = Case {
        rate_bps: 1e6,
        loss: 0.01,
        packet_bytes: 200,
        every_s: 0.05,
        payload_bytes: 24_000,
        payload_every_s: 0.5,
    };
    let full = Case { rate_bps: 300e3, loss: 0.0, ..noisy };
    for (name, case) in [("noisy", noisy), ("full", full)] {
        let (simulated, real) = (case.simulated(), case.real());
        println!("{name}: {simulated:?} simulated, {real:?} real");
        agree(&format!("{name}: goodput"), real.goodput_bps, simulated.goodput_bps);
        agree(&format!("{name}: latency"), real.p50_s, simulated.p50_s);
    }
}
