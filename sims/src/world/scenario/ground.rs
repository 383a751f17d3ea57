//! What stands on the ground in a scenario: antennas, who is given them, and modems.

use codecs::time::Tai;

use super::{Bearer, Link, MILLISECOND_NS, Scenario, SiteSettings, members::Member};
use crate::{
    link::budget::file::Described,
    world::{
        antennas::{Antennas, Given, Wanting, give},
        legs::Direction,
        modem::{Modem, Said},
    },
};

impl Scenario {
    /// Who is heard by which antenna, where spacecraft compete for them.
    pub(super) fn given(
        &self,
        fleet: &[Member],
        of: Option<&Described>,
        span: (Tai, Tai),
        stopped: &dyn Fn() -> bool,
    ) -> anyhow::Result<Option<Given>> {
        if self.site.iter().all(|site| site.antennas.is_none()) {
            return Ok(None);
        }
        let antennas = |site: &SiteSettings| Antennas {
            station: site.station(),
            count: site.antennas.unwrap_or(1),
            setup_s: site.setup_s,
            teardown_s: site.teardown_s,
        };
        let sites: Vec<Antennas> = self.site.iter().map(antennas).collect();
        let mut wanting = Vec::new();
        for Member { name, orbit, value } in fleet {
            let orbit = orbit.as_ref();
            let orbit = orbit.ok_or_else(|| anyhow::anyhow!("spacecraft {name}: has no orbit"))?;
            wanting.push(Wanting { name, orbit, value: *value });
        }
        // A receiver that is put on a spacecraft in the middle of its pass locks as at a rise.
        let lock_ms = of.map_or(self.link.lock_s * 1e3, |of| of.channel.lock_ms);
        let lock_ns = (lock_ms * MILLISECOND_NS) as i64;
        give((&sites, &wanting), &self.plan, span, lock_ns, stopped).map(Some)
    }

    /// The modems at both ends, where there are any.
    pub(super) fn modem(
        &self,
        of: Option<&Described>,
        (down, up): (&Direction, &Direction),
    ) -> anyhow::Result<Option<Modem>> {
        let Link { bearer, frame, coding, again_s, .. } = &self.link;
        if *bearer == Bearer::Quic {
            return Ok(None);
        }
        let said = Said { frame: frame.as_deref(), coding: coding.as_deref() };
        let rates = (down.rate_bps, up.rate_bps, *again_s);
        Modem::new(said, of.map(|of| &of.control), rates).map(Some).map_err(anyhow::Error::msg)
    }

    pub(super) fn site_names(&self) -> Vec<String> {
        match self.site.is_empty() {
            true => vec!["station".into()],
            false => self.site.iter().map(|site| site.name.clone()).collect(),
        }
    }
}
