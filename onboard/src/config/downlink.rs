//! `[downlink]`: the contact plan, and the radio.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use codecs::{
    config::host_port,
    frame::{aos, cadu::Coding, cltu::CltuCoding, tm},
    ids::Apid,
    link::{
        rf::{
            PARTS_APID, SIGNED_APID,
            part::{PART_BYTES_MAX, PART_BYTES_MIN, PART_HEADER_BYTES},
        },
        wire::PlannedContact,
    },
    packet::space::HEADER_BYTES,
    time::Tai,
};
use serde::Deserialize;

use super::{Config, FrameKind, frame_of, source::BAUDS};
use crate::downlink::{
    Bearer, CONTACTS_MAX, Contact,
    radio::{KEYS_MAX, Radio, RadioConfig},
};

/// How and when units go down.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Downlink {
    /// The only bearer to use; all that are configured unless given.
    pub bearer: Option<Bearer>,
    /// File of contacts, for as long as the ground has told none.
    pub plan: Option<PathBuf>,
    /// Whether no connection is tried between the contacts of a plan that is believed.
    pub sleep: bool,
    /// Seconds without a word from the ground after which time and plan are doubted, and contact is
    /// tried all the time; 0 never, a day unless given.
    pub doubt_s: Option<u64>,
    /// Contacts of the plan, passed whole without a word, after which they are doubted as well; 0
    /// never, 6 unless given.
    pub doubt_contacts: Option<u64>,
    /// The radio.
    pub rf: Option<Rf>,
    /// What the file of contacts says.
    #[serde(skip)]
    pub contacts: Vec<Contact>,
}

/// A radio: where its modem is, and what it does to frames.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rf {
    /// Where CADUs go: `udp:HOST:PORT`, one a datagram, `serial:DEVICE` or `file:PATH`.
    pub to: Door,
    /// Where CLTUs come from: `udp:ADDRESS:PORT` to listen on, or `serial:DEVICE`; none where there
    /// is no uplink.
    pub from: Option<Door>,
    /// Bits a second of serial lines.
    #[serde(default = "baud")]
    pub baud: u32,
    /// Bits a second on the air.
    pub rate_bps: u64,
    /// Kind and length of frames: `aos:LENGTH` or `tm:LENGTH`.
    #[serde(default = "frame")]
    pub frame: String,
    /// Whether frames end in an error control field.
    #[serde(default)]
    pub fecf: bool,
    /// What is done to frames, as in [`Coding`].
    #[serde(default = "coding")]
    pub coding: String,
    /// Spacecraft identifier in frames, up and down.
    pub scid: u16,
    /// Virtual channel of the frames down.
    #[serde(default)]
    pub vc: u8,
    /// Whether idle frames fill what is left of a contact.
    #[serde(default)]
    pub idle: bool,
    /// Application whose packets carry units.
    #[serde(default = "parts_apid")]
    pub parts_apid: u16,
    /// Bytes of a unit in one packet; what fits one frame unless given.
    pub part_bytes: Option<usize>,
    /// Seconds that a unit waits for its receipt before it goes again.
    #[serde(default = "again")]
    pub again_s: u64,
    /// What is done to command frames: one of [`CltuCoding`].
    #[serde(default = "uplink_coding")]
    pub uplink_coding: String,
    /// Whether command frames have segment headers.
    #[serde(default)]
    pub uplink_segments: bool,
    /// Application whose packets carry what the domain signed.
    #[serde(default = "signed_apid")]
    pub signed_apid: u16,
}

fn baud() -> u32 {
    115_200
}

fn frame() -> String {
    "aos:892".into()
}

fn coding() -> String {
    "rs:223:i4:dual,randomized:131071".into()
}

fn parts_apid() -> u16 {
    PARTS_APID.0
}

fn signed_apid() -> u16 {
    SIGNED_APID.0
}

fn again() -> u64 {
    2_700
}

fn uplink_coding() -> String {
    "cltu:bch".into()
}

/// Where a modem is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Door {
    /// Host and port of a socket.
    Udp(String),
    /// A device.
    Serial(PathBuf),
    /// A file that grows.
    File(PathBuf),
}

