//! `groundstation enroll`: gives an edge or a spacecraft an identity of a station that exists.

use crate::{
    admit::KeyHash,
    commands::say,
    config::Config,
    init::{self, Craft},
    shell::{mission, random, wall_clock},
};
use anyhow::{Context as _, anyhow, bail, ensure};
use codecs::{ids::Origin, time::Tai};
use rcgen::{ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::{
    pki_types::{CertificateDer, pem::PemObject as _},
    server::ParsedCertificate,
};
use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Give an edge or a spacecraft an identity of this station
#[derive(Debug, clap::Subcommand)]
pub enum Enroll {
    /// An edge: the process at an antenna that forwards what it hears
    #[command(after_help = "Example:\n  \
        groundstation enroll edge weilheim --config station/station.toml --antenna 1 \
        --station control.example.org:7117\n\n\
        Carry the folder to the antenna; `groundstation edge --config FOLDER/edge.toml` runs it. \
        The station knows the edge once it reads its file anew.")]
    Edge(EdgeArgs),
    /// A spacecraft
    Spacecraft(CraftArgs),
}

/// What `enroll edge` takes.
#[derive(Debug, clap::Args)]
pub struct EdgeArgs {
    /// Its name: letters, digits, - and _
    pub name: String,
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// The mission's number of its antenna
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub antenna: u16,
    /// A spacecraft that it may deliver for; all of the mission where none is given
    #[arg(long, value_name = "ID")]
    pub spacecraft: Vec<u16>,
    /// Where the edge finds the station; what the station file says where it is not given
    #[arg(long, value_name = "HOST:PORT")]
    pub station: Option<String>,
}

/// What `enroll spacecraft` takes.
#[derive(Debug, clap::Args)]
pub struct CraftArgs {
    /// Number and name, such as 7:SKY-7
    #[arg(value_name = "ID:NAME")]
    pub craft: Craft,
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
}

/// Enrols.
pub fn run(args: &Enroll) -> anyhow::Result<ExitCode> {
    let origin = || random().map(Origin).context("the system gives no random bytes");
    let folder = match args {
        Enroll::Edge(args) => edge(args, wall_clock(), origin()?)?,
        Enroll::Spacecraft(args) => spacecraft(args, wall_clock(), origin()?)?,
    };
    say(&format!("Made {}. The station knows it once it reads its file anew.", folder.display()));
    Ok(ExitCode::SUCCESS)
}

fn edge(args: &EdgeArgs, today: Tai, origin: Origin) -> anyhow::Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    ensure!(
        !args.name.is_empty() && args.name.chars().all(plain),
        "`{}`: letters, digits, - and _ only",
        args.name
    );
    let station = Enrolling::open(&args.config)?;
    let definition = mission::load(&station.mission)?;
    let known: Vec<u16> = definition.spacecraft.iter().map(|craft| craft.id.0).collect();
    if let Some(stranger) = args.spacecraft.iter().find(|id| !known.contains(id)) {
        bail!("spacecraft {stranger}: not in {}, which has {known:?}", station.mission.display());
    }
    let spacecraft = if args.spacecraft.is_empty() { known } else { args.spacecraft.clone() };
    let listens = station.config.listen.quic;
    let address = match &args.station {
        Some(address) => {
            codecs::config::host_port(address).map_err(|wrong| anyhow!("--station: {wrong}"))?;
            address.clone()
        }
        // What listens everywhere is nowhere in particular.
        None if listens.ip().is_unspecified() => bail!(
            "the station listens on every address of its machine ({listens}): say at which of \
             them the edge finds it, with --station HOST:PORT"
        ),
        None => listens.to_string(),
    };
    let text = edge_file(args.antenna, &address, station.pin, origin);
    let mission = std::fs::read_to_string(&station.mission)
        .with_context(|| format!("mission {}", station.mission.display()))?;
    let files = [("edge.toml", text), ("mission.toml", mission)];
    station.enroll(&args.name, (&spacecraft, &["deliver", "carry"]), today, origin, &files)
}

fn spacecraft(args: &CraftArgs, today: Tai, origin: Origin) -> anyhow::Result<PathBuf> {
    let station = Enrolling::open(&args.config)?;
    args.craft
        .check(&mission::load(&station.mission)?)
        .with_context(|| station.mission.display().to_string())?;
    let table = init::onboard_table(station.pin, origin) + &station.spoken()?;
    let files = [("onboard-identity.toml", table)];
    station.enroll(&args.craft.slug(), (&[args.craft.id], &["deliver"]), today, origin, &files)
}

