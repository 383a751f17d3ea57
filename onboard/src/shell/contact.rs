//! The contact machine between the bearers, the pipeline and the store.

use std::time::Instant;

use codecs::{
    ids::{KeyPrefix, RangeSet, UnitKey},
    link::{rf::line::Heard, uplink::object::UplinkObject, wire::PlannedContact},
    time::Tai,
};
use codecs_quic::{Change, PlannedLink};
use tokio::sync::watch;

use super::held::offer;
use crate::{
    config::Config,
    downlink::{
        Bearer, Doubt, Downlink, Stand,
        supply::{COUNTERS_SLOT, HeardTogether},
    },
    health::{LinkHealth, NOT_THERE},
    pipeline::Pipeline,
    store::{Medium, Store},
};

/// Slot of the ground's contact plan.
const PLAN_SLOT: u32 = 0xfffb_0000;

/// Who goes by the contact plan.
pub struct Contacts {
    machine: Downlink,
    bearers: Vec<Bearer>,
    sleep: bool,
    awake: watch::Sender<bool>,
    radio: watch::Sender<Stand>,
    planned: PlannedLink,
    receipted: u64,
    welcomes: u32,
}

impl Contacts {
    /// Takes up the file's plan, or the one that the ground told before the last stop.
    pub fn recall<M: Medium>(config: &Config, store: &Store<M>) -> Self {
        let doubt = Doubt::new(config.downlink.doubt_s, config.downlink.doubt_contacts);
        let mut machine = Downlink::new(config.downlink.contacts.clone()).with_doubt(doubt);
        let kept = store.notes().find(|(slot, _)| *slot == PLAN_SLOT);
        if let Some((_, kept)) = kept
            && !machine.recall(kept)
        {
            tracing::error!("the contact plan that was kept can't be read; the file's is used");
        }
        Self {
            machine,
            bearers: config.bearers(),
            sleep: config.downlink.sleep,
            awake: watch::Sender::new(true),
            radio: watch::Sender::default(),
            planned: PlannedLink::default(),
            receipted: 0,
            welcomes: 0,
        }
    }

    /// Counts what it tells of a link from this instant, the zero of every `now_ns`.
    pub fn since(mut self, zero: Instant) -> Self {
        self.planned = PlannedLink::new(zero);
        self
    }

    /// Whether a connection is to be tried.
    pub fn awake(&self) -> watch::Receiver<bool> {
        self.awake.subscribe()
    }

    /// How the contact stands for the radio.
    pub fn radio(&self) -> watch::Receiver<Stand> {
        self.radio.subscribe()
    }

    /// What the plan says of a connection's link.
    pub fn planned(&self) -> PlannedLink {
        self.planned.clone()
    }

    /// Units that receipts over the radio made reclaimable.
    pub fn receipted(&self) -> u64 {
        self.receipted
    }

    /// Takes what was believed over the radio into the store, for one commit; what the other bearer
    /// must know of it, the time that a ground told, and what is to be done.
    pub fn hear<M: Medium>(
        &mut self,
        together: HeardTogether,
        store: &mut Store<M>,
        now_ns: u64,
    ) -> (Option<Tai>, Change, Vec<UplinkObject>) {
        self.machine.heard(Bearer::Rf, now_ns);
        let (mut time, mut change, mut objects) = (None, Change::default(), Vec::new());
        for heard in together.heard {
            match heard {
                Heard::Time(told) => {
                    self.machine.trust(told, now_ns);
                    time = Some(told);
                }
                Heard::Planned(plan) => self.plan(plan, store, now_ns),
                Heard::Uplink(object) => objects.push(*object),
                Heard::Asked { prefix, ranges } => {
                    change.offered.extend(store.ask(prefix, &ranges).into_iter().map(offer));
                }
                Heard::Receipt { prefix, ranges, ledger, class } => {
                    if class >= store.reclaimable_from() {
                        live(store, prefix, &ranges, &mut change.gone);
                    }
                    self.receipted += store.receipt(ledger, class as u8, prefix, &ranges);
                }
            }
        }
        if !store.note(COUNTERS_SLOT, together.counters) {
            tracing::error!("the counters of what came by radio found no place in the store");
        }
        (time, change, objects)
    }

    /// A connection was welcomed, with the ground's time.
    pub fn welcomed(&mut self, time: Tai, now_ns: u64) {
        self.welcomes = self.welcomes.saturating_add(1);
        self.trust(time, now_ns);
    }

    /// Takes a ground's time.
    fn trust(&mut self, time: Tai, now_ns: u64) {
        self.machine.trust(time, now_ns);
    }

    /// A station was heard.
    pub fn heard(&mut self, bearer: Bearer, now_ns: u64) {
        self.machine.heard(bearer, now_ns);
    }

    /// Takes a ground's plan; it is durable with the next commit.
    pub fn plan<M: Medium>(
        &mut self,
        plan: Vec<PlannedContact>,
        store: &mut Store<M>,
        now_ns: u64,
    ) {
        let kept = self.machine.plan(plan, now_ns);
        if !store.note(PLAN_SLOT, kept) {
            tracing::error!("the contact plan found no place in the store: a restart forgets it");
        }
    }

    /// How each bearer stands, for housekeeping.
    pub fn link(&self, now_ns: u64) -> LinkHealth {
        let phase = |bearer| match self.bearers.contains(&bearer) {
            true => self.machine.stand(bearer, now_ns).phase as u8,
            false => NOT_THERE,
        };
        let silence = self.machine.silence_s(now_ns).and_then(|of| u32::try_from(of).ok());
        LinkHealth {
            phases: [phase(Bearer::Quic), phase(Bearer::Rf)],
            welcomes: self.welcomes,
            silence_s: silence.unwrap_or(u32::MAX),
        }
    }

    /// When to tend again.
    pub fn timeout(&self) -> u64 {
        self.machine.timeout()
    }

    /// Tells everybody how the contact stands, where that is due.
    pub fn tend(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        if !self.machine.is_due(now_ns) {
            return;
        }
        pipeline.set_contact(self.machine.left_s(&self.bearers, now_ns));
        pipeline.set_reach(self.machine.reach(&self.bearers, now_ns), now_ns);
        let stand = self.machine.stand(Bearer::Rf, now_ns);
        self.radio.send_if_modified(|before| std::mem::replace(before, stand) != stand);
        let stand = self.machine.stand(Bearer::Quic, now_ns);
        self.planned.set(self.machine.series(Bearer::Quic, now_ns));
        let awake = !self.sleep || stand.phase.sends();
        self.awake.send_if_modified(|before| std::mem::replace(before, awake) != awake);
    }
}

/// Adds the units among these that a link may still have.
fn live<M: Medium>(
    store: &Store<M>,
    prefix: KeyPrefix,
    ranges: &RangeSet,
    keys: &mut Vec<UnitKey>,
) {
    let Some((_, counter)) = store.counters().find(|of| of.0 == prefix) else { return };
    for range in ranges.ranges() {
        let held = counter.units.range(range.first..=range.last);
        let live = held.filter(|(_, entry)| entry.live());
        keys.extend(live.map(|(sequence, _)| UnitKey { prefix, sequence: *sequence }));
    }
}
