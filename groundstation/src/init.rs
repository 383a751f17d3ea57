//! Makes a station: a local authority, the station's identity, one identity a spacecraft, and the
//! station file that ties them together. It never overwrites.

use crate::admit::KeyHash;
use codecs::{
    ids::{Apid, Origin},
    mission::{Definition, DefinitionError},
    time::Tai,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData as _, date_time_ymd,
};
use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Years that identities hold. The spacecraft's is checked by the ground alone.
pub(crate) const YEARS: i32 = 5;
/// Years that the authority holds.
const AUTHORITY_YEARS: i32 = 20;

/// What to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Folder of the station.
    pub dir: PathBuf,
    /// Text of the mission definition, copied beside the station file.
    pub mission: String,
    /// Name and place.
    pub station: Place,
    /// Spacecraft to enrol.
    pub spacecraft: Vec<Craft>,
    /// Address for QUIC.
    pub quic: SocketAddr,
    /// Address for page, API and metrics.
    pub http: SocketAddr,
}

/// Name and place of a station: `NAME,LAT,LON,HEIGHT_M`.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Name on the page.
    pub name: String,
    /// Degrees north.
    pub latitude_deg: f64,
    /// Degrees east.
    pub longitude_deg: f64,
    /// Metres above the ellipsoid.
    pub height_m: f64,
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let [name, latitude, longitude, height] = parts[..] else {
            return Err("wanted NAME,LAT,LON,HEIGHT_M".into());
        };
        let number = |what: &str, text: &str, most: f64| match text.parse::<f64>() {
            Ok(value) if value.abs() <= most => Ok(value),
            _ => Err(format!("{what} `{text}` is not a number from -{most} to {most}")),
        };
        if name.is_empty() || name.contains(['"', '\\']) || name.chars().any(char::is_control) {
            return Err("the station needs a name without quotes".into());
        }
        Ok(Self {
            name: name.into(),
            latitude_deg: number("latitude", latitude, 90.0)?,
            longitude_deg: number("longitude", longitude, 360.0)?,
            height_m: number("height", height, 10_000.0)?,
        })
    }
}

/// A spacecraft to enrol: `ID:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Craft {
    /// The mission's number.
    pub id: u16,
    /// Its name.
    pub name: String,
}

impl Craft {
    /// Refuses one that the mission does not have: its units would all be refused.
    pub fn check(&self, mission: &Definition) -> Result<(), InitError> {
        if mission.spacecraft.iter().any(|craft| craft.id.0 == self.id) {
            return Ok(());
        }
        let known = mission.spacecraft.iter().map(|craft| format!("{}:{}", craft.id.0, craft.name));
        let known: Vec<String> = known.collect();
        let known = match known.is_empty() {
            true => "none: add a [[spacecraft]] to it first".to_string(),
            false => known.join(", "),
        };
        Err(InitError::Stranger { id: self.id, name: self.name.clone(), known })
    }

    /// Name of its folder.
    pub fn slug(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

impl std::str::FromStr for Craft {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, name) = text.split_once(':').ok_or("wanted ID:NAME, such as 7:SKY-7")?;
        let id = id.parse().map_err(|_| format!("`{id}` is not a number from 0 to 65535"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("`{name}`: letters, digits, - and _ only"));
        }
        Ok(Self { id, name: name.into() })
    }
}