fn edge_file(antenna: u16, station: &str, pin: KeyHash, origin: Origin) -> String {
    format!(
        r#"# An edge. `groundstation edge --config edge.toml --check` tells what is wrong with it.
mission = "mission.toml"
antenna = {antenna}

[station]
address = {station:?}

[identity]
certificate = "identity.crt"
key = "identity.key"
station_pins = ["{pin}"]
origin = "{origin}"

[spool]
dir = "spool"

# What is heard, one table each; `groundstation edge --help` lists the places.
# [[input]]
# from = "udp:127.0.0.1:5000"
# carries = "cadus"
# frame = "aos:892"
# coding = "rs:223:i4:dual,randomized"
"#
    )
}

/// A station that takes someone in.
struct Enrolling {
    config: Config,
    file: PathBuf,
    mission: PathBuf,
    authority: PathBuf,
    pin: KeyHash,
}

impl Enrolling {
    fn open(file: &Path) -> anyhow::Result<Self> {
        let config = Config::load(file)?;
        let path = config.path(&config.identity.certificate);
        let pin = certificate(&path).and_then(|certificate| {
            let parsed = ParsedCertificate::try_from(&certificate)?;
            Ok(KeyHash::of(&parsed.subject_public_key_info()))
        });
        let pin = pin.with_context(|| format!("certificate {}", path.display()))?;
        let (mission, authority) =
            (config.path(&config.mission), config.path(&config.identity.authority));
        Ok(Self { config, file: file.into(), mission, authority, pin })
    }

    /// The authority as `init` made it; its key stands beside its certificate.
    fn issuer(&self, today: Tai) -> anyhow::Result<Issuer<'static, KeyPair>> {
        let path = self.authority.with_extension("key");
        let read = |error| format!("{}: {error}: only who holds it can enrol", path.display());
        let pem = std::fs::read_to_string(&path).map_err(|error| anyhow::anyhow!(read(error)))?;
        let key = KeyPair::from_pem(&pem).with_context(|| path.display().to_string())?;
        let name = &self.config.station.name;
        // The name goes into what it signs, and must be the one that its certificate has.
        let stated = certificate(&self.authority)
            .with_context(|| format!("authority {}", self.authority.display()))?;
        let subject = format!("{name} authority");
        ensure!(
            stated.windows(subject.len()).any(|window| window == subject.as_bytes()),
            "{} is not named {subject:?}: put `station.name` of {} back to what it was at `init`",
            self.authority.display(),
            self.file.display()
        );
        Ok(Issuer::new(init::authority(name, today), key))
    }

    /// What a spacecraft must know of the domain's key, where the station has one.
    fn spoken(&self) -> anyhow::Result<String> {
        let Some(path) = &self.config.identity.domain_key else { return Ok(String::new()) };
        let path = self.config.path(path);
        let what = || format!("domain key {}", path.display());
        let key = KeyPair::from_pem(&std::fs::read_to_string(&path).with_context(what)?);
        let domain = mission::load(&self.mission)?.domain;
        Ok(init::spoken(&domain, &key.with_context(what)?))
    }

    fn enroll(
        &self,
        name: &str,
        (spacecraft, actions): (&[u16], &[&str]),
        today: Tai,
        origin: Origin,
        files: &[(&str, String)],
    ) -> anyhow::Result<PathBuf> {
        ensure!(
            self.config.principals.iter().all(|principal| principal.name != name),
            "{}: {name} is enrolled already",
            self.file.display()
        );
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        let identity = init::issue(&self.issuer(today)?, name, client, today, init::YEARS)?;
        let place = format!("enrolled/{name}");
        let base = &self.config.base;
        let write = |file: &str, text: &str, mode| {
            init::write(base, &format!("{place}/{file}"), text, mode)
        };
        write("identity.key", &identity.key, 0o600)?;
        write("identity.crt", &identity.certificate, 0o644)?;
        files.iter().try_for_each(|(file, text)| write(file, text, 0o644))?;
        // Last: a row without its files would let in no one, and stand in the way of another try.
        let row = init::principal(name, spacecraft, identity.hash, origin, actions);
        let row = format!("\n{row}");
        let appended = OpenOptions::new().append(true).open(&self.file).and_then(|mut file| {
            file.write_all(row.as_bytes())?;
            file.sync_all()
        });
        appended.with_context(|| self.file.display().to_string())?;
        Ok(base.join(place))
    }
}

