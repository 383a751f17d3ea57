//! `application/vnd.amazon.eventstream`: bytes in, messages out.
//!
//! ```text
//! | length u32 | length of headers u32 | CRC u32 | headers | payload | CRC u32 |
//! ```
//!
//! Amazon's crate for this (`aws-smithy-eventstream` 0.61) brings six crates for what is a page here,
//! and waits for as many bytes as a message states before it looks at any checksum. Nothing here
//! panics, or holds more than [`MESSAGE_BYTES_MAX`] on anybody's word.

use bytes::Bytes;
use crc::{CRC_32_ISO_HDLC, Crc};

/// Most bytes of one message: Bedrock's parts have up to a million bytes, in base64.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Bytes before the headers.
const PRELUDE_BYTES: usize = 12;

/// Bytes around headers and payload.
const FRAME_BYTES: usize = PRELUDE_BYTES + 4;

/// The check that stands behind a prelude and a message: CRC-32 as gzip has it.
pub fn check(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Headers that are texts, in order; those of other types say nothing that is needed.
    pub headers: Vec<(String, String)>,
    /// What it carries.
    pub payload: Bytes,
}

impl Message {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The message as it is sent; none where it is longer than anyone reads, or a header is.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            headers.push(u8::try_from(name.len()).ok().filter(|length| *length > 0)?);
            headers.extend_from_slice(name.as_bytes());
            headers.push(7);
            headers.extend_from_slice(&u16::try_from(value.len()).ok()?.to_be_bytes());
            headers.extend_from_slice(value.as_bytes());
        }
        let length = FRAME_BYTES + headers.len() + self.payload.len();
        if length > MESSAGE_BYTES_MAX {
            return None;
        }
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
        out.extend_from_slice(&check(&out).to_be_bytes());
        out.extend_from_slice(&headers);
        out.extend_from_slice(&self.payload);
        out.extend_from_slice(&check(&out).to_be_bytes());
        Some(out)
    }
}

/// What is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first twelve bytes are damaged.
    #[error("a message whose beginning is damaged")]
    Prelude,
    /// It states a length that no message has.
    #[error("a message of {length} bytes, {headers} of them headers; at most {MESSAGE_BYTES_MAX}")]
    Length {
        /// Stated length.
        length: u32,
        /// Stated length of headers.
        headers: u32,
    },
    /// What it holds is damaged.
    #[error("a message that is damaged")]
    Message,
    /// Its headers end early, or have a type that nobody knows.
    #[error("a message whose headers break off at byte {0}")]
    Headers(usize),
}

/// A stream that is read.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
}