/// Why a station can't be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already.
    #[error("{0} exists; a station is never overwritten: choose another folder or remove it")]
    Exists(PathBuf),
    /// Two spacecraft with one number or name.
    #[error("spacecraft {0} is named twice")]
    Twice(String),
    /// The mission can't be understood.
    #[error("mission: {0}")]
    Mission(#[from] DefinitionError),
    /// A spacecraft that the mission does not have.
    #[error("spacecraft {id} ({name}): the mission has no such one; it has {known}")]
    Stranger {
        /// The number asked for.
        id: u16,
        /// The name asked for.
        name: String,
        /// Those that it has.
        known: String,
    },
    /// The disk says no.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Certificates can't be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// What the flight software tells of itself.
const HEALTH: &str = include_str!("../../missions/onboard-health.toml");
/// Application process of these packets.
const HEALTH_APID: Apid = Apid(90);
/// Seconds between two packets of that.
const HEALTH_EVERY_S: u32 = 10;

/// A mission with what the flight software tells of itself, unless it describes that application
/// process already.
fn with_health(mission: &str, read: &Definition) -> String {
    let whole = format!("{}\n\n{HEALTH}", mission.trim_end());
    let taken = read.containers.iter().any(|container| container.apid == HEALTH_APID);
    // A mission that writes its tables otherwise can't be added to.
    if taken || Definition::from_toml(&whole).is_err() { mission.into() } else { whole }
}

/// Makes the station. `origins` are random, one a spacecraft; `today` dates the certificates.
pub fn init(plan: &Plan, today: Tai, origins: &[Origin]) -> Result<(), InitError> {
    assert_eq!(origins.len(), plan.spacecraft.len(), "one origin a spacecraft");
    let mission = Definition::from_toml(&plan.mission)?;
    for (at, craft) in plan.spacecraft.iter().enumerate() {
        let same = |other: &Craft| other.id == craft.id || other.slug() == craft.slug();
        if plan.spacecraft[..at].iter().any(same) {
            return Err(InitError::Twice(craft.name.clone()));
        }
        craft.check(&mission)?;
    }
    for name in ["station.toml", "authority", "identity", "enrolled", "mission.toml"] {
        let path = plan.dir.join(name);
        if path.exists() {
            return Err(InitError::Exists(path));
        }
    }
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let params = authority(&plan.station.name, today);
    let authority_pem = params.self_signed(&key)?.pem();
    let authority_key = key.serialize_pem();
    let issuer = Issuer::new(params, key);
    write(&plan.dir, "authority/authority.crt", &authority_pem, 0o644)?;
    write(&plan.dir, "authority/authority.key", &authority_key, 0o600)?;

    let server = ExtendedKeyUsagePurpose::ServerAuth;
    let station = issue(&issuer, "station", server, today, YEARS)?;
    write(&plan.dir, "identity/station.crt", &station.certificate, 0o644)?;
    write(&plan.dir, "identity/station.key", &station.key, 0o600)?;

    let domain = KeyPair::generate_for(&PKCS_ED25519)?;
    write(&plan.dir, "identity/domain.key", &domain.serialize_pem(), 0o600)?;
    let spoken = spoken(&mission.domain, &domain);

    let mut principals = String::new();
    for (craft, origin) in plan.spacecraft.iter().zip(origins) {
        let slug = craft.slug();
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        let folder = format!("enrolled/{slug}");
        let golden = format!("{slug}-golden");
        // For the day when the usual key is lost on board; it lies there from launch on.
        for (file, name, years) in
            [("identity", &slug, YEARS), ("golden", &golden, AUTHORITY_YEARS)]
        {
            let identity = issue(&issuer, name, client.clone(), today, years)?;
            write(&plan.dir, &format!("{folder}/{file}.crt"), &identity.certificate, 0o644)?;
            write(&plan.dir, &format!("{folder}/{file}.key"), &identity.key, 0o600)?;
            principals.push_str(&principal(
                name,
                &[craft.id],
                identity.hash,
                *origin,
                &["deliver"],
            ));
        }
        let table = onboard_table(station.hash, *origin) + &spoken;
        write(&plan.dir, &format!("{folder}/onboard-identity.toml"), &table, 0o644)?;
        let flight = flight_file(craft, plan.quic, &table);
        write(&plan.dir, &format!("{folder}/onboard.toml"), &flight, 0o644)?;
    }
    write(&plan.dir, "mission.toml", &with_health(&plan.mission, &mission), 0o644)?;
    // Last: a station without this file is no station, and can be made again.
    let file = station_file(plan) + &principals + &operator(plan);
    write(&plan.dir, "station.toml", &file, 0o644)
}

/// A key and the certificate for it.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) hash: KeyHash,
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// Valid from yesterday, so that clocks a little behind agree, for some years.
fn dated(mut params: CertificateParams, today: Tai, years: i32) -> CertificateParams {
    const DAY_NS: i64 = 86_400_000_000_000;
    let text = today.plus(-DAY_NS).to_rfc3339();
    let part = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse().ok());
    let (year, month, day) =
        (part(0, 4).unwrap_or(2026), part(5, 7).unwrap_or(1), part(8, 10).unwrap_or(1));
    params.not_before = date_time_ymd(year, month as u8, day as u8);
    // The 28th exists in every month of every year.
    params.not_after = date_time_ymd(year + years, month as u8, day.min(28) as u8);
    params
}

