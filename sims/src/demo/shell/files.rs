//! Files of a demonstration: the station that `groundstation init` makes, with what a
//! demonstration adds, and the spacecraft's configuration.

use crate::demo::scene;
use anyhow::{Context, bail};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Folders and files under one roof.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Everything that stays.
    pub root: PathBuf,
    /// Short-lived things with short names: socket paths end at 108 bytes.
    pub short: PathBuf,
}

impl Layout {
    /// The station's folder.
    pub fn station(&self) -> PathBuf {
        self.root.join("station")
    }

    /// The station's configuration.
    pub fn station_file(&self) -> PathBuf {
        self.station().join("station.toml")
    }

    /// The spacecraft's configuration.
    pub fn onboard_file(&self) -> PathBuf {
        self.root.join("onboard.toml")
    }

    /// What the spacecraft sends down.
    pub fn triage(&self) -> PathBuf {
        self.root.join("triage.toml")
    }

    /// What the spacecraft's model is worth, signed.
    pub fn thresholds(&self) -> PathBuf {
        self.root.join("thresholds")
    }

    /// The spacecraft's store.
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// An edge's configuration.
    pub fn edge_file(&self, name: &str) -> PathBuf {
        self.station().join("enrolled").join(name).join("edge.toml")
    }

    /// An edge's spool.
    pub fn spool(&self, name: &str) -> PathBuf {
        self.station().join("enrolled").join(name).join("spool")
    }

    /// What the edge tells of itself.
    pub fn edge_status(&self) -> PathBuf {
        self.root.join("edge-status.json")
    }

    /// The flight software's slots of models.
    pub fn slots(&self) -> PathBuf {
        self.root.join("slots")
    }

    /// Where the payload leaves its pictures.
    pub fn pictures(&self) -> PathBuf {
        self.root.join("pictures")
    }

    /// Where the sensors' packets go.
    pub fn socket(&self) -> PathBuf {
        self.short.join("sensors.sock")
    }

    /// The mission that the station is made with.
    pub fn mission(&self) -> PathBuf {
        self.root.join("mission.toml")
    }

    /// What broke when: kept away from the telemetry.
    pub fn labels(&self) -> PathBuf {
        self.root.join("fault-labels.jsonl")
    }

    /// A program's log.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.log"))
    }
}

/// Committed model packages: beside the executable, or in the checkout it was built in.
pub fn model_packages(executable: &Path) -> Option<PathBuf> {
    let folders = executable.ancestors().skip(1);
    let mut candidates = folders
        .flat_map(|folder| [folder.join("packages"), folder.join("onboard/model/packages")])
        .chain([PathBuf::from("onboard/model/packages")]);
    let found = candidates.find(|path| path.join("cloud-screen/manifest.json").is_file())?;
    fs::canonicalize(found).ok()
}

/// What a demonstration adds to a station's file: simulated time, the contact plan, its own pool
/// and, where one listens, another machine's.
pub fn extend_station(
    layout: &Layout,
    contacts: &serde_json::Value,
    offset_s: f64,
    packages: Option<&Path>,
    shared: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let plan = layout.station().join("contacts.json");
    fs::write(&plan, serde_json::to_vec_pretty(contacts)?)
        .with_context(|| format!("writing {}", plan.display()))?;
    let path = layout.station_file();
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut table: Table = text.parse().with_context(|| format!("in {}", path.display()))?;
    let mut section = |name: &str, key: &str, value: Value| {
        let table = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
        table.as_table_mut().map(|table| table.insert(key.to_owned(), value));
    };
    section("clock", "simulated_offset_s", Value::Float(offset_s));
    section("contacts", "file", Value::String("contacts.json".to_owned()));
    if let (Some(packages), false) = (packages, table.contains_key("pool")) {
        let pools = shared.map(served).into_iter().chain([pool(packages, shared.is_some())]);
        table.insert("pool".to_owned(), Value::Array(pools.map(Value::Table).collect()));
    }
    fs::write(&path, table.to_string()).with_context(|| format!("writing {}", path.display()))
}

/// Bits a second of the demonstration's uplink.
const UPLINK_BPS: i64 = 16_000;

/// What a demonstration adds to a station's file for a radio: what is said, and through which edge.
pub fn add_radio(layout: &Layout, edge: &str) -> anyhow::Result<()> {
    let path = layout.station_file();
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut table: Table = text.parse().with_context(|| format!("in {}", path.display()))?;
    let number = |of: i64| Value::Integer(of);
    let radio = [
        ("spacecraft", number(7)),
        ("uplink_bps", number(UPLINK_BPS)),
        ("to", Value::String(format!("edge:{edge}"))),
        ("scid", number(scene::SCID)),
        ("repeat_s", number(2)),
        ("time_s", number(5)),
    ];
    let radio = radio.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    table.insert("rf".to_owned(), Value::Array(vec![Value::Table(radio)]));
    fs::write(&path, table.to_string()).with_context(|| format!("writing {}", path.display()))
}

