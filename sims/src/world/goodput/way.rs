//! One direction of a link: what it carries over time, and what it loses.

use codecs::time::Tai;

use super::steps::Steps;
use crate::{
    link::{Frames, Geometry, LinkModel, LinkSettings, LossSettings, Sky, radio},
    world::net::Leg,
};

/// How rate and delay go over time.
#[derive(Clone, Debug)]
pub enum Air {
    /// In steps that are given.
    Steps(Steps),
    /// By a link's budget over a pass.
    Radio(radio::Way),
}

impl Geometry for Air {
    fn sky(&self, at: Tai) -> Option<Sky> {
        match self {
            Self::Steps(steps) => steps.sky(at),
            Self::Radio(way) => way.sky(at),
        }
    }

    fn frames(&self, at: Tai) -> Option<Frames> {
        match self {
            Self::Steps(_) => None,
            Self::Radio(way) => way.frames(at),
        }
    }
}

/// One direction of a link.
#[derive(Clone, Debug)]
pub struct Way {
    /// What it carries.
    pub air: Air,
    /// The rate that the air's shares are of, bit/s.
    pub peak_bps: f64,
    /// Beside the flight, ns.
    pub ground_ns: i64,
    /// Longest wait in the queue, ns.
    pub queue_ns: i64,
    /// How packets are lost, beside frames of the code.
    pub loss: LossSettings,
}

impl Way {
    /// Steps whose delay is the whole one.
    pub fn stepped(steps: Steps, queue_ns: i64, loss: LossSettings) -> Self {
        let peak_bps = steps.rate_max_bps();
        Self { air: Air::Steps(steps), peak_bps, ground_ns: 0, queue_ns, loss }
    }

    pub(super) fn leg(&self, seed: u64) -> Box<dyn Leg> {
        let settings = LinkSettings {
            rate_bps: self.peak_bps,
            ground_delay_ns: self.ground_ns,
            queue_ns: self.queue_ns,
            loss: self.loss,
            seed,
        };
        Box::new(LinkModel::new(settings, self.air.clone()))
    }

    /// Bytes that pass between two times of a run that began at `start`, packets' headers included;
    /// frames that noise takes are none.
    pub fn bytes(&self, start: Tai, from_ns: u64, until_ns: u64) -> f64 {
        match &self.air {
            Air::Steps(steps) => steps.bytes(from_ns, until_ns),
            Air::Radio(way) => {
                let at = |ns: u64| start.plus(i64::try_from(ns).unwrap_or(i64::MAX));
                way.link().bits(at(from_ns), at(until_ns)) / 8.0
            }
        }
    }

    /// Rate at an instant, bit/s; 0 in an outage.
    pub fn rate_bps(&self, at: Tai) -> f64 {
        self.air.sky(at).map_or(0.0, |sky| self.peak_bps * sky.rate_share)
    }
}