fn certificate(path: &Path) -> anyhow::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_file(path).map_err(|error| anyhow::anyhow!("none in PEM: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::config::EdgeConfig;

    fn station(dir: &Path) -> PathBuf {
        let root = dir.join("station");
        let today = Tai::from_rfc3339("2026-11-23T12:00:00Z").unwrap();
        let plan = init::tests::plan(&root);
        init::init(&plan, today, &[Origin([1; 16]), Origin([2; 16])]).unwrap();
        root.join("station.toml")
    }

    fn args(config: PathBuf) -> EdgeArgs {
        let name = "weilheim".into();
        let station = Some("control.example.org:7117".into());
        EdgeArgs { name, config, antenna: 3, spacecraft: Vec::new(), station }
    }

    #[test]
    fn an_enrolled_edge_is_signed_by_the_authority_and_stands_in_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let file = station(dir.path());
        let today = Tai::from_rfc3339("2026-11-24T12:00:00Z").unwrap();
        let folder = edge(&args(file.clone()), today, Origin([3; 16])).unwrap();
        let config = Config::load(&file).unwrap();
        let row = config.principals.last().unwrap();
        assert_eq!((row.name.as_str(), &row.spacecraft[..]), ("weilheim", &[7, 8][..]));
        let text = std::fs::read_to_string(folder.join("edge.toml")).unwrap();
        let edge_config = EdgeConfig::parse("edge.toml", &text, &folder).unwrap();
        edge_config.check().unwrap();
        assert_eq!(edge_config.origin().unwrap(), Origin([3; 16]));
        let mut roots = rustls::RootCertStore::empty();
        let authority = certificate(&config.path(&config.identity.authority)).unwrap();
        roots.add(authority).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            std::sync::Arc::new(roots),
            provider,
        );
        let at = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            1_795_694_400,
        ));
        let signed = certificate(&folder.join("identity.crt")).unwrap();
        verifier.build().unwrap().verify_client_cert(&signed, &[], at).unwrap();
        let again = edge(&args(file), today, Origin([4; 16])).unwrap_err();
        assert!(again.to_string().contains("enrolled already"), "{again:#}");
    }

    #[test]
    fn what_can_not_be_enrolled_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let file = station(dir.path());
        let today = Tai::from_rfc3339("2026-11-24T12:00:00Z").unwrap();
        let wrong =
            |args: EdgeArgs| format!("{:#}", edge(&args, today, Origin([3; 16])).unwrap_err());
        let stranger = EdgeArgs { spacecraft: vec![9], ..args(file.clone()) };
        assert!(wrong(stranger).contains("spacecraft 9: not in"));
        for nonsense in ["nonsense", "host:", ":7117", "host:0", "host:70000", "a b:7117"] {
            let station = EdgeArgs { station: Some(nonsense.into()), ..args(file.clone()) };
            assert!(wrong(station).contains("--station"), "{nonsense}");
        }
        let unknown = CraftArgs { craft: "9:SKY-9".parse().unwrap(), config: file.clone() };
        let unknown = format!("{:#}", spacecraft(&unknown, today, Origin([3; 16])).unwrap_err());
        assert!(unknown.contains("it has 7:SKY-7, 8:SKY-8"), "{unknown}");
        let name = EdgeArgs { name: "../x".into(), ..args(file.clone()) };
        assert!(wrong(name).contains("letters"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(Config::load(&file).unwrap().principals.len(), 4, "nothing was enrolled");
        let everywhere = text.replace("quic = \"127.0.0.1:0\"", "quic = \"0.0.0.0:7117\"");
        std::fs::write(&file, everywhere).unwrap();
        assert!(wrong(EdgeArgs { station: None, ..args(file.clone()) }).contains("every address"));
        std::fs::write(&file, text.replace("Weilheim", "Lustbuehel")).unwrap();
        assert!(wrong(args(file)).contains("back to what it was"));
    }
}