/// What a demonstration adds to an edge's file: simulated time, its modem, what it tells.
pub fn extend_edge(
    layout: &Layout,
    name: &str,
    station: SocketAddr,
    [modem, uplink]: [SocketAddr; 2],
    offset_s: f64,
) -> anyhow::Result<()> {
    let path = layout.edge_file(name);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut table: Table = text.parse().with_context(|| format!("in {}", path.display()))?;
    let text = |text: &str| Value::String(text.to_owned());
    let rows = |rows: Vec<(&str, Value)>| -> Table {
        rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    };
    if let Some(Value::Table(section)) = table.get_mut("station") {
        section.insert("address".to_owned(), text(&station.to_string()));
    }
    let file = layout.edge_status().display().to_string();
    let told = rows(vec![("interval_s", Value::Integer(1)), ("file", text(&file))]);
    table.insert("status".to_owned(), Value::Table(told));
    let clock = rows(vec![("simulated_offset_s", Value::Float(offset_s))]);
    table.insert("clock".to_owned(), Value::Table(clock));
    let rate = Value::Integer(UPLINK_BPS);
    let uplink = rows(vec![("to", text(&format!("udp:{uplink}"))), ("rate_bps", rate)]);
    table.insert("uplink".to_owned(), Value::Table(uplink));
    let input = rows(vec![
        ("name", text("modem")),
        ("from", text(&format!("udp:{modem}"))),
        ("carries", text("cadus")),
        ("frame", text(&format!("aos:{}", scene::RADIO_BYTES))),
        ("coding", text(scene::RADIO_CODING)),
    ]);
    table.insert("input".to_owned(), Value::Array(vec![Value::Table(input)]));
    fs::write(&path, table.to_string()).with_context(|| format!("writing {}", path.display()))
}

/// The model that heavy work needs.
pub const HEAVY: &str = "cloud-screen";
/// Name of the pool of another machine.
pub const SHARED: &str = "shared";
/// What a question to the station's own pool counts as: its processor has frames to read, so it
/// works when the other machine does not.
const OWN_PRICE: f64 = 0.01;

/// Task and the server's name of its model.
fn tasks() -> Value {
    let model = Value::String(HEAVY.to_owned());
    Value::Table(Table::from_iter([("cloud-mask/1".to_owned(), model)]))
}

/// The pool of another machine.
fn served(address: SocketAddr) -> Table {
    let text = |text: &str| Value::String(text.to_owned());
    let rows = [
        ("name", text(SHARED)),
        ("kind", text("oip-rest")),
        ("url", text(&format!("http://{address}"))),
        ("data_class", text("restricted")),
        ("tasks", tasks()),
    ];
    rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The embedded pool with the committed cloud screen.
fn pool(packages: &Path, priced: bool) -> Table {
    let package = packages.join(HEAVY).display().to_string();
    let mut pool = Table::new();
    if priced {
        let price = Table::from_iter([("request".to_owned(), Value::Float(OWN_PRICE))]);
        pool.insert("price".to_owned(), Value::Table(price));
    }
    pool.insert("name".to_owned(), Value::String("embedded".to_owned()));
    pool.insert("kind".to_owned(), Value::String("embedded".to_owned()));
    pool.insert("tasks".to_owned(), tasks());
    pool.insert("packages".to_owned(), Value::Array(vec![Value::String(package)]));
    pool.insert("danger_accept_development_key".to_owned(), Value::Boolean(true));
    pool
}

/// A recording that goes down in place of the generated telemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Kind and length of its frames, such as `aos:1113`.
    pub frame: String,
    /// Whether frames end in an error control field.
    pub fecf: bool,
}

/// The committed models by task.
pub const MODELS: [(&str, &str); 2] =
    [("telemetry", "telemetry-anomaly"), ("tiles", "cloud-screen")];

/// How units go down.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Over a connection to this address.
    Quic(SocketAddr),
    /// By radio.
    Radio {
        /// Where coded units go.
        to: SocketAddr,
        /// Where command frames are heard.
        from: SocketAddr,
        /// On the air.
        rate_bps: u64,
    },
}

/// Seconds between two packets of the flight software's own.
const HEALTH_S: i64 = 5;
/// Virtual channel of the radio's frames: others are made for a connection.
const RADIO_VC: i64 = 2;

