//! A node: its endpoint, its connections, and the randomness that they draw.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use codecs_quic::{TransportOptions, endpoint_config};
use groundstation::shell::reset;
use quinn_proto::{
    Connection, ConnectionHandle, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig,
    Event, InvalidCid, ServerConfig,
};

use crate::rng::{Random, mix};

/// What a node is made from.
#[derive(Clone)]
pub struct Settings {
    /// All randomness of the endpoint follows from it.
    pub seed: u64,
    /// What connection ids and reset tokens follow from, over restarts.
    pub key: [u8; 32],
    /// What the site chose of the transport.
    pub options: TransportOptions,
    /// Where it takes connections: with these settings.
    pub server: Option<Arc<ServerConfig>>,
}

impl Settings {
    /// What [`EndpointConfig`] comes to.
    fn endpoint(&self) -> EndpointConfig {
        // A station's tokens follow from its key just so.
        let (config, _) = reset::from_key(&self.key);
        let mut config = endpoint_config(config, &self.options).unwrap_or_default();
        let mut random = Random::new(self.seed, "endpoint");
        let mut seed = [0; 32];
        seed.chunks_mut(8).for_each(|part| part.copy_from_slice(&random.bits().to_be_bytes()));
        let (key, nonces) = (reset_seed(&self.key), random.bits());
        config
            .rng_seed(Some(seed))
            .cid_generator(move || Box::new(SeededIds { key, nonce: nonces }));
        config
    }
}

fn reset_seed(key: &[u8; 32]) -> u64 {
    key.iter().fold(0, |sum, byte| mix(sum ^ u64::from(*byte)))
}

/// Connection ids that follow from a seed; like the library's own, most that it did not make are
/// known as such.
struct SeededIds {
    key: u64,
    nonce: u64,
}

impl SeededIds {
    fn id(&self, nonce: u32) -> [u8; 8] {
        let check = mix(self.key ^ u64::from(nonce)) as u32;
        ((u64::from(nonce) << 32) | u64::from(check)).to_be_bytes()
    }
}

impl ConnectionIdGenerator for SeededIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.nonce = self.nonce.wrapping_add(1);
        ConnectionId::new(&self.id(mix(self.nonce) as u32))
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let nonce = id.first_chunk().map(|nonce| u32::from_be_bytes(*nonce)).ok_or(InvalidCid)?;
        if self.id(nonce) == id[..] { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// A connection of a node.
pub(super) struct Live {
    pub(super) handle: ConnectionHandle,
    pub(super) serial: u64,
    pub(super) connection: Connection,
    /// When the queue comes back to it.
    pub(super) timer_ns: Option<u64>,
    /// What nobody has asked for yet.
    pub(super) events: VecDeque<Event>,
}

impl Live {
    pub(super) fn new(handle: ConnectionHandle, serial: u64, connection: Connection) -> Box<Self> {
        Box::new(Self { handle, serial, connection, timer_ns: None, events: VecDeque::new() })
    }
}

pub(super) struct Node {
    pub(super) endpoint: Endpoint,
    lives: Vec<Option<Box<Live>>>,
    free: Vec<u32>,
    /// Slot by the endpoint's own number.
    slots: Vec<Option<u32>>,
}

impl Node {
    pub(super) fn new(settings: Settings) -> Self {
        let config = Arc::new(settings.endpoint());
        let endpoint = Endpoint::new(config, settings.server, true, None);
        Self { endpoint, lives: Vec::new(), free: Vec::new(), slots: Vec::new() }
    }

    pub(super) fn keep(&mut self, handle: ConnectionHandle, live: Box<Live>) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.lives.push(None);
                (self.lives.len() - 1) as u32
            }
        };
        if let Some(place) = self.lives.get_mut(slot as usize) {
            *place = Some(live);
        }
        if self.slots.len() <= handle.0 {
            self.slots.resize(handle.0 + 1, None);
        }
        if let Some(place) = self.slots.get_mut(handle.0) {
            *place = Some(slot);
        }
        slot
    }

    pub(super) fn live(&mut self, slot: u32, serial: u64) -> Option<&mut Live> {
        let live = self.lives.get_mut(slot as usize)?.as_deref_mut()?;
        (live.serial == serial).then_some(live)
    }

    pub(super) fn both(&mut self, slot: u32, serial: u64) -> Option<(&mut Endpoint, &mut Live)> {
        let live = self.lives.get_mut(slot as usize)?.as_deref_mut()?;
        (live.serial == serial).then_some((&mut self.endpoint, live))
    }

    pub(super) fn of(&mut self, handle: ConnectionHandle) -> Option<(u32, &mut Live)> {
        let slot = (*self.slots.get(handle.0)?)?;
        let live = self.lives.get_mut(slot as usize)?.as_deref_mut()?;
        Some((slot, live))
    }

    /// Lets go of a connection that is over and has nothing left to tell.
    pub(super) fn forget_drained(&mut self, slot: u32) {
        let Some(place) = self.lives.get_mut(slot as usize) else { return };
        let over = |live: &Live| live.connection.is_drained() && live.events.is_empty();
        if !place.as_deref().is_some_and(over) {
            return;
        }
        let live = place.take();
        self.free.push(slot);
        // The endpoint may have given the number to another one since.
        if let Some(of) = live.and_then(|live| self.slots.get_mut(live.handle.0))
            && *of == Some(slot)
        {
            *of = None;
        }
    }
}
