//! The spacecraft's radio: what the modem's shell does with sockets and tasks, by hand.

use codecs::{ids::UnitKey, time::Tai};
use codecs_quic::Change;
use codecs_store::forgetful::Forgetful;
use onboard::{
    config::Config,
    downlink::{
        Stand,
        radio::{Action, Radio, RadioConfig},
        supply,
    },
    shell::{contact::Contacts, held::Held},
    store::Store,
};

use crate::{
    rng::Random,
    world::{
        modem::Modem,
        net::{Net, NodeId},
    },
};

/// A radio with what it goes by. Times are of the flight's monotonic clock.
pub(super) struct Transceiver {
    radio: Radio,
    stand: Box<dyn Fn() -> Stand + Send>,
    modem: Modem,
    /// Bytes of units handed to it, repeats included.
    pub(super) bytes: u64,
}

impl Transceiver {
    pub(super) fn new(
        config: &Config,
        modem: &Modem,
        contacts: &Contacts,
        held: &Held<Forgetful>,
        (seed, boots): (u64, u64),
    ) -> anyhow::Result<Self> {
        // As the flight software draws it at a start.
        let first_count = Random::new(seed ^ boots.rotate_left(23), "frame count").bits() as u32;
        let radio = config.radio(first_count)?;
        let radio =
            radio.ok_or_else(|| anyhow::anyhow!("no [downlink.rf] in the configuration"))?;
        let housekeeping_percent = held.housekeeping_percent;
        let radio = RadioConfig { housekeeping_percent, ..radio };
        let radio = supply::open(&radio, &held.store)?;
        let stand = contacts.radio();
        let stand = Box::new(move || *stand.borrow());
        Ok(Self { radio, stand, modem: modem.clone(), bytes: 0 })
    }

    /// When it wants to be looked at.
    pub(super) fn timeout(&self) -> Option<u64> {
        self.radio.timeout()
    }

    /// Takes what a commit changed.
    pub(super) fn committed(&mut self, change: Change) {
        supply::committed(&mut self.radio, change);
    }

    /// Sends what is due; `taken` is told of each unit whose turn came.
    pub(super) fn pump(
        &mut self,
        net: &mut Net,
        (node, edge): (NodeId, NodeId),
        store: &mut Store<Forgetful>,
        mono: u64,
        mut taken: impl FnMut(UnitKey),
    ) {
        self.radio.set_stand((self.stand)());
        if self.radio.wants() {
            supply::take_up(&mut self.radio, store);
        }
        while let Some(action) = self.radio.poll(mono) {
            match action {
                Action::Send(cadu) => {
                    let charged = self.modem.charged(&cadu);
                    net.radiate(node, edge, cadu, charged);
                }
                Action::Take(key, info) => {
                    if let Some(length) = supply::hand(&mut self.radio, store, key, info) {
                        self.bytes += length as u64;
                        taken(key);
                    }
                }
            }
        }
    }

    /// Takes what the receiver heard: the time that a ground told, and what changes, where any of
    /// it is believed.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        contacts: &mut Contacts,
        store: &mut Store<Forgetful>,
        mono: u64,
    ) -> Option<Option<Tai>> {
        let together = supply::hear(&mut self.radio, bytes)?;
        // A world sends no commands.
        let (time, change, _) = contacts.hear(together, store, mono);
        self.committed(change);
        Some(time)
    }
}
