//! One scenario twice: with the real programs over the relay, in real time, and in simulated time.
//! What a simulation says of goodput and latency is worth something only if both say the same.

use super::said::{SECONDS, Said, Unit};
use super::world::{World, text};
use codecs::{ids::Codec, squeeze, time::Tai};
use groundstation::{
    archive::{read::replay, record::Position, twice::Twice},
    contacts::Stepped,
    shell::disk::Folder,
};
use onboard::pipeline::TELEMETRY;
use sims::{
    link::{Geometry, LinkModel, Sky},
    relay::{Relay, SimulatedClock},
    world::{
        island::IslandSettings, legs, run::run, scenario::Scenario, sensors::Source,
        shell::fleet::Progress,
    },
};
use std::{
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    process::Command,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Largest block that is opened.
const BLOCK_BYTES: usize = 1 << 22;
/// Keys of the flight software that both have: nothing but what the sensors say, no work that takes
/// long in an unoptimised build, since a simulation takes no time for it, and blocks that are cut
/// alike whether or not the station is reached yet.
const FLIGHT: &str = "[health]\nevery_s = 0\n[realtime]\napids = []\n\
                      [squeeze]\nlevel = \"fast\"\nflush_away_ms = 2000\n";
/// What the sensors say: 391 kbit/s that nothing squeezes, and housekeeping. The last packet of a
/// block comes 20 ms or more before its two seconds are over, and the next one as much behind them:
/// what comes at the very instant of a deadline is in time or not by a hair, on any computer.
const SENSORS: &str = "[telemetry]\npacket_bytes = 200\nevery_s = 0.047\n\
                       payload_bytes = 3840\npayload_every_s = 0.0785\n";

/// A link, and where it is between.
struct Case {
    name: &'static str,
    start: &'static str,
    /// What stands in `[link]`.
    link: &'static str,
    sites: &'static str,
    /// Elements of the satellite, where it flies.
    elements: Option<&'static str>,
}

const CASES: [Case; 3] = [
    // Twice the rate that is needed, and losses in bursts.
    Case {
        name: "noisy",
        start: "2026-01-01T00:00:00Z",
        link: "down_bps = 1e6\nup_bps = 1e6\nqueue_ms = 200\nloss = 0.01\nburst_packets = 3\n\
               fixed = { range_km = 15_000 }\n",
        sites: "",
        elements: None,
    },
    // Less than what is needed: the store fills.
    Case {
        name: "full",
        start: "2026-01-01T00:00:00Z",
        link: "down_bps = 300e3\nup_bps = 300e3\nqueue_ms = 200\nfixed = { range_km = 15_000 }\n",
        sites: "",
        elements: None,
    },
    // A satellite that comes nearer, by its elements: from some 480 kbit/s to 650.
    Case {
        name: "pass",
        start: "2026-11-23T09:52:40Z",
        link: "down_bps = 2.2e6\nup_bps = 200e3\nqueue_ms = 200\nloss = 0.002\n",
        sites: "[[site]]\nname = \"Svalbard\"\nlatitude_deg = 78.23\nlongitude_deg = 15.39\n",
        elements: Some("missions/sky-7/elements.json"),
    },
];

/// A sky that stands still until the scenario begins.
struct Held {
    sky: legs::Shared,
    start: Tai,
    begun: Arc<OnceLock<Tai>>,
}

impl Geometry for Held {
    fn sky(&self, at: Tai) -> Option<Sky> {
        let since_ns = self.begun.get().map_or(0, |begun| at.since(*begun));
        self.sky.sky(self.start.plus(since_ns))
    }
}

impl Case {
    fn scenario(&self) -> Scenario {
        let Self { start, link, sites, elements, .. } = self;
        let elements = elements.map_or_else(String::new, |path| {
            let elements = std::fs::read_to_string(tests::process::root().join(path)).unwrap();
            format!("elements = '''{elements}'''\n")
        });
        let text = format!(
            "name = \"both\"\nstart = \"{start}\"\nduration_s = {SECONDS}\n\
             [link]\nprofile = \"leo\"\n{link}{sites}[[spacecraft]]\nname = \"A\"\n{elements}\
             {SENSORS}[store]\nflight = '''\n{FLIGHT}'''\n"
        );
        Scenario::parse("both.toml", &text).unwrap()
    }

    fn island(&self) -> IslandSettings {
        let none = |name: &str| anyhow::bail!("{name} is not named");
        self.scenario().islands(1, &none).unwrap().0.remove(0)
    }

    fn simulated(&self) -> Said {
        let none = |name: &str| anyhow::bail!("{name} is not named");
        let answer = run(&self.scenario(), 1, 1, &none, &Progress::default()).unwrap();
        assert_eq!(answer.conservation.broken, Vec::<String>::new());
        let units = answer.craft[0].latency.iter().filter(|of| of.channel == TELEMETRY.0);
        Said::of(units.map(|of| Unit {
            captured_s: of.captured_s,
            archived_s: of.archived_s,
            bytes: of.bytes as usize,
        }))
    }

    /// A relay over the scenario's own link, which begins when it is told.
    fn relay(&self, to: SocketAddr) -> (SocketAddr, impl FnOnce() + use<>) {
        let IslandSettings { windows, start, down, up, .. } = self.island();
        let (windows, begun) = (Arc::new(windows), Arc::new(OnceLock::new()));
        let model = |direction, seed| {
            let (sky, begun) = (legs::Shared::new(&windows, direction), Arc::clone(&begun));
            LinkModel::new(direction.settings(seed), Held { sky, start, begun })
        };
        let (down, up) = (model(&down, 1), model(&up, 2));
        let clock = SimulatedClock { start, at: tokio::time::Instant::now() };
        let (told, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let relay = Relay::bind("127.0.0.1:0".parse().unwrap(), to).await.unwrap();
                told.send(relay.address().unwrap()).unwrap();
                relay.run(clock, down, up).await.unwrap();
            });
        });
        (address.recv().unwrap(), move || begun.set(clock.now()).unwrap())
    }

    fn real(&self) -> Said {
        let world = World::start();
        let config = world.path("enrolled/a/onboard.toml");
        let said = std::fs::read_to_string(&config).unwrap();
        let station = said.split("address = \"").nth(1).unwrap().split('"').next().unwrap();
        let (relay, begin) = self.relay(station.parse().unwrap());
        let through = said.replacen(station, &relay.to_string(), 1);
        std::fs::write(&config, format!("{through}\n{FLIGHT}")).unwrap();
        self.plan(&world);
        let craft = world.craft();
        // Answered, so connected: what is made from now on waits for nothing but its turn.
        world.outcome(&world.send("command", "ping", &[]));
        begin();
        let start = self.feed(&world);
        drop(craft);
        units(&world, start)
    }

    /// The contact plan that a world's station tells too.
    fn plan(&self, world: &World) {
        let IslandSettings { windows, start, down, up, .. } = self.island();
        // The scenario begins within a minute, and lasts for less than nine.
        let (rise_ns, set_ns) = (now().since(start) - 60_000_000_000, now().since(start));
        let contact = |of: &Stepped| {
            let of = of.whole;
            let (rise, set) = (of.rise.plus(rise_ns), of.set.plus(set_ns + 540_000_000_000));
            let (rate_bps, rtt_ms) = (of.rate_bps as f64, of.rtt_ns as f64 / 1e6);
            let (rise, set) = (rise.to_rfc3339(), set.to_rfc3339());
            serde_json::json!({ "rise": rise, "set": set, "rate_bps": rate_bps, "rtt_ms": rtt_ms })
        };
        let contacts: Vec<_> = windows
            .plan(down.rate_bps, down.ground_delay_ns + up.ground_delay_ns)
            .iter()
            .map(contact)
            .collect();
        let plan = serde_json::json!({ "contacts": contacts });
        std::fs::write(world.path("contacts.json"), plan.to_string()).unwrap();
        let path = world.path("station.toml");
        let said = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{said}\n[contacts]\nfile = \"contacts.json\"\n")).unwrap();
        let reloaded = Command::new(tests::process::binary("groundstation"))
            .args(["reload", "--config", &text(&path)])
            .output()
            .unwrap();
        assert!(reloaded.status.success(), "{reloaded:?}");
    }

    /// Says what the sensors say, when they do; when they began.
    fn feed(&self, world: &World) -> Tai {
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(world.path("enrolled/a/s")).unwrap();
        let (start, begun) = (now(), Instant::now());
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

/// What the station's archive has. Its records tell when a unit came, which is up to a commit of
/// 10 ms before it is durable, and a world tells the latter: less than a hundredth here.
fn units(world: &World, start: Tai) -> Said {
    let mut folder = Folder::at(&world.path("archive"));
    let at = |segment| Position { segment, offset: 0 };
    let since_s = |at: Tai| at.since(start) as f64 / 1e9;
    let mut units = Vec::new();
    let read = replay(&mut folder, &Twice::NOTHING, at(0), at(u64::MAX), |unit| {
        if unit.codec == Codec::Squeezed {
            let block = squeeze::columns::unsqueeze(&unit.bytes, BLOCK_BYTES).unwrap();
            let first = block.packets().next().unwrap();
            let captured = Tai::from_cuc43(first[6..13].try_into().unwrap());
            units.push(Unit {
                captured_s: since_s(captured),
                archived_s: since_s(unit.received),
                bytes: unit.bytes.len(),
            });
        }
        Ok(())
    });
    // A daemon may be writing behind what is read.
    let _ = read;
    Said::of(units.into_iter())
}

fn now() -> Tai {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Tai::from_unix(unix.as_secs() as i64, unix.subsec_nanos())
}

/// Asks for the processors' first turn for this process and those that it starts. Where that may not
/// be asked for, or there is no such command, the machine has to be quiet.
fn in_real_time() {
    let id = std::process::id().to_string();
    let asked = Command::new("chrt").args(["--all-tasks", "--rr", "--pid", "1", &id]).output();
    if !asked.is_ok_and(|of| of.status.success()) {
        println!("no real-time scheduling (chrt --rr): what else runs here is in the figures");
    }
}

/// All links at once, each with programs of its own: they have little to do. Other tests' load is
/// kept away by `.config/nextest.toml`, that of the machine by its scheduler.
#[test]
fn the_simulation_and_the_real_programs_say_the_same_of_goodput_and_latency() {
    let simulated = CASES.each_ref().map(Case::simulated);
    in_real_time();
    let real: Vec<Said> = std::thread::scope(|scope| {
        let each: Vec<_> = CASES.iter().map(|case| scope.spawn(|| case.real())).collect();
        each.into_iter().map(|of| of.join().unwrap()).collect()
    });
    let mut wrong = Vec::new();
    for (Case { name, .. }, (simulated, real)) in CASES.iter().zip(simulated.iter().zip(&real)) {
        simulated.beside(name, real);
        wrong.extend(simulated.apart(name, real, 0.05));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
