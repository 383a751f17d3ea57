//! Elements that say little of the days that a scenario flies.

use anyhow::Context as _;

use super::{Files, Scenario};

impl Scenario {
    /// A warning where elements are too old or too young for it; none where none are.
    ///
    /// # Errors
    /// Elements that can't be read, or files that are not there.
    pub fn warning_of_age(&self, files: Files<'_>) -> anyhow::Result<Option<String>> {
        const DAY_NS: f64 = 86_400e9;
        let end = self.start().plus((self.duration_s * 1_000_000_000) as i64);
        let fleet = self.members(files).with_context(|| self.file.clone())?;
        let old = fleet.iter().filter_map(|member| {
            let orbit = member.orbit.as_ref()?;
            let off_ns = [self.start(), end].map(|at| at.since(orbit.epoch()).abs());
            let days = off_ns.into_iter().max()? as f64 / DAY_NS;
            (days > orbit.good_for_days()).then_some((days, &member.name))
        });
        let old: Vec<_> = old.collect();
        let Some((days, name)) = old.iter().max_by(|a, b| a.0.total_cmp(&b.0)) else {
            return Ok(None);
        };
        let (some, all) = (old.len(), fleet.len());
        Ok(Some(format!(
            "the elements of {some} of {all} spacecraft say little of its days: those of {name} are \
             {days:.0} days off. Contacts are not where they would be; their number and length are"
        )))
    }
}
