//! What stands in for kernels where no processor of this kind has any.

use super::Syndromes;
use super::reed_solomon::Kernel;
use crate::fec::reed_solomon::solve::Errors;
use crate::fec::reed_solomon::{Code, Strength};

/// No value of it exists: the portable code does the work.
#[derive(Clone, Debug)]
pub(in crate::fec) enum Checker {}

impl Checker {
    pub(in crate::fec) const fn new(_: Kernel, _: Code, _: usize) -> Option<Self> {
        None
    }

    pub(in crate::fec) const fn kernel(&self) -> Kernel {
        match *self {}
    }

    pub(in crate::fec) const fn dirty(&self, _: &[u8], _: &mut Syndromes) -> u8 {
        match *self {}
    }

    pub(in crate::fec) const fn solve(
        &self,
        _: Strength,
        _: &Syndromes,
        _: usize,
    ) -> Option<Errors> {
        match *self {}
    }
}
