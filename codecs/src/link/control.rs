//! Control streams: messages out of bytes of any cut, long lists on several pages.

use alloc::{collections::VecDeque, vec::Vec};

use super::{
    MAX_CONTROL_BYTES,
    custody::KeyRanges,
    wire::{Message, WireError},
};

/// Ranges in one message; longer lists are paged.
pub const RANGES_PER_MESSAGE: usize = 1024;

/// Splits entries into pages that each fit one message.
pub fn pages(entries: impl IntoIterator<Item = KeyRanges>) -> Vec<Vec<KeyRanges>> {
    let mut pages = Vec::new();
    let mut page = Vec::new();
    let mut room = RANGES_PER_MESSAGE;
    for KeyRanges { epoch, spacecraft, channel, ranges } in entries {
        let mut rest = ranges.as_slice();
        while !rest.is_empty() {
            // An entry's own fields weigh about as much as one range.
            if room < 2 {
                pages.push(core::mem::take(&mut page));
                room = RANGES_PER_MESSAGE;
            }
            let (head, tail) = rest.split_at(rest.len().min(room - 1));
            room -= head.len() + 1;
            page.push(KeyRanges { epoch, spacecraft, channel, ranges: head.to_vec() });
            rest = tail;
        }
    }
    if !page.is_empty() {
        pages.push(page);
    }
    pages
}

/// Cuts a control stream into messages.
#[derive(Debug, Default)]
pub struct ControlReader {
    pending: VecDeque<u8>,
}

impl ControlReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
    }

    /// The next whole message; an error ends the stream, since nothing after it can be trusted.
    ///
    /// Call it until it says `None` after every [`push`](Self::push): what is buffered stays below
    /// one message and one push.
    pub fn next_message(&mut self) -> Result<Option<Message>, WireError> {
        let mut field = [0u8; 4];
        if self.pending.len() < field.len() {
            return Ok(None);
        }
        field.iter_mut().zip(&self.pending).for_each(|(slot, byte)| *slot = *byte);
        let length = u32::from_be_bytes(field) as usize;
        if length == 0 || length > MAX_CONTROL_BYTES - field.len() {
            return Err(WireError::Length(length));
        }
        if self.pending.len() < field.len() + length {
            return Ok(None);
        }
        self.pending.drain(..field.len());
        let message: Vec<u8> = self.pending.drain(..length).collect();
        Message::decode(&message).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{Channel, SeqRange, SpacecraftId, StoreEpoch},
        link::wire::tests::message,
    };
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_come_back_however_the_stream_is_cut(
            sent in prop::collection::vec(message(), 1..5),
            chunk in 1usize..200,
        ) {
            let stream: Vec<u8> = sent.iter().flat_map(|message| message.encode()).collect();
            let mut reader = ControlReader::new();
            let mut received = Vec::new();
            for part in stream.chunks(chunk) {
                reader.push(part);
                while let Some(message) = reader.next_message().unwrap() {
                    received.push(message);
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn pages_hold_everything_and_fit(counts in prop::collection::vec(0usize..3000, 0..5)) {
            let long: Vec<KeyRanges> = counts.iter().enumerate().map(|(number, count)| KeyRanges {
                epoch: StoreEpoch(1),
                spacecraft: SpacecraftId(7),
                channel: Channel(number as u64),
                ranges: (0..*count as u64).map(|at| SeqRange { first: 2 * at, last: 2 * at }).collect(),
            }).collect();
            let pages = pages(long);
            let total: usize = pages.iter().flatten().map(|entry| entry.ranges.len()).sum();
            prop_assert_eq!(total, counts.iter().sum::<usize>());
            for entries in pages {
                let length = Message::Asks { entries }.encode().len();
                prop_assert!(length <= MAX_CONTROL_BYTES);
            }
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = ControlReader::new();
            reader.push(&garbage);
            while let Ok(Some(_)) = reader.next_message() {}
        }
    }
}