impl Reader {
    /// Takes bytes; gives the messages that they complete. After an error the stream is no good.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, FrameError> {
        let mut messages = Vec::new();
        let mut rest = bytes;
        loop {
            // Only what a message still lacks is held: a long piece of many is never copied whole.
            let wanted = self.wanted()?;
            let (part, after) = rest.split_at(rest.len().min(wanted - self.held.len()));
            self.held.extend_from_slice(part);
            rest = after;
            if self.held.len() < wanted {
                return Ok(messages);
            }
            if wanted > PRELUDE_BYTES {
                messages.push(read(&std::mem::take(&mut self.held))?);
            }
        }
    }

    /// Bytes that have to be held before anything more is known.
    fn wanted(&self) -> Result<usize, FrameError> {
        if self.held.len() < PRELUDE_BYTES {
            return Ok(PRELUDE_BYTES);
        }
        let [length, headers, stated] = [0, 4, 8].map(|at| word(&self.held, at).unwrap_or(0));
        if check(self.held.get(..8).unwrap_or_default()) != stated {
            return Err(FrameError::Prelude);
        }
        let wanted = length as usize;
        let least = FRAME_BYTES.checked_add(headers as usize);
        match least.is_some_and(|least| least <= wanted) && wanted <= MESSAGE_BYTES_MAX {
            true => Ok(wanted),
            false => Err(FrameError::Length { length, headers }),
        }
    }

    /// Whether the stream may end here: no message has begun.
    pub fn is_between(&self) -> bool {
        self.held.is_empty()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Reads a whole message, whose lengths were checked.
fn read(message: &[u8]) -> Result<Message, FrameError> {
    let end = message.len().saturating_sub(4);
    let (held, stated) = (message.get(..end), word(message, end));
    let held = held.filter(|held| Some(check(held)) == stated).ok_or(FrameError::Message)?;
    let length = word(held, 4).unwrap_or(0) as usize;
    let body = held.get(PRELUDE_BYTES..).unwrap_or_default();
    let (headers, payload) = body.split_at_checked(length).ok_or(FrameError::Headers(0))?;
    Ok(Message { headers: texts(headers)?, payload: Bytes::copy_from_slice(payload) })
}

fn texts(headers: &[u8]) -> Result<Vec<(String, String)>, FrameError> {
    let mut texts = Vec::new();
    let mut rest = headers;
    while !rest.is_empty() {
        let cut = FrameError::Headers(headers.len() - rest.len());
        let (name, value, after) = one(rest).ok_or(cut)?;
        if let Some(value) = value {
            texts.push((name, value));
        }
        rest = after;
    }
    Ok(texts)
}

/// The first header: its name, its value where that is a text, and what follows.
fn one(bytes: &[u8]) -> Option<(String, Option<String>, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (size, rest) = match kind {
        // True and false, a byte, 16, 32 and 64 bits, a time, a UUID: their type is their length.
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        9 => (16, rest),
        // Bytes and texts say theirs.
        6 | 7 => {
            let (size, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*size)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(size)?;
    let text = (*kind == 7).then(|| String::from_utf8_lossy(value).into_owned());
    Some((String::from_utf8_lossy(name).into_owned(), text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(headers: &[(&str, &str)], payload: &str) -> Message {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Message { headers: headers.collect(), payload: Bytes::copy_from_slice(payload.as_bytes()) }
    }

    /// An empty message, byte for byte: lengths, their CRC-32, and the CRC-32 of all.
    const EMPTY: [u8; 16] =
        [0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xC2, 0x48, 0xEB, 0x7D, 0x98, 0xC8, 0xFF];

    #[test]
    fn an_empty_message_has_the_bytes_that_it_has_elsewhere() {
        assert_eq!(Message::default().encode().unwrap(), EMPTY);
        assert_eq!(Reader::default().push(&EMPTY).unwrap(), [Message::default()]);
    }

    #[test]
    fn headers_of_every_type_are_passed_over_to_the_texts() {
        let mut headers = Vec::new();
        for (kind, size) in [(0u8, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            headers.extend([1, b'x', kind]);
            headers.extend(vec![0xFF; size]);
        }
        headers.extend(*b"\x01y\x06\x00\x02\xFF\xFF\x02:t\x07\x00\x03abc");
        assert_eq!(texts(&headers).unwrap(), [(":t".to_owned(), "abc".to_owned())]);
        for end in 1..headers.len() {
            let _ = texts(&headers[..end]);
        }
        assert_eq!(texts(b"\x01z\x0A"), Err(FrameError::Headers(0)));
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_no_length_is_believed() {
        let whole = message(&[(":event-type", "metadata")], "{}").encode().unwrap();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Reader::default().push(&damaged).is_err(), "bit {bit}");
        }
        for (length, headers) in [(15, 0), (u32::MAX, 0), (16, 1), (100, u32::MAX), (0, 0)] {
            let mut prelude = [length.to_be_bytes(), headers.to_be_bytes()].concat();
            prelude.extend(check(&prelude).to_be_bytes());
            let refused = Reader::default().push(&prelude);
            assert_eq!(refused, Err(FrameError::Length { length, headers }));
        }
        let long = Message { payload: vec![0; MESSAGE_BYTES_MAX].into(), ..Message::default() };
        assert_eq!(long.encode(), None);
    }

    proptest! {
        #[test]
        fn messages_come_back_wherever_the_bytes_are_cut(
            sent in prop::collection::vec(
                (prop::collection::vec(("[a-z:]{1,9}", "[a-z]{0,9}"), 0..4), "[a-z{}]{0,40}"), 0..5),
            cuts in prop::collection::vec(1usize..30, 0..40),
        ) {
            let sent: Vec<_> = sent.into_iter().map(|(headers, payload)| {
                Message { headers, payload: payload.into() }
            }).collect();
            let bytes = sent.iter().flat_map(|of| of.encode().unwrap()).collect::<Vec<_>>();
            let (mut reader, mut read, mut rest) = (Reader::default(), Vec::new(), &bytes[..]);
            for cut in cuts {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                read.extend(reader.push(part).unwrap());
                rest = after;
            }
            read.extend(reader.push(rest).unwrap());
            prop_assert_eq!(read, sent);
            prop_assert!(reader.is_between());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::default().push(&bytes);
            let _ = texts(&bytes);
        }
    }
}