impl Way {
    /// The sections of the spacecraft's file.
    fn sections(self) -> Vec<(&'static str, Table)> {
        let text = |text: String| Value::String(text);
        let rows = |rows: Vec<(&str, Value)>| -> Table {
            rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
        };
        match self {
            Self::Quic(ground) => {
                let ground = vec![
                    ("address", text(ground.to_string())),
                    ("server_name", text("station".to_owned())),
                    ("profile", text("leo".to_owned())),
                ];
                vec![("ground", rows(ground))]
            }
            Self::Radio { to, from, rate_bps } => {
                let radio = vec![
                    ("to", text(format!("udp:{to}"))),
                    ("from", text(format!("udp:{from}"))),
                    ("rate_bps", Value::Integer(i64::try_from(rate_bps).unwrap_or(i64::MAX))),
                    ("scid", Value::Integer(scene::SCID)),
                    ("vc", Value::Integer(RADIO_VC)),
                    ("frame", text(format!("aos:{}", scene::RADIO_BYTES))),
                    ("fecf", Value::Boolean(true)),
                    ("coding", text(scene::RADIO_CODING.to_owned())),
                    ("idle", Value::Boolean(true)),
                    // What the air lost goes again within a short demonstration.
                    ("again_s", Value::Integer(3)),
                ];
                let bearer = ("bearer", text("rf".to_owned()));
                // The mission has one kind of frame; those within units are like those around them.
                let frame = Value::Integer(scene::RADIO_BYTES as i64);
                vec![
                    ("downlink", rows(vec![bearer, ("rf", Value::Table(rows(radio)))])),
                    ("realtime", rows(vec![("frame_bytes", frame)])),
                ]
            }
        }
    }
}