impl TryFrom<String> for Door {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("udp", at)) => match host_port(at) {
                Ok(_) => Ok(Self::Udp(at.into())),
                // Any free port is listened to.
                Err(_) if at.parse::<SocketAddr>().is_ok() => Ok(Self::Udp(at.into())),
                Err(shape) => Err(format!("{text:?}: udp:HOST:PORT is wanted; {shape}")),
            },
            Some(("serial", at)) if !at.is_empty() => Ok(Self::Serial(at.into())),
            Some(("file", at)) if !at.is_empty() => Ok(Self::File(at.into())),
            _ => Err(format!("{text:?} is none of udp:HOST:PORT, serial:DEVICE, file:PATH")),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(at) => write!(f, "udp:{at}"),
            Self::Serial(at) => write!(f, "serial:{}", at.display()),
            Self::File(at) => write!(f, "file:{}", at.display()),
        }
    }
}

impl Door {
    fn resolve(&mut self, folder: &Path) {
        if let Self::Serial(path) | Self::File(path) = self {
            *path = folder.join(&*path);
        }
    }
}

impl Config {
    /// What carries units down: at least one bearer.
    pub fn bearers(&self) -> Vec<Bearer> {
        let there =
            [(Bearer::Quic, self.ground.is_some()), (Bearer::Rf, self.downlink.rf.is_some())];
        let wanted = |bearer| self.downlink.bearer.is_none_or(|only| only == bearer);
        there.into_iter().filter(|(of, there)| *there && wanted(*of)).map(|(of, _)| of).collect()
    }

    /// Settings of the radio, where one is used; its frames count from `first_count` on.
    pub fn radio(&self, first_count: u32) -> anyhow::Result<Option<RadioConfig>> {
        let used = self.bearers().contains(&Bearer::Rf);
        let Some(rf) = self.downlink.rf.as_ref().filter(|_| used) else { return Ok(None) };
        let Some((kind, frame_bytes)) = frame_of(&rf.frame) else {
            bail!("[downlink.rf] frame = {:?}: aos:LENGTH or tm:LENGTH", rf.frame);
        };
        let coding = rf.coding.parse::<Coding>();
        let up_coding = rf.uplink_coding.parse::<CltuCoding>();
        let mut keys = Vec::new();
        for text in &self.identity.domain_keys {
            let wrong = || format!("[identity] domain_keys: {text:?}: 64 hexadecimal digits");
            keys.push(super::bytes_of(text).with_context(wrong)?);
        }
        let zone = zone_bytes(kind, frame_bytes, rf.fecf).unwrap_or_default();
        let fits = zone.saturating_sub(HEADER_BYTES + PART_HEADER_BYTES);
        let usual = fits.clamp(PART_BYTES_MIN, PART_BYTES_MAX);
        Ok(Some(RadioConfig {
            origin: self.origin()?,
            reclaimable_from: self.reclaimable(),
            again_ns: rf.again_s.saturating_mul(1_000_000_000),
            housekeeping_percent: 0,
            apid: Apid(rf.parts_apid),
            part_bytes: rf.part_bytes.unwrap_or(usual),
            kind,
            frame_bytes,
            fecf: rf.fecf,
            scid: rf.scid,
            vc: rf.vc,
            first_count,
            coding: coding.with_context(|| format!("[downlink.rf] coding = {:?}", rf.coding))?,
            rate_bps: rf.rate_bps,
            idle: rf.idle,
            up_coding: up_coding
                .with_context(|| format!("[downlink.rf] uplink_coding = {:?}", rf.uplink_coding))?,
            up_apid: Apid(rf.signed_apid),
            up_segments: rf.uplink_segments,
            domain: self.identity.domain.clone().unwrap_or_default(),
            keys,
        }))
    }

    pub(super) fn check_downlink(&self) -> anyhow::Result<()> {
        ensure!(
            !self.bearers().is_empty(),
            "nothing carries units down: give [ground], [downlink.rf] or both, and the one that \
             [downlink] bearer names"
        );
        let Some(radio) = self.radio(0)? else { return Ok(()) };
        let Some(rf) = &self.downlink.rf else { return Ok(()) };
        ensure!(rf.rate_bps > 0, "[downlink.rf] rate_bps = 0: at least 1 bit/s");
        ensure!(rf.signed_apid < 2047, "[downlink.rf] signed_apid = {}: 0 to 2046", rf.signed_apid);
        ensure!(
            !matches!(rf.from, Some(Door::File(_))),
            "[downlink.rf] from: udp:ADDRESS:PORT to listen on, or serial:DEVICE"
        );
        if let Door::Udp(to) = &rf.to
            && let Err(shape) = host_port(to)
        {
            bail!("[downlink.rf] to = \"udp:{to}\": {shape}");
        }
        ensure!(BAUDS.contains(&rf.baud), "[downlink.rf] baud = {}: 50 to 20000000", rf.baud);
        let count = radio.keys.len();
        ensure!(count <= KEYS_MAX, "[identity] domain_keys: {count} keys: at most {KEYS_MAX}");
        ensure!(
            rf.from.is_none() || (self.identity.domain.is_some() && count > 0),
            "[downlink.rf] from needs [identity] domain and domain_keys: without them nothing that \
             comes up is believed"
        );
        Radio::new(&radio, &[]).map(|_| ()).context("[downlink.rf]")
    }
}

