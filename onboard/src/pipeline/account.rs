//! What became of the packets: none may be missing from the sum.

use serde::Serialize;

use super::{Outcome, Pipeline};

/// What some outcomes stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bunch {
    /// Packets, frames and tiles in units.
    pub kept: u64,
    /// Those that the policy leaves out.
    pub left_out: u64,
    /// Of both, those of a file that waits in its folder until they are stored.
    pub of_files: u64,
    /// Units.
    pub units: u64,
    /// Of them, units of such a file.
    pub units_of_files: u64,
}

impl Bunch {
    /// Adds an outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Keep { packets, .. } => {
                self.kept += packets;
                self.units += 1;
            }
            Outcome::LeaveOut { packets, .. } => self.left_out += packets,
            Outcome::Together { made, .. } => {
                let mut all = Self::default();
                made.iter().for_each(|outcome| all.add(outcome));
                self.join(all.of_file());
            }
        }
    }

    /// The same as part of a file.
    pub fn of_file(self) -> Self {
        Self { of_files: self.kept + self.left_out, units_of_files: self.units, ..self }
    }

    /// Adds another bunch.
    pub fn join(&mut self, other: Self) {
        self.kept += other.kept;
        self.left_out += other.left_out;
        self.of_files += other.of_files;
        self.units += other.units;
        self.units_of_files += other.units_of_files;
    }
}

/// Where every packet, frame and tile is at the end: `taken + own` is the sum of the others, but
/// for `units_lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Taken of the sources since the start.
    pub taken: u64,
    /// Packets of the flight's own housekeeping.
    pub own: u64,
    /// In the store since.
    pub stored: u64,
    /// Left out by the policy and told in a void; of a tile a summary may be stored.
    pub left_out: u64,
    /// Lost: the store could not write them before the end.
    pub lost: u64,
    /// Not stored either, but of a file that is still in its folder: the next start takes them.
    pub again: u64,
    /// Units that are lost, records among them.
    pub units_lost: u64,
}

impl Account {
    /// The account of a flight that stored `stored`, could not write `unstored`, and lost `lost` on
    /// the way.
    pub fn of(pipeline: &Pipeline, stored: Bunch, unstored: Bunch, lost: Bunch) -> Self {
        let counts = pipeline.counts();
        Self {
            taken: counts.taken,
            own: counts.own,
            stored: stored.kept,
            left_out: stored.left_out,
            lost: unstored.kept + unstored.left_out - unstored.of_files + lost.kept + lost.left_out,
            again: unstored.of_files,
            units_lost: unstored.units - unstored.units_of_files + lost.units,
        }
    }

    /// Whether anything was lost.
    pub fn is_short(&self) -> bool {
        self.lost > 0 || self.units_lost > 0
    }
}
