//! A pass of real elements, flown by its link's budget: what `orbitsim budget --fly` shows, with
//! connections over it.

use std::sync::Arc;

use codecs::{
    link::{
        congestion::{self, Series},
        profile::LEO,
    },
    time::Tai,
};

use super::{Air, Flow, Law, Link, Way, cases::OBJECT};
use crate::{
    contact::Pass,
    link::{
        LossSettings, Track,
        budget::file::Described,
        radio::{self, RadioError, RadioLink, Weather},
    },
    orbit::{ElementSet, ElementsError},
    world::bulk::Bulk,
};

/// A change of the flight time that is a step of its own in the plan, ns.
const DELAY_STEP_NS: i64 = 500_000;

/// A pass and the radio that it is flown with.
#[derive(Clone, Debug)]
pub struct Flown {
    of: Described,
    track: Track,
    rise: Tai,
    set: Tai,
}

impl Flown {
    /// The pass of a satellite over the link's station.
    ///
    /// # Errors
    /// Elements that can't be flown so far.
    pub fn new(of: Described, satellite: &ElementSet, pass: &Pass) -> Result<Self, ElementsError> {
        let track = Track::of_pass(satellite, &of.station, pass)?;
        Ok(Self { of, track, rise: pass.rise, set: pass.set })
    }

    /// The link under a weather, with bursts of losses beside it, and the plan that a clear sky
    /// gives. The queue holds the longest round trip.
    ///
    /// # Errors
    /// A pass that is too long to be flown.
    pub fn link(&self, weather: Weather, loss: LossSettings) -> Result<Link, RadioError> {
        let flown = Arc::new(RadioLink::fly(&self.of, &self.track, weather)?);
        let clear = RadioLink::fly(&self.of, &self.track, Weather::Clear)?;
        let [forth, back] = self.of.settings(&flown, 0);
        let rtt_ns = |delay_ns: i64| 2 * (delay_ns + forth.ground_delay_ns);
        let steps = clear.plan(DELAY_STEP_NS);
        let queue_ns = steps.iter().map(|step| rtt_ns(step.delay_ns)).max().unwrap_or(0);
        let plan = steps.iter().map(|step| congestion::Step {
            from_ns: step.from.since(self.rise).max(0).unsigned_abs(),
            rate_bps: step.rate_bps as u64,
            rtt_ns: rtt_ns(step.delay_ns).unsigned_abs(),
        });
        let way = |way, settings: &crate::link::LinkSettings, loss| Way {
            air: Air::Radio(way),
            peak_bps: settings.rate_bps,
            ground_ns: settings.ground_delay_ns,
            queue_ns,
            loss,
        };
        Ok(Link {
            profile: LEO,
            start: self.rise,
            up: way(radio::Way::Forth(Arc::clone(&flown)), &forth, loss),
            down: way(radio::Way::Back(flown), &back, LossSettings::NONE),
            plan: Series::new(plan.collect()),
            until_ns: self.set.since(self.rise).max(0).unsigned_abs(),
        })
    }

    /// More than the pass can take, from when the receiver has lock.
    pub fn flow(&self, law: Law) -> Flow {
        let bulk = Bulk { object_bytes: OBJECT, objects_max: LEO.objects_max, objects: 1 << 20 };
        Flow { law, from_ns: (self.of.channel.lock_ms * 1e6) as u64, bulk }
    }
}