/// Bytes of a frame that packets have.
fn zone_bytes(kind: FrameKind, frame_bytes: usize, fecf: bool) -> Option<usize> {
    let headers = match kind {
        FrameKind::Aos => aos::HEADER_BYTES + aos::MPDU_HEADER_BYTES,
        FrameKind::Tm => tm::HEADER_BYTES,
    };
    frame_bytes.checked_sub(headers + if fecf { 2 } else { 0 })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    #[serde(default)]
    contact: Vec<Filed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filed {
    rise: String,
    set: String,
    #[serde(default)]
    station: String,
    bearer: Option<Bearer>,
    #[serde(default)]
    rate_bps: u64,
    #[serde(default)]
    rtt_ms: f64,
}

/// Longest round trip of a plan: a day.
const RTT_MAX_MS: f64 = 86_400_000.0;

impl Downlink {
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(path) = &mut self.plan {
            *path = folder.join(&*path);
        }
        if let Some(rf) = &mut self.rf {
            rf.to.resolve(folder);
            rf.from.iter_mut().for_each(|from| from.resolve(folder));
        }
    }

    /// Takes the text of the plan's file.
    pub(super) fn read_plan(&mut self, file: &str, text: &str) -> anyhow::Result<()> {
        let plan: Plan = codecs::config::parse(file, text)?;
        let contacts =
            plan.contact.into_iter().enumerate().map(|(at, filed)| {
                filed.contact().with_context(|| format!("{file}: contact {at}"))
            });
        self.contacts = contacts.collect::<anyhow::Result<_>>()?;
        let count = self.contacts.len();
        ensure!(count <= CONTACTS_MAX, "{file}: {count} contacts: at most {CONTACTS_MAX}");
        Ok(())
    }
}

impl Filed {
    fn contact(self) -> anyhow::Result<Contact> {
        let time = |key, text: &str| {
            let why = || format!("{key} = {text:?} is no time like 2026-11-26T12:00:00Z");
            Tai::from_rfc3339(text).with_context(why)
        };
        let (rise, set) = (time("rise", &self.rise)?, time("set", &self.set)?);
        let rtt_ns = (self.rtt_ms.clamp(0.0, RTT_MAX_MS) * 1e6) as u64;
        ensure!(rise < set, "set = {:?} is not after rise = {:?}", self.set, self.rise);
        let planned = PlannedContact { rise, set, rate_bps: self.rate_bps, rtt_ns };
        Ok(Contact { planned, station: self.station, bearer: self.bearer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_which_contact_is_wrong() {
        let read = |text: &str| {
            let mut downlink = Downlink::default();
            downlink.read_plan("contacts.toml", text).map(|()| downlink.contacts)
        };
        let good = "[[contact]]\nrise = \"2026-11-26T12:00:00Z\"\nset = \"2026-11-26T12:08:00Z\"\n\
                    station = \"north\"\nbearer = \"rf\"\nrate_bps = 16000\n";
        let contacts = read(good).unwrap();
        assert_eq!((contacts.len(), contacts[0].bearer), (1, Some(Bearer::Rf)));
        assert_eq!(contacts[0].planned.set.since(contacts[0].planned.rise), 480_000_000_000);
        let said = |text: &str| format!("{:#}", read(text).unwrap_err());
        assert!(said(&good.replace("12:08", "11:08")).contains("contact 0: set"));
        assert!(said(&good.replace("2026-11-26T12:00:00Z", "soon")).contains("rise = \"soon\""));
        assert!(said(&good.replace("station", "statoin")).contains("did you mean `station`?"));
        assert!(said(&good.repeat(CONTACTS_MAX + 1)).contains("at most 64"));
    }
}
