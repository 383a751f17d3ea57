//! The pages of a hello: every counter that fits, with the ranges that fit.

use alloc::{collections::VecDeque, vec::Vec};
use bytes::Bytes;

use super::{
    custody::{Durability, KeyRanges},
    receipted::Receipts,
    wire::{ChannelState, Message},
};
use crate::ids::{KeyPrefix, RangeSet, SeqRange};

/// Counters, and further parts of one, that a hello may name.
pub const STATES_MAX: usize = 4096;
/// Ranges that a hello may name, over all its pages: a megabyte of them.
pub const HELLO_RANGES_MAX: usize = 1 << 16;
/// Ranges of one counter on one page of a hello.
const PART_RANGES: usize = 512;

/// What a hello says of one counter.
pub(super) struct Counted<'a> {
    pub(super) prefix: KeyPrefix,
    pub(super) next: u64,
    pub(super) held: RangeSet,
    pub(super) receipts: &'a Receipts,
}

/// A hello in messages that each fit. Where everything is more than the bounds let through, each
/// counter has its first part before any has its second: what is left out is asked about in no
/// harm, since a hello only helps a ledger to find what it lost.
pub(super) fn hello<'a>(session: u64, counted: impl Iterator<Item = Counted<'a>>) -> Vec<Bytes> {
    let mut waiting: VecDeque<VecDeque<ChannelState>> =
        counted.take(STATES_MAX).map(|of| parts(&of)).collect();
    let (mut states, mut ranges) = (Vec::new(), 0);
    while let Some(mut of) = waiting.pop_front() {
        let Some(state) = of.pop_front() else { continue };
        ranges += state.held.ranges.len() + state.receipted.len();
        if states.len() == STATES_MAX || ranges > HELLO_RANGES_MAX {
            break;
        }
        states.push(state);
        waiting.push_back(of);
    }
    // One full page of ranges is below a quarter of a message.
    let mut pages: Vec<Vec<ChannelState>> = Vec::new();
    let mut room = 0;
    for state in states {
        let weight = 3 + state.held.ranges.len() + state.receipted.len();
        match pages.last_mut() {
            Some(page) if weight <= room => page.push(state),
            _ => {
                pages.push(Vec::from([state]));
                room = 3 * PART_RANGES;
            }
        }
        room = room.saturating_sub(weight);
    }
    if pages.is_empty() {
        pages.push(Vec::new());
    }
    let last = pages.len() - 1;
    let page = |(at, channels)| Message::Hello { session, more: at < last, channels }.encode();
    pages.into_iter().enumerate().map(page).collect()
}

/// A counter in parts: what is held, then what each ledger receipted.
fn parts(of: &Counted<'_>) -> VecDeque<ChannelState> {
    let state = |held: &[SeqRange], receipted: &[SeqRange], ledger, class| ChannelState {
        next: of.next,
        held: KeyRanges::new(of.prefix, held.to_vec()),
        receipted: receipted.to_vec(),
        ledger,
        class,
    };
    let mut held = of.held.ranges().chunks(PART_RANGES);
    let mut parts = VecDeque::new();
    for receipted in of.receipts.iter() {
        for ranges in receipted.ranges.ranges().chunks(PART_RANGES) {
            let held = held.next().unwrap_or_default();
            parts.push_back(state(held, ranges, receipted.ledger, receipted.class));
        }
    }
    for ranges in held {
        parts.push_back(state(ranges, &[], 0, Durability::Local));
    }
    if parts.is_empty() {
        parts.push_back(state(&[], &[], 0, Durability::Local));
    }
    parts
}