/// Writes the spacecraft's configuration; with packages, in slots where there are some.
pub fn write_onboard(
    layout: &Layout,
    spacecraft: &str,
    way: Way,
    packages: Option<&Path>,
    recording: Option<&Recording>,
) -> anyhow::Result<()> {
    let text = |text: &str| Value::String(text.to_owned());
    let path = |path: PathBuf| Value::String(path.display().to_string());
    let table = |rows: Vec<(&str, Value)>| {
        Value::Table(rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let enrolled = layout.station().join("enrolled").join(spacecraft.to_ascii_lowercase());
    let file = enrolled.join("onboard-identity.toml");
    let given = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let mut given: Table = given.parse().with_context(|| format!("in {}", file.display()))?;
    let Some(Value::Table(mut identity)) = given.remove("identity") else {
        bail!("{} has no [identity]", file.display());
    };
    // Its paths are relative to its own folder; ours stands elsewhere.
    for key in ["certificate", "key", "golden_certificate", "golden_key"] {
        if let Some(Value::String(name)) = identity.get_mut(key) {
            *name = enrolled.join(&*name).display().to_string();
        }
    }
    let mut config = Table::new();
    let mut section = |name: &str, value: Value| config.insert(name.to_owned(), value);
    section("spacecraft", table(vec![("id", Value::Integer(7)), ("name", text(spacecraft))]));
    section("identity", Value::Table(identity));
    for (name, table) in way.sections() {
        section(name, Value::Table(table));
    }
    let socket = table(vec![("unix", path(layout.socket())), ("name", text("sensors"))]);
    let mut sources = vec![socket];
    if recording.is_none() {
        let folder = layout.pictures();
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        sources.push(table(vec![
            ("files", path(folder)),
            ("name", text("pictures")),
            ("look_ms", Value::Integer(200)),
        ]));
        let every = Value::Integer(HEALTH_S);
        section("health", table(vec![("every_s", every)]));
    }
    section("source", Value::Array(sources));
    section("store", table(vec![("dir", path(layout.store()))]));
    fs::write(layout.triage(), scene::TRIAGE)
        .with_context(|| format!("writing {}", layout.triage().display()))?;
    section("triage", table(vec![("policy", path(layout.triage()))]));
    if let (Some(packages), None) = (packages, recording) {
        let folder = layout.thresholds();
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        for (name, text) in scene::THRESHOLDS {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        }
        let mut models = vec![
            ("mission", path(layout.mission())),
            ("thresholds", path(folder)),
            ("watch", Value::Array(scene::WATCHED.map(text).to_vec())),
            ("danger_accept_development_key", Value::Boolean(true)),
        ];
        match layout.slots().exists() {
            true => models.push(("slots", path(layout.slots()))),
            false => models.extend(MODELS.map(|(task, name)| (task, path(packages.join(name))))),
        }
        section("models", table(models));
    }
    if let Some(recording) = recording {
        let fecf = Value::Boolean(recording.fecf);
        section("replay", table(vec![("frame", text(&recording.frame)), ("fecf", fecf)]));
    }
    let path = layout.onboard_file();
    fs::write(&path, config.to_string()).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(root: &Path) -> Layout {
        let layout = Layout { root: root.to_owned(), short: root.to_owned() };
        let enrolled = layout.station().join("enrolled/sky-7");
        fs::create_dir_all(&enrolled).unwrap();
        let pin = format!("sha256:{}", "0f".repeat(32));
        let identity = format!(
            "[identity]\ncertificate = \"identity.crt\"\nkey = \"identity.key\"\n\
             ground_pins = [\"{pin}\"]\norigin = \"{}\"\ndomain = \"sky\"\n\
             domain_keys = [\"{}\"]\n",
            "01".repeat(16),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        fs::write(enrolled.join("onboard-identity.toml"), identity).unwrap();
        layout
    }

    #[test]
    fn the_flight_process_understands_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        let ground = Way::Quic("127.0.0.1:9".parse().unwrap());
        write_onboard(&layout, "SKY-7", ground, Some(Path::new("/packages")), None).unwrap();
        let config = onboard::config::Config::load(&layout.onboard_file()).unwrap();
        assert_eq!(config.ground.unwrap().address, "127.0.0.1:9");
        let trust = onboard::shell::models::trust(&[], true).unwrap();
        let thresholds = config.models.thresholds.unwrap();
        onboard::shell::models::open_thresholds(&thresholds, &trust).unwrap();
        assert_eq!(config.identity.key, layout.station().join("enrolled/sky-7/identity.key"));
        assert_eq!(config.models.tiles.unwrap(), Path::new("/packages/cloud-screen"));
        assert_eq!((config.source.0.len(), config.health.every_s), (2, 5));
        fs::create_dir(layout.slots()).unwrap();
        write_onboard(&layout, "SKY-7", ground, Some(Path::new("/packages")), None).unwrap();
        let config = onboard::config::Config::load(&layout.onboard_file()).unwrap();
        assert_eq!(config.models.slots.unwrap(), layout.slots());
        let (to, from) = ("127.0.0.1:9".parse().unwrap(), "127.0.0.1:8".parse().unwrap());
        let radio = Way::Radio { to, from, rate_bps: 64_000 };
        write_onboard(&layout, "SKY-7", radio, None, None).unwrap();
        let config = onboard::config::Config::load(&layout.onboard_file()).unwrap();
        assert_eq!(config.radio(0).unwrap().unwrap().frame_bytes, 1115);
        let recording = Recording { frame: "aos:1113".to_owned(), fecf: true };
        write_onboard(&layout, "SKY-7", ground, None, Some(&recording)).unwrap();
        let config = onboard::config::Config::load(&layout.onboard_file()).unwrap();
        assert!(config.replay.unwrap().fecf);
    }

    #[test]
    fn a_station_gets_time_plan_and_pool() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        fs::write(layout.station_file(), "[station]\nname = \"S\"\n").unwrap();
        let plan = serde_json::json!({"contacts": []});
        extend_station(&layout, &plan, -12.5, Some(Path::new("/packages")), None).unwrap();
        let text = fs::read_to_string(layout.station_file()).unwrap();
        let table: Table = text.parse().unwrap();
        assert_eq!(table["clock"]["simulated_offset_s"].as_float(), Some(-12.5));
        assert_eq!(table["contacts"]["file"].as_str(), Some("contacts.json"));
        assert_eq!(table["pool"][0]["kind"].as_str(), Some("embedded"));
        assert!(table["pool"][0].get("price").is_none(), "who is alone is not compared");
        assert_eq!(table["station"]["name"].as_str(), Some("S"));
    }

    #[test]
    fn another_machine_is_asked_before_the_station_s_own_processor() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        fs::write(layout.station_file(), "[station]\nname = \"S\"\n").unwrap();
        let (plan, shared) = (serde_json::json!({"contacts": []}), "127.0.0.1:9".parse().unwrap());
        extend_station(&layout, &plan, 0.0, Some(Path::new("/packages")), Some(shared)).unwrap();
        let table: Table = fs::read_to_string(layout.station_file()).unwrap().parse().unwrap();
        assert_eq!(table["pool"][0]["url"].as_str(), Some("http://127.0.0.1:9"));
        assert!(table["pool"][0].get("price").is_none());
        assert!(table["pool"][1]["price"]["request"].as_float() > Some(0.0));
    }
}
