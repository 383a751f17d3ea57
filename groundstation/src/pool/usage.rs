//! What an answer took: money, tokens, energy, time.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::time::Duration;

/// Money in millionths of the station's currency: whole numbers, so that sums are exact.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Cost(pub u64);

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From whole units; what is negative or no number is nothing.
    pub fn from_units(units: f64) -> Self {
        Self((units * 1e6).ceil() as u64)
    }

    /// In whole units.
    pub fn units(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// What is left of it after another; never below nothing.
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Header that states the energy of an answer in joules, as Joule Cloud's services send it.
pub const ENERGY_HEADER: &str = "x-energy-joules";

/// Energy in joules that a header states.
pub fn joules(header: Option<&str>) -> Option<f64> {
    header?.trim().parse().ok()
}

/// Most tokens of one question that are believed: a hundred times what any model reads.
const TOKENS_MAX: u64 = 1_000_000_000;

/// Most joules of one question that are believed: a large hall of machines for a minute.
const JOULES_MAX: f64 = 1e9;

impl Usage {
    /// Without what no question takes: a server's slip, or its lie, would spoil all sums.
    pub fn credible(self) -> Self {
        let tokens = |stated: Option<u64>| stated.filter(|tokens| *tokens <= TOKENS_MAX);
        Self {
            tokens_in: tokens(self.tokens_in),
            tokens_out: tokens(self.tokens_out),
            energy_j: self.energy_j.filter(|joules| (0.0..=JOULES_MAX).contains(joules)),
            ..self
        }
    }
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.units())
    }
}

/// What an answer, or a failure, took. What a pool does not state is none, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tokens read.
    pub tokens_in: Option<u64>,
    /// Tokens written.
    pub tokens_out: Option<u64>,
    /// Price, where the pool itself states it. Where it does not, the station file's price list
    /// tells: adapters leave that to the router.
    pub cost: Option<Cost>,
    /// Energy in joules, where the pool states it.
    pub energy_j: Option<f64>,
    /// Time that it waited in the pool's own queue, where the pool states it.
    pub queue: Option<Duration>,
    /// Time that it ran, where the pool states it.
    pub run: Option<Duration>,
}
