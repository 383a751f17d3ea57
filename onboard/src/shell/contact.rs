//! The contact machine between the bearers, the pipeline and the store.

use codecs::{link::wire::PlannedContact, time::Tai};
use tokio::sync::watch;

use crate::{
    config::Config,
    downlink::{Bearer, Downlink},
    pipeline::Pipeline,
    store::{Disk, Store},
};

/// Slot of the ground's contact plan.
const PLAN_SLOT: u32 = 0xfffb_0000;

/// Who goes by the contact plan.
pub struct Contacts {
    machine: Downlink,
    bearers: Vec<Bearer>,
    sleep: bool,
    awake: watch::Sender<bool>,
}

impl Contacts {
    /// Takes up the file's plan, or the one that the ground told before the last stop.
    pub fn recall(config: &Config, bearers: Vec<Bearer>, store: &Store<Disk>) -> Self {
        let mut machine = Downlink::new(config.downlink.contacts.clone());
        let kept = store.notes().find(|(slot, _)| *slot == PLAN_SLOT);
        if let Some((_, kept)) = kept
            && !machine.recall(kept)
        {
            tracing::error!("the contact plan that was kept can't be read; the file's is used");
        }
        Self { machine, bearers, sleep: config.downlink.sleep, awake: watch::Sender::new(true) }
    }

    /// Whether a connection is to be tried.
    pub fn awake(&self) -> watch::Receiver<bool> {
        self.awake.subscribe()
    }

    /// Takes a ground's time.
    pub fn trust(&mut self, time: Tai, now_ns: u64) {
        self.machine.trust(time, now_ns);
    }

    /// A station was heard.
    pub fn heard(&mut self, bearer: Bearer, now_ns: u64) {
        self.machine.heard(bearer, now_ns);
    }

    /// Takes a ground's plan; it is durable with the next commit.
    pub fn plan(&mut self, plan: Vec<PlannedContact>, store: &mut Store<Disk>, now_ns: u64) {
        let kept = self.machine.plan(plan, now_ns);
        if !store.note(PLAN_SLOT, kept) {
            tracing::error!("the contact plan found no place in the store: a restart forgets it");
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
        let awake = !self.sleep || self.machine.stand(Bearer::Quic, now_ns).phase.sends();
        self.awake.send_if_modified(|before| std::mem::replace(before, awake) != awake);
    }
}
