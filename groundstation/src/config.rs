//! The station file: one TOML that says who listens where, who may deliver, and what to keep.

use crate::{
    admit::Action,
    api,
    archive::retain::Retain,
    door::spec::{self, DoorConfig},
    keep::Policy,
    peers::{LimitsConfig, Shares, SharesError},
    rf::{self, Radio, RfConfig},
    shell::{door_files, operator_files},
};
use codecs::{
    config::{ConfigError, parse},
    ids::{Origin, SpacecraftId},
    link::profile::Profile,
};
use codecs_quic::TransportOptions;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

mod keys;
mod pools;
mod telemetry;

pub use pools::{PoolConfig, PoolKind, PriceConfig, RoutingConfig, bucket_of};
pub use telemetry::TelemetryConfig;

/// Ports that a station listens on when nothing else is said.
pub const QUIC_DEFAULT: &str = "127.0.0.1:7117";
/// Page, API and metrics.
pub const HTTP_DEFAULT: &str = "127.0.0.1:7180";

/// The station file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the station stands.
    pub station: StationConfig,
    /// The mission definition, relative to this file.
    pub mission: PathBuf,
    /// Sockets.
    #[serde(default)]
    pub listen: Listen,
    /// Certificates and keys, by file.
    pub identity: Identity,
    /// Where units are kept.
    #[serde(default)]
    pub archive: ArchiveConfig,
    /// What each peer may take.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Simulated time, for demonstrations.
    #[serde(default)]
    pub clock: Clock,
    /// The contact plan.
    #[serde(default)]
    pub contacts: Contacts,
    /// Who may do what; who is not here may do nothing.
    #[serde(default, rename = "principal")]
    pub principals: Vec<PrincipalConfig>,
    /// Who may command over the API; who is not here may not.
    #[serde(default, rename = "operator")]
    pub operators: Vec<crate::operators::OperatorConfig>,
    /// Where heavy work goes.
    #[serde(default, rename = "pool")]
    pub pools: Vec<PoolConfig>,
    /// How it is routed.
    #[serde(default)]
    pub routing: RoutingConfig,
    /// Who is told traces.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// What goes out, and to whom.
    #[serde(default, rename = "door")]
    pub doors: Vec<DoorConfig>,
    /// Spacecraft whose units come in frames.
    #[serde(default)]
    pub rf: Vec<RfConfig>,
    /// The folder of the station file: what its paths are relative to.
    #[serde(skip)]
    pub base: PathBuf,
    /// The file as it was written, to tell what a reload changes.
    #[serde(skip)]
    pub stated: toml::Table,
}

/// Name and place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationConfig {
    /// Name on the page.
    pub name: String,
    /// Degrees north.
    pub latitude_deg: f64,
    /// Degrees east.
    pub longitude_deg: f64,
    /// Metres above the ellipsoid.
    #[serde(default)]
    pub height_m: f64,
    /// Elevation below which nothing is tracked.
    #[serde(default = "mask_default")]
    pub mask_deg: f64,
}

const fn mask_default() -> f64 {
    5.0
}

impl StationConfig {
    /// As the API shows it.
    pub fn place(&self) -> api::Station {
        api::Station {
            name: self.name.clone(),
            lat: self.latitude_deg,
            lon: self.longitude_deg,
            height_m: self.height_m,
            mask_deg: self.mask_deg,
        }
    }
}

