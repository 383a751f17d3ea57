//! Custody over the radio at the station: units out of the frames that an edge brought, and what is
//! said of them on the way up.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use anyhow::Context as _;
use codecs::{
    ids::{KeyPrefix, Origin, RangeSet, SeqRange},
    link::custody::Durability,
    mission::Definition,
    time::Tai,
};
use groundstation::{
    admit::Table,
    archive::{
        Archived, Now,
        forgetful::ForgetfulDisk,
        intake::Progress,
        read::replay,
        record::{Digest, Position},
        twice::Twice,
        volume::Volume,
    },
    ledger::Standing,
    process::Process,
    receipt::{Fates, Ingest, SessionId},
    rf::{
        Ear, Heard, LOSSES_EVERY, RfConfig,
        hear::applications,
        say::{Mouth, Voice},
    },
};

use crate::world::modem::{DOMAIN, Modem};

/// The session of the radio; sessions of peers count from 1.
pub(super) const SESSION: SessionId = SessionId(u64::MAX);

/// What custody by radio needs at a station.
#[derive(Clone)]
pub struct RadioSettings {
    /// Frames, and the rate up.
    pub modem: Modem,
    /// What is known of the spacecraft.
    pub mission: Arc<Definition>,
    /// The domain's key.
    pub key: [u8; 32],
    /// The spacecraft's store.
    pub origin: Origin,
    /// Its number.
    pub spacecraft: u16,
}

/// The radio's desk at a station that runs.
pub(super) struct Desk {
    origin: Origin,
    table: Table,
    process: Process,
    ear: Ear,
    /// Whole units that wait for the archive.
    whole: VecDeque<Heard>,
    pub(super) mouth: Mouth,
    /// What the way up was told last.
    lost: BTreeMap<KeyPrefix, RangeSet>,
    look_ns: u64,
}

impl Desk {
    /// Reads back what the archive holds: what was half heard before is heard again.
    pub(super) fn open(
        settings: &RadioSettings,
        table: &Table,
        (disk, end): (&ForgetfulDisk, Position),
        (ledger, kept): (u64, u64),
        now: Tai,
    ) -> anyhow::Result<Self> {
        let text = settings.modem.station(settings.spacecraft);
        let filed: RfConfig = toml::from_str(&text).context("the station's radio")?;
        let radio = filed.check().map_err(|(key, why)| anyhow::anyhow!("{key}: {why}"))?;
        let up = radio.up.clone().context("an uplink of no rate")?;
        let (origin, class) = (settings.origin, Durability::Local);
        let voice = Voice { domain: DOMAIN.into(), ledger, origin, class };
        let radios = [radio];
        let process = Process::new(Arc::clone(&settings.mission)).hearing(applications(&radios));
        let mut desk = Self {
            origin,
            table: table.clone(),
            process,
            ear: Ear::new(&radios),
            whole: VecDeque::new(),
            mouth: Mouth::new(up, voice, settings.key, kept),
            lost: BTreeMap::new(),
            look_ns: 0,
        };
        let start = Position { segment: 0, offset: 0 };
        replay(&mut disk.clone(), &Twice::NOTHING, start, end, |unit| {
            desk.archived(&unit, now);
            Ok(())
        })
        .context("reading the archive back")?;
        Ok(desk)
    }

    /// An archived unit: of a frame, the parts in it are heard.
    pub(super) fn archived(&mut self, unit: &Archived, now: Tai) {
        // A world interprets nothing else.
        if unit.key.prefix.origin == self.origin {
            return;
        }
        let parts = self.process.take(unit, now).parts;
        let Self { ear, table, whole, .. } = self;
        ear.hear(unit, &parts, table, &mut |heard| whole.push_back(heard));
    }

    /// Offers whole units to the archive, as far as it has room; whether any went.
    pub(super) fn deliver(
        &mut self,
        ingest: &mut Ingest,
        volume: &mut Volume<ForgetfulDisk>,
        now: Now,
    ) -> bool {
        let mut any = false;
        while let Some(heard) = self.whole.front() {
            let key = heard.unit.key;
            let held = heard.replayed && ingest.ledger().standing(&key) == Standing::Held;
            // What has other bytes than the unit that is held is offered nevertheless.
            let mut differs =
                || volume.differs(&key, Digest::of(&heard.unit.bytes)).unwrap_or(false);
            if held && !differs() {
                let range = SeqRange { first: key.sequence, last: key.sequence };
                self.mouth.durable(key.prefix, &[range].into_iter().collect());
            } else if ingest.take(SESSION, &heard.unit, now) == Progress::NoRoom {
                break;
            }
            self.whole.pop_front();
            any = true;
        }
        any
    }

    /// What became of units that came by radio.
    pub(super) fn fates(&mut self, fates: Fates) {
        for (prefix, ranges) in fates.receipts {
            if prefix.origin == self.origin {
                self.mouth.durable(prefix, &ranges);
            }
        }
    }

    /// Tells the way up what is to be asked for, where that is new and a look is due.
    pub(super) fn look(&mut self, ingest: &Ingest, mono: u64) {
        if mono < self.look_ns {
            return;
        }
        self.look_ns = mono + LOSSES_EVERY.as_nanos() as u64;
        let lost = ingest.lost_of(self.origin);
        if lost != self.lost {
            self.mouth.lost(&lost, mono);
            self.lost = lost;
        }
    }

    /// When it wants to be looked at.
    pub(super) fn timeout(&self) -> u64 {
        self.mouth.timeout().map_or(self.look_ns, |due| due.min(self.look_ns))
    }
}