/// What the authority's certificate says.
pub(crate) fn authority(station: &str, today: Tai) -> CertificateParams {
    let mut params = dated(CertificateParams::default(), today, AUTHORITY_YEARS);
    params.distinguished_name = name(&format!("{station} authority"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Makes a key and signs a certificate for it.
pub(crate) fn issue(
    issuer: &Issuer<'_, KeyPair>,
    subject: &str,
    usage: ExtendedKeyUsagePurpose,
    today: Tai,
    years: i32,
) -> Result<Issued, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let mut params = dated(CertificateParams::new(vec![subject.to_string()])?, today, years);
    params.distinguished_name = name(subject);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer)?.pem();
    let hash = KeyHash::of(&key.subject_public_key_info());
    Ok(Issued { certificate, key: key.serialize_pem(), hash })
}

fn station_file(plan: &Plan) -> String {
    let place = &plan.station;
    format!(
        r#"# A ground station. `groundstation check --config station.toml` tells what is wrong with it.
mission = "mission.toml"

[station]
name = "{}"
latitude_deg = {:?}
longitude_deg = {:?}
height_m = {:?}

[listen]
quic = "{}"
http = "{}"

[identity]
authority = "authority/authority.crt"
certificate = "identity/station.crt"
key = "identity/station.key"
# Signs receipts that go up by radio; the spacecraft knows its public half.
domain_key = "identity/domain.key"

[archive]
dir = "archive"

# Who may deliver; a rolled key is a second table with the same origin.
"#,
        place.name, place.latitude_deg, place.longitude_deg, place.height_m, plan.quic, plan.http,
    )
}

/// A row of the authorisation table for who may deliver.
pub(crate) fn principal(
    name: &str,
    spacecraft: &[u16],
    key: KeyHash,
    origin: Origin,
    actions: &[&str],
) -> String {
    format!(
        "[[principal]]\nname = \"{name}\"\nkey = \"{key}\"\norigin = \"{origin}\"\n\
         spacecraft = {spacecraft:?}\nactions = {actions:?}\n\n",
    )
}

/// Whoever can read the token may command: on this machine the owner of the folder, no one else.
fn operator(plan: &Plan) -> String {
    let ids: Vec<String> = plan.spacecraft.iter().map(|craft| craft.id.to_string()).collect();
    format!(
        "# Who may command; the token's file is made at the first start.\n[[operator]]\n\
         name = \"local\"\ntoken = \"operators/local.token\"\nspacecraft = [{}]\n\
         actions = [\"command\"]\n",
        ids.join(", ")
    )
}

/// What the flight process must know of its identity.
pub(crate) fn onboard_table(station: KeyHash, origin: Origin) -> String {
    format!(
        "# Belongs into onboard.toml; paths are relative to that file.\n[identity]\n\
         certificate = \"identity.crt\"\nkey = \"identity.key\"\n\
         golden_certificate = \"golden.crt\"\ngolden_key = \"golden.key\"\n\
         ground_pins = [\"{station}\"]\norigin = \"{origin}\"\n"
    )
}

/// A flight configuration to begin with, whose paths are relative to its folder.
fn flight_file(craft: &Craft, station: SocketAddr, identity: &str) -> String {
    let Craft { id, name } = craft;
    format!(
        r#"# A flight's configuration. `onboard check --config onboard.toml` tells what is wrong with it.
[spacecraft]
id = {id}
name = "{name}"

# Where the flight finds the station.
[ground]
address = "{station}"
server_name = "station"

# Space packets, one a datagram.
[source]
unix = "sensors.sock"

[store]
dir = "store"

# A packet of its own so often, and configurations that come up, on trial.
[health]
every_s = {HEALTH_EVERY_S}

[config]
slots = "configurations"

{identity}"#
    )
}

/// What it must know to believe what comes up by radio.
pub(crate) fn spoken(domain: &str, key: &KeyPair) -> String {
    let key: String = key.public_key_raw().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "# Whose statements hold that come by radio, and the Ed25519 key that signs them:\n\
         domain = {domain:?}\ndomain_keys = [\"{key}\"]\n"
    )
}