/// Sockets; everything is on loopback until told otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// UDP address for QUIC; port 0 takes a free one.
    pub quic: SocketAddr,
    /// TCP address for page, API and metrics.
    pub http: SocketAddr,
    /// Host names that the page answers to, beside addresses and `localhost`.
    pub host_names: Vec<String>,
    /// Transport profile: leo, geo, lunar, deep.
    pub profile: String,
    /// Largest UDP payload to search for, 1200 to 6550 bytes; a peer must allow it too.
    pub mtu_max: u16,
    /// Connections at once.
    pub connections_max: usize,
    /// Seconds after which a silent object stream is stopped; by default the profile's idle time.
    pub object_stall_s: Option<u64>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            quic: SocketAddr::from(([127, 0, 0, 1], 7117)),
            http: SocketAddr::from(([127, 0, 0, 1], 7180)),
            host_names: Vec::new(),
            profile: "leo".into(),
            mtu_max: codecs_quic::MTU_DEFAULT,
            connections_max: 64,
            object_stall_s: None,
        }
    }
}

/// Certificates and keys, PEM, relative to the station file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Certificate of the local authority: only what it signed may connect.
    pub authority: PathBuf,
    /// The station's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Ed25519 key of the domain, PEM: it signs what is said to spacecraft over the air.
    pub domain_key: Option<PathBuf>,
}

/// The archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveConfig {
    /// Folder, relative to the station file.
    pub dir: PathBuf,
    /// Bytes at which a segment is sealed.
    pub segment_bytes: u64,
    /// How long a unit may wait for others before its commit.
    pub commit_ms: u64,
    /// Seconds after which a segment is sealed, however small.
    pub seal_s: u64,
    /// What may be deleted; by default nothing.
    pub retain: Retain,
    /// Where sealed segments are kept besides.
    pub object_store: Option<StoreConfig>,
}

/// An object store: a folder, or anything that speaks S3.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// A folder, on another disk or a mount; relative to the station file.
    pub dir: Option<PathBuf>,
    /// `s3://bucket/prefix`.
    pub url: Option<String>,
    /// Address of a service that is not Amazon's.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// TOML file with `access_key_id`, `secret_access_key` and perhaps `session_token`, relative
    /// to the station file. Without it the machine's role is asked.
    pub credentials: Option<PathBuf>,
    /// Speaks HTTP without TLS. Only to a service on this machine.
    pub danger_http: bool,
}

/// What the file of credentials holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreCredentials {
    /// Name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// For keys that expire.
    pub session_token: Option<String>,
}

impl ArchiveConfig {
    /// When segments are sealed and let go.
    pub fn policy(&self) -> Policy {
        Policy { seal_ms: Some(self.seal_s.saturating_mul(1_000)), retain: self.retain }
    }
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self {
            dir: "archive".into(),
            segment_bytes: 64 << 20,
            commit_ms: 10,
            seal_s: 60,
            retain: Retain::default(),
            object_store: None,
        }
    }
}

/// Simulated time. Certificates are checked against the real clock whatever stands here.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clock {
    /// Seconds from the real clock to the simulated one; demonstrations only.
    pub simulated_offset_s: f64,
}

/// The contact plan.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contacts {
    /// JSON file, read anew whenever it is shown.
    pub file: Option<PathBuf>,
}

/// One row of the authorisation table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalConfig {
    /// Name in logs.
    pub name: String,
    /// `sha256:` and the hash of the certificate's SubjectPublicKeyInfo, in hex. A rolled key is a
    /// second row with the same origin.
    pub key: String,
    /// Origin of its store, 32 hexadecimal digits.
    pub origin: String,
    /// Spacecraft that it may act for.
    pub spacecraft: Vec<u16>,
    /// What it may do.
    pub actions: Vec<Action>,
    /// QUIC credit of its session, about twice its rate times its round trip; by default an even
    /// share of `limits.receive_bytes`.
    pub credit_bytes: Option<u64>,
    /// Bits a second that are read of its objects; by default `limits.rate_bps`.
    pub rate_bps: Option<u64>,
}

/// Why a station file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// It can't be read.
    #[error("station file {path}: {error}; `groundstation init DIR` makes one")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It can't be understood.
    #[error(transparent)]
    Parse(#[from] ConfigError),
    /// A value that can't be.
    #[error("{path}: {key}: {message}")]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What is wrong, and what would be right.
        message: String,
    },
}

