//! What carries units down, each in a task of its own.

use std::sync::Arc;

use bytes::Bytes;
use codecs::time::Tai;
use codecs_quic::{
    Change, Client, FromLink, LinkCounts, LinkTime, Monotonic, Peer, PlannedLink, TransportOptions,
};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
};

use super::{contact::Contacts, held::Held, radio::Modem};
use crate::{
    config::{Config, Ground},
    downlink::{
        Bearer,
        radio::{RadioConfig, RadioCounts},
        supply::HeardTogether,
    },
    store::Disk,
};

/// Live frames that may wait in the transport, bytes: an old one is worth nothing.
const LOOK_BYTES: usize = 8 << 10;
/// Statements that may wait for the store; then the uplink waits.
const HEARD_MAX: usize = 64;

/// What goes to each bearer's task.
#[derive(Clone, Default)]
pub struct Changes(Vec<mpsc::UnboundedSender<Change>>);

impl Changes {
    /// Tells all of them; one that ended needs to know nothing.
    pub fn send(&self, change: &Change) {
        for bearer in &self.0 {
            let _ = bearer.send(change.clone());
        }
    }
}

/// The tasks, and what they tell.
pub struct Bearers {
    /// What the connection tells.
    pub told: mpsc::UnboundedReceiver<FromLink>,
    /// What was believed over the radio.
    pub heard: mpsc::Receiver<HeardTogether>,
    changes: Changes,
    stopping: watch::Sender<bool>,
    link: Option<JoinHandle<LinkCounts>>,
    modem: Option<JoinHandle<RadioCounts>>,
}

/// Clock, the store's time at its zero, and the newest live frame.
pub type Feeds = (Monotonic, watch::Receiver<Tai>, watch::Receiver<Bytes>);

impl Bearers {
    /// Opens the modem and begins to connect, as configured.
    pub async fn start(
        config: &Config,
        peer: Option<Peer>,
        store: &Arc<Mutex<Held<Disk>>>,
        contacts: &Contacts,
        (clock, zero, newest): Feeds,
    ) -> anyhow::Result<Self> {
        let (tell, told) = mpsc::unbounded_channel();
        let (hear, heard) = mpsc::channel(HEARD_MAX);
        let (stopping, stopped) = watch::channel(false);
        let mut changes = Changes::default();
        let mut commits = || {
            let (sender, receiver) = mpsc::unbounded_channel();
            changes.0.push(sender);
            receiver
        };
        let opened = store.lock().await;
        let mut first_count = [0; 4];
        rustix::rand::getrandom(&mut first_count, rustix::rand::GetRandomFlags::empty())?;
        let modem = match (&config.downlink.rf, config.radio(u32::from_be_bytes(first_count))?) {
            (Some(rf), Some(radio)) => {
                let housekeeping_percent = opened.housekeeping_percent;
                let radio = RadioConfig { housekeeping_percent, ..radio };
                let held = (store.clone(), &opened.store);
                let stand = contacts.radio();
                let modem = Modem::open((rf, &radio), held, clock, stand, hear).await?;
                Some(tokio::spawn(modem.run(commits(), stopped.clone())))
            }
            _ => None,
        };
        let link = peer.map(|peer| {
            let peer = Peer { planned: contacts.planned(), ..peer };
            let client = Client::new(peer, store.clone(), &opened, LinkTime { clock, zero }, tell)
                .with_quick_looks(newest)
                .with_sleep(contacts.awake());
            tokio::spawn(client.run(commits(), stopped))
        });
        Ok(Self { told, heard, changes, stopping, link, modem })
    }

    /// Where changes of the store go.
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// Ends the tasks with their last words.
    pub async fn stop(self) -> anyhow::Result<(LinkCounts, Option<RadioCounts>)> {
        let Self { heard, stopping, link, modem, .. } = self;
        // Nobody takes what is heard from here on; it is said again.
        drop(heard);
        stopping.send_replace(true);
        let radio = match modem {
            Some(modem) => Some(modem.await?),
            None => None,
        };
        let link = match link {
            Some(link) => link.await?,
            None => LinkCounts::default(),
        };
        Ok((link, radio))
    }
}

/// Where units go, for people.
pub fn describe(config: &Config) -> String {
    let places = config.bearers().into_iter().filter_map(|bearer| match bearer {
        Bearer::Quic => config.ground.as_ref().map(|ground| ground.address.clone()),
        Bearer::Rf => config.downlink.rf.as_ref().map(|rf| rf.to.to_string()),
    });
    places.collect::<Vec<_>>().join(", ")
}

/// The station, where one is connected to.
pub fn peer(config: &Config) -> anyhow::Result<Option<Peer>> {
    let used = config.bearers().contains(&Bearer::Quic);
    config.ground.as_ref().filter(|_| used).map(|ground| peer_of(config, ground)).transpose()
}

fn peer_of(config: &Config, ground: &Ground) -> anyhow::Result<Peer> {
    let identity = &config.identity;
    let usual = (&*identity.certificate, &*identity.key);
    let (tls, lost) =
        codecs_quic::client_config_or_golden(usual, identity.golden(), config.pins()?)?;
    // A spoilt golden identity must not keep a good usual one on the ground.
    let golden = identity.golden().filter(|_| !lost).and_then(|(certificate, key)| {
        let config = codecs_quic::client_config(certificate, key, config.pins().ok()?);
        config.inspect_err(|error| tracing::error!("the golden identity: {error:#}")).ok()
    });
    let options =
        TransportOptions { mtu_max: ground.mtu_max, datagram_buffer_bytes: Some(LOOK_BYTES) };
    Ok(Peer {
        address: ground.address.clone(),
        server_name: ground.server_name.clone(),
        profile: ground.profile()?,
        options,
        tls,
        planned: PlannedLink::default(),
        golden,
    })
}
