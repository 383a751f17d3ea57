//! Where there is no kernel, everything is left to the portable code.

use crate::fec::reed_solomon::solve::Errors;
use crate::fec::reed_solomon::{Code, Strength};

/// What a check leaves for the solver.
pub(in crate::fec) struct Syndromes;

/// Finds the codewords of a block that are not clean; there is none to be had here.
#[derive(Clone, Debug)]
pub(in crate::fec) enum Checker {}

impl Checker {
    /// `None`: this build has no kernel.
    pub(in crate::fec) const fn new(_: Code, _: usize) -> Option<Self> {
        None
    }

    /// For reports.
    pub(in crate::fec) const fn name(&self) -> &'static str {
        match *self {}
    }

    /// A bit for each codeword that is not clean.
    pub(in crate::fec) const fn dirty(&self, _: &[u8]) -> (u8, Syndromes) {
        match *self {}
    }

    /// The errors of a codeword.
    pub(in crate::fec) const fn solve(
        &self,
        _: Strength,
        _: &Syndromes,
        _: usize,
    ) -> Option<Errors> {
        match *self {}
    }
}