/// Writes a file that does not exist; folders are the owner's alone.
pub(crate) fn write(dir: &Path, name: &str, text: &str, mode: u32) -> Result<(), InitError> {
    let path = dir.join(name);
    let failed = |error| InitError::Io { path: path.clone(), error };
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Config;
    use std::os::unix::fs::MetadataExt as _;

    pub(crate) const MISSION: &str = "mission = \"sky\"\ndomain = \"sky\"\n\
        [[spacecraft]]\nid = 7\nname = \"SKY-7\"\nframes = []\n\
        [[spacecraft]]\nid = 8\nname = \"SKY-8\"\nframes = []\n";

    pub(crate) fn plan(dir: &Path) -> Plan {
        Plan {
            dir: dir.into(),
            mission: MISSION.into(),
            station: "Weilheim,47.88,11.08,560".parse().unwrap(),
            spacecraft: vec!["7:SKY-7".parse().unwrap(), "8:SKY-8".parse().unwrap()],
            quic: "127.0.0.1:0".parse().unwrap(),
            http: "127.0.0.1:0".parse().unwrap(),
        }
    }

    #[test]
    fn a_station_is_made_whole_with_private_keys() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("station");
        let today = Tai::from_rfc3339("2026-11-23T12:00:00Z").unwrap();
        let origins = [Origin([1; 16]), Origin([2; 16])];
        init(&plan(&root), today, &origins).unwrap();
        let config = Config::load(&root.join("station.toml")).unwrap();
        assert_eq!(config.table().len(), 4, "a usual and a golden key each");
        assert_eq!(config.station.name, "Weilheim");
        for key in
            ["authority/authority.key", "enrolled/sky-7/identity.key", "enrolled/sky-7/golden.key"]
        {
            assert_eq!(root.join(key).metadata().unwrap().mode() & 0o777, 0o600, "{key}");
        }
        let mission =
            Definition::from_toml(&std::fs::read_to_string(root.join("mission.toml")).unwrap());
        let told = mission.unwrap();
        assert!(told.parameter_named("ONBOARD_CONFIGURATION_TRIAL").is_some());
        let flight: toml::Table = std::fs::read_to_string(root.join("enrolled/sky-7/onboard.toml"))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(flight["health"]["every_s"].as_integer(), Some(10));
        assert_eq!(flight["identity"]["key"].as_str(), Some("identity.key"));
        let table = std::fs::read_to_string(root.join("enrolled/sky-7/onboard-identity.toml"));
        let table: toml::Table = table.unwrap().parse().unwrap();
        assert_eq!(table["identity"]["origin"].as_str(), Some(&*origins[0].to_string()));
        let again = init(&plan(&root), today, &origins).unwrap_err();
        assert!(matches!(again, InitError::Exists(_)), "{again}");
    }

    #[test]
    fn a_spacecraft_that_the_mission_lacks_is_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("station");
        let mut plan = plan(&root);
        plan.spacecraft[1] = "9:SKY-9".parse().unwrap();
        let refused = init(&plan, Tai(0), &[Origin([1; 16]), Origin([2; 16])]).unwrap_err();
        let text = "spacecraft 9 (SKY-9): the mission has no such one; it has 7:SKY-7, 8:SKY-8";
        assert_eq!(refused.to_string(), text);
        assert!(!root.exists());
    }

    #[test]
    fn places_and_spacecraft_say_what_is_wrong() {
        assert!("a,1,2".parse::<Place>().unwrap_err().contains("NAME,LAT,LON,HEIGHT_M"));
        assert!("a,91,2,3".parse::<Place>().unwrap_err().contains("latitude"));
        assert!("7".parse::<Craft>().unwrap_err().contains("ID:NAME"));
        assert!("x:y".parse::<Craft>().unwrap_err().contains("0 to 65535"));
        assert!("7:../x".parse::<Craft>().unwrap_err().contains("letters"));
    }
}