impl Config {
    /// Reads and checks a station file.
    pub fn load(path: &Path) -> Result<Self, StationError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| StationError::Read { path: path.into(), error })?;
        let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let file = path.display().to_string();
        let config = Self { base, stated: parse(&file, &text)?, ..parse(&file, &text)? };
        let checked = config.check();
        let checked = checked.and_then(|()| operator_files::check(&config, path));
        let checked = checked.and_then(|()| door_files::check(&config, path));
        checked.map_err(|(key, message)| StationError::Value {
            path: path.into(),
            key,
            message,
        })?;
        Ok(config)
    }

    /// A path of the file, which may be relative to it.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// The transport profile; [`Config::load`] checked the name.
    pub fn profile(&self) -> Profile {
        Profile::named(&self.listen.profile).unwrap_or(codecs::link::profile::LEO)
    }

    /// What of the transport a station chooses itself.
    pub fn transport(&self) -> TransportOptions {
        TransportOptions { mtu_max: self.listen.mtu_max, ..TransportOptions::default() }
    }

    /// How long an object stream may be silent.
    pub fn object_stall(&self) -> Duration {
        let stated = self.listen.object_stall_s.map(Duration::from_secs);
        stated.unwrap_or(Duration::from_millis(self.profile().idle_timeout_ms))
    }

    /// Holds the table against the mission.
    pub fn check_mission(&self, spacecraft: &BTreeSet<SpacecraftId>) -> Result<(), StationError> {
        let principals = self.principals.iter();
        let principals =
            principals.map(|of| ("principal", &of.name, "may act for", &of.spacecraft));
        let operators = self.operators.iter();
        let operators = operators.map(|of| ("operator", &of.name, "may act for", &of.spacecraft));
        let doors = self.doors.iter();
        let doors = doors.map(|of| ("door", &of.name, "hands out", &of.spacecraft));
        let radios: Vec<_> = self
            .rf
            .iter()
            .map(|of| (format!("of {}", of.spacecraft), vec![of.spacecraft]))
            .collect();
        let radios = radios.iter().map(|(name, of)| ("rf", name, "is the radio of", of));
        for (kind, name, does, named) in principals.chain(operators).chain(doors).chain(radios) {
            let Some(id) = named.iter().find(|id| !spacecraft.contains(&SpacecraftId(**id))) else {
                continue;
            };
            let nearest = spacecraft.iter().min_by_key(|of| of.0.abs_diff(*id));
            let meant = nearest.map_or(String::new(), |of| format!("did you mean {}? ", of.0));
            return Err(StationError::Value {
                path: self.base.join(&self.mission),
                key: format!("{kind} {name}"),
                message: format!(
                    "{does} spacecraft {id}, which this mission does not have; {meant}Add it here \
                     or take it out of the station file"
                ),
            });
        }
        Ok(())
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |key: &str, message: String| Err((key.to_string(), message));
        let station = &self.station;
        if !(-90.0..=90.0).contains(&station.latitude_deg) {
            return wrong("station.latitude_deg", "must be from -90 to 90".into());
        }
        if !(-180.0..=360.0).contains(&station.longitude_deg) {
            return wrong("station.longitude_deg", "must be from -180 to 360".into());
        }
        if Profile::named(&self.listen.profile).is_none() {
            let known: Vec<_> = Profile::ALL.iter().map(|profile| profile.name).collect();
            let message = format!("`{}` is none of {}", self.listen.profile, known.join(", "));
            return wrong("listen.profile", message);
        }
        if !(codecs_quic::MTU_MIN..=codecs_quic::MTU_MAX).contains(&self.listen.mtu_max) {
            return wrong("listen.mtu_max", "must be from 1200 to 6550".into());
        }
        if !(1..=4096).contains(&self.listen.connections_max) {
            return wrong("listen.connections_max", "must be from 1 to 4096".into());
        }
        // A segment holds at least a few of the largest batches; beyond the upper bound one scan
        // on open would take minutes.
        if !((4 << 20)..=(4 << 30)).contains(&self.archive.segment_bytes) {
            return wrong("archive.segment_bytes", "must be from 4194304 to 4294967296".into());
        }
        if self.archive.commit_ms > 1_000 {
            return wrong("archive.commit_ms", "must be at most 1000".into());
        }
        // Each segment costs a file, an index and a checkpoint.
        if !(1..=86_400).contains(&self.archive.seal_s) {
            return wrong("archive.seal_s", "must be from 1 to 86400".into());
        }
        if let Some(store) = &self.archive.object_store {
            let key = "archive.object_store";
            match (&store.dir, &store.url) {
                (Some(_), None) => {}
                (None, Some(url)) if url.starts_with("s3://") => {}
                (None, Some(_)) => {
                    return wrong(&format!("{key}.url"), "must be s3://BUCKET/PREFIX".into());
                }
                _ => return wrong(key, "needs either `dir` or `url`".into()),
            }
        } else if self.archive.retain.only_stored {
            let message = "needs [archive.object_store]: without one nothing is ever stored";
            return wrong("archive.retain.only_stored", message.into());
        }
        let room = 2 * self.archive.segment_bytes;
        if self.archive.retain.bytes.is_some_and(|bytes| bytes < room) {
            let message = format!("must be at least two segments, which is {room}");
            return wrong("archive.retain.bytes", message);
        }
        if !self.clock.simulated_offset_s.is_finite() {
            return wrong("clock.simulated_offset_s", "must be a finite number".into());
        }
        let mut keys = BTreeMap::new();
        for principal in &self.principals {
            let key = |field: &str| format!("principal {}: {field}", principal.name);
            if let Some(other) = keys.insert(principal.key.to_ascii_lowercase(), &principal.name) {
                let message = format!("principal {other} has the same; one row a key");
                return wrong(&key("key"), message);
            }
            if Origin::from_hex(&principal.origin).is_none() {
                return wrong(&key("origin"), "must be 32 hexadecimal digits".into());
            }
            if crate::admit::KeyHash::from_text(&principal.key).is_none() {
                let message = "must be `sha256:` and 64 hexadecimal digits";
                return wrong(&key("key"), message.into());
            }
        }
        if let Err((key, message)) = self.limits.check() {
            return wrong(key, message.into());
        }
        if let Err(error) = self.shares() {
            let text = error.to_string();
            let (key, message) = text.rsplit_once(": ").unwrap_or(("limits", &text));
            return wrong(key, message.into());
        }
        pools::check(&self.pools, &self.routing)?;
        let kinds: Vec<PoolKind> = self.pools.iter().map(|pool| pool.kind).collect();
        keys::check(&self.stated, &kinds)?;
        self.telemetry.check().map_err(|error| ("telemetry.otlp".to_owned(), error))?;
        if self.rf.iter().any(|of| of.uplink_bps > 0) && self.identity.domain_key.is_none() {
            let message = "missing; what is said to a spacecraft over the air is signed with it, \
                and the spacecraft knows its public half: `groundstation init` makes one";
            return wrong("identity.domain_key", message.into());
        }
        rf::config::check_all(&self.rf, &self.table())?;
        spec::check_all(&self.doors)
    }

    /// The radios; [`Config::load`] checked them.
    pub fn radios(&self) -> Vec<Radio> {
        self.rf.iter().filter_map(|radio| radio.check().ok()).collect()
    }

    /// The doors; [`Config::load`] checked them.
    pub fn doors(&self) -> Vec<spec::Door> {
        self.doors.iter().filter_map(|door| door.check().ok()).collect()
    }

    /// File of the contact plan.
    pub fn contact_plan(&self) -> Option<PathBuf> {
        self.contacts.file.as_ref().map(|file| self.path(file))
    }

    /// What each principal may have; [`Config::load`] checked that there is enough.
    pub fn shares(&self) -> Result<Shares, SharesError> {
        let connections_max = self.listen.connections_max;
        Shares::of(&self.limits, &self.principals, &self.profile(), connections_max)
    }

    /// The authorisation table.
    pub fn table(&self) -> crate::admit::Table {
        let rows = self.principals.iter().filter_map(|row| {
            let key = crate::admit::KeyHash::from_text(&row.key)?;
            let principal = crate::admit::Principal {
                name: row.name.clone(),
                origin: Origin::from_hex(&row.origin)?,
                spacecraft: row.spacecraft.iter().copied().map(SpacecraftId).collect(),
                actions: row.actions.iter().copied().collect(),
            };
            Some((key, principal))
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
mission = "mission.toml"
[station]
name = "Test"
latitude_deg = 48.0
longitude_deg = 11.0
[identity]
authority = "a.crt"
certificate = "s.crt"
key = "s.key"
"#;

    fn load(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("station.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
            .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn the_least_file_listens_on_loopback_and_admits_no_one() {
        let config = load(LEAST).unwrap();
        assert_eq!(config.listen.quic.to_string(), QUIC_DEFAULT);
        assert_eq!(config.listen.http.to_string(), HTTP_DEFAULT);
        assert!(config.principals.is_empty());
    }

    #[test]
    fn mistakes_name_place_and_remedy() {
        let unknown = load(&format!("{LEAST}[archive]\ncomit_ms = 3\n")).unwrap_err();
        assert_eq!(unknown, "station.toml:12: unknown key `comit_ms`; did you mean `commit_ms`?");
        let profile = load(&format!("{LEAST}[listen]\nprofile = \"mars\"\n")).unwrap_err();
        assert_eq!(
            profile,
            "station.toml: listen.profile: `mars` is none of leo, geo, lunar, deep"
        );
        let pool = "[[pool]]\nname = \"far\"\nkind = \"oip-rest\"\n";
        let pool = load(&format!("{LEAST}{pool}")).unwrap_err();
        assert_eq!(pool, "station.toml: pool far: url: missing; a pool of kind oip-rest needs one");
        let nothing = "[[pool]]\nname = \"here\"\nkind = \"embedded\"\n";
        let nothing = load(&format!("{LEAST}{nothing}")).unwrap_err();
        assert!(nothing.contains("pool here: packages: missing"), "{nothing}");
        let twice = "[[pool]]\nname = \"far\"\nkind = \"oip-rest\"\nurl = \"http://a\"\n".repeat(2);
        let twice = load(&format!("{LEAST}{twice}")).unwrap_err();
        assert!(twice.contains("pool far: name: another pool has it"), "{twice}");
        for (key, words) in [
            ("canary = 1.5", "shares of jobs, 0 to 1"),
            ("canary = 0.5\nshadow = 0.5", "exclude each other"),
            ("batch_max = 0", "from 1 to 256"),
            ("workers = 2", "workers: a pool of kind oip-rest has no such key"),
            ("price = { request = -1.0 }", "amounts of money"),
            ("price = { requests = 1.0 }", "did you mean `request`?"),
            ("data_class = \"secret\"", "known here: public, internal, restricted"),
        ] {
            let far = "[[pool]]\nname = \"far\"\nkind = \"oip-rest\"\nurl = \"http://a\"\n";
            let error = load(&format!("{LEAST}{far}{key}\n")).unwrap_err();
            assert!(error.contains(words), "{key}: {error}");
        }
        let routing = load(&format!("{LEAST}[routing]\nhold_back = 1.0\n")).unwrap_err();
        assert_eq!(routing, "station.toml: routing.hold_back: must be from 0 to 0.9");
        let missing = Config::load(Path::new("/nowhere/station.toml")).unwrap_err().to_string();
        assert!(missing.contains("groundstation init"), "{missing}");
    }
}
