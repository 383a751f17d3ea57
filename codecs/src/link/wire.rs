//! Control messages: length, type, body; big-endian throughout.

use alloc::{string::String, vec::Vec};
use bytes::Bytes;

use super::{
    MAX_CONTROL_BYTES,
    custody::{Durability, KeyRanges, RefusalReason},
    uplink::object::UplinkObject,
};
use crate::{
    ids::{Channel, SeqRange, SpacecraftId, StoreEpoch},
    time::Tai,
};

/// Version of the protocol that this code speaks.
pub const VERSION: u16 = 1;
/// Longest domain name or farewell text, bytes.
pub const MAX_TEXT_BYTES: usize = 255;

/// What a store says of one counter at hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// Next sequence to be given.
    pub next: u64,
    /// Units still on board and not reclaimable.
    pub held: KeyRanges,
    /// Units receipted before, by which ledger and how safely.
    pub receipted: Vec<SeqRange>,
    /// Ledger that receipted them; 0 for none.
    pub ledger: u64,
    /// Class of those receipts.
    pub class: Durability,
}

/// Bounds that a station tells a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest object, bytes.
    pub object_bytes_max: u32,
    /// Largest unit, bytes.
    pub unit_bytes_max: u32,
    /// Objects under way at once.
    pub objects_max: u16,
}

/// A predicted contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedContact {
    /// Rise.
    pub rise: Tai,
    /// Set.
    pub set: Tai,
    /// Predicted rate, bit/s.
    pub rate_bps: u64,
    /// Predicted round trip, ns.
    pub rtt_ns: u64,
}

/// One control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who speaks and what it holds; the last page has `more` unset.
    Hello {
        /// Drawn at random for each connection.
        session: u64,
        /// Another page follows.
        more: bool,
        /// State of each counter.
        channels: Vec<ChannelState>,
    },
    /// What the station accepts and already holds.
    Welcome {
        /// The ledger's random id.
        ledger: u64,
        /// Trusted time.
        time: Tai,
        /// Bounds.
        limits: Limits,
        /// Name of the domain.
        domain: String,
        /// Another page follows.
        more: bool,
        /// Durable ranges; what is absent here is not thereby revoked.
        durable: Vec<KeyRanges>,
    },
    /// These units are safe.
    Receipts {
        /// Which ledger says so.
        ledger: u64,
        /// How safe.
        class: Durability,
        /// The units.
        entries: Vec<KeyRanges>,
    },
    /// These units were not accepted.
    Refusals {
        /// Why.
        reason: RefusalReason,
        /// Not to be sent again before this, or [`NEVER_MS`](super::custody::NEVER_MS).
        retry_after_ms: u32,
        /// The units.
        entries: Vec<KeyRanges>,
    },
    /// Send these again if they are still there.
    Asks {
        /// The units.
        entries: Vec<KeyRanges>,
    },
    /// When the next contacts are expected; the end of a ledger's first words.
    ContactPlan {
        /// In order of rise.
        contacts: Vec<PlannedContact>,
    },
    /// The connection ends on purpose.
    Goodbye {
        /// Why, for people.
        text: String,
    },
    /// Something to be done on board; by radio only, where no stream carries it.
    Uplink {
        /// The whole of it.
        object: UplinkObject,
    },
}

/// Why bytes are no control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length field is 0 or above [`MAX_CONTROL_BYTES`].
    #[error("control message of {0} bytes is outside 1 to {MAX_CONTROL_BYTES}")]
    Length(usize),
    /// The body ends before its fields do.
    #[error("control message of type {0} is cut short")]
    Short(u8),
    /// Bytes follow the last field.
    #[error("control message of type {0} has {1} bytes too many")]
    Trailing(u8, usize),
    /// A field holds a value that the protocol does not know.
    #[error("control message of type {0}: {1} is not valid")]
    Field(u8, &'static str),
    /// A version that this code does not speak.
    #[error("peer speaks protocol version {0}, this side {VERSION}")]
    Version(u16),
    /// A type that this code does not know.
    #[error("control message type {0} is unknown")]
    Type(u8),
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const RECEIPTS: u8 = 3;
const REFUSALS: u8 = 4;
const ASKS: u8 = 5;
const CONTACT_PLAN: u8 = 6;
const GOODBYE: u8 = 7;
const UPLINK: u8 = 8;

/// Big-endian fields from the front of a body; a missing byte is [`WireError::Short`].
struct Fields<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(WireError::Short(self.kind))?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.take().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_be_bytes)
    }

    fn tai(&mut self) -> Result<Tai, WireError> {
        self.take().map(|bytes| Tai(i64::from_be_bytes(bytes)))
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Field(self.kind, field)),
        }
    }

    fn text(&mut self) -> Result<String, WireError> {
        let length = usize::from(self.u8()?);
        let (head, rest) = self.rest.split_at_checked(length).ok_or(WireError::Short(self.kind))?;
        self.rest = rest;
        let text = core::str::from_utf8(head).map_err(|_| WireError::Field(self.kind, "text"))?;
        Ok(String::from(text))
    }

    /// A counted list; `least` is what one element takes at the least, so that a count that lies is
    /// found before anything is allocated for it.
    fn list<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = usize::from(self.u16()?);
        if count * least > self.rest.len() {
            return Err(WireError::Short(self.kind));
        }
        (0..count).map(|_| element(self)).collect()
    }

    fn ranges(&mut self) -> Result<Vec<SeqRange>, WireError> {
        let kind = self.kind;
        let ranges = self.list(16, |fields| {
            SeqRange::new(fields.u64()?, fields.u64()?).ok_or(WireError::Field(kind, "range"))
        })?;
        let ordered = ranges.windows(2).all(|pair| match pair {
            [before, after] => before.last < after.first,
            _ => true,
        });
        if ordered { Ok(ranges) } else { Err(WireError::Field(kind, "order of ranges")) }
    }

    fn key_ranges(&mut self) -> Result<KeyRanges, WireError> {
        Ok(KeyRanges {
            epoch: StoreEpoch(self.u64()?),
            spacecraft: SpacecraftId(self.u16()?),
            channel: Channel(self.u64()?),
            ranges: self.ranges()?,
        })
    }

    fn entries(&mut self) -> Result<Vec<KeyRanges>, WireError> {
        self.list(20, Self::key_ranges)
    }

    fn class(&mut self) -> Result<Durability, WireError> {
        Durability::from_byte(self.u8()?).ok_or(WireError::Field(self.kind, "class"))
    }

    fn done(self, message: Message) -> Result<Message, WireError> {
        match self.rest.len() {
            0 => Ok(message),
            extra => Err(WireError::Trailing(self.kind, extra)),
        }
    }
}

/// Writer of the same fields.
struct Body(Vec<u8>);

impl Body {
    fn put(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    fn count(&mut self, count: usize) -> &mut Self {
        assert!(count <= usize::from(u16::MAX), "lists are paged before they are written");
        self.put((count as u16).to_be_bytes())
    }

    fn text(&mut self, text: &str) -> &mut Self {
        let mut end = text.len().min(MAX_TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.put([end as u8]).put(&text.as_bytes()[..end])
    }

    fn ranges(&mut self, ranges: &[SeqRange]) -> &mut Self {
        self.count(ranges.len());
        for range in ranges {
            self.put(range.first.to_be_bytes()).put(range.last.to_be_bytes());
        }
        self
    }

    fn key_ranges(&mut self, key: &KeyRanges) -> &mut Self {
        self.put(key.epoch.0.to_be_bytes())
            .put(key.spacecraft.0.to_be_bytes())
            .put(key.channel.0.to_be_bytes())
            .ranges(&key.ranges)
    }

    fn entries(&mut self, entries: &[KeyRanges]) -> &mut Self {
        self.count(entries.len());
        entries.iter().for_each(|entry| {
            self.key_ranges(entry);
        });
        self
    }
}

impl Message {
    /// Reads one message: type byte and body, without the length field.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let Some((&kind, rest)) = message.split_first() else {
            return Err(WireError::Length(0));
        };
        let mut fields = Fields { kind, rest };
        let message = match kind {
            HELLO => {
                let version = fields.u16()?;
                if version != VERSION {
                    return Err(WireError::Version(version));
                }
                Self::Hello {
                    session: fields.u64()?,
                    more: fields.flag("more")?,
                    channels: fields.list(39, |fields| {
                        Ok(ChannelState {
                            next: fields.u64()?,
                            held: fields.key_ranges()?,
                            ledger: fields.u64()?,
                            class: fields.class()?,
                            receipted: fields.ranges()?,
                        })
                    })?,
                }
            }
            WELCOME => Self::Welcome {
                ledger: fields.u64()?,
                time: fields.tai()?,
                limits: Limits {
                    object_bytes_max: fields.u32()?,
                    unit_bytes_max: fields.u32()?,
                    objects_max: fields.u16()?,
                },
                domain: fields.text()?,
                more: fields.flag("more")?,
                durable: fields.entries()?,
            },
            RECEIPTS => Self::Receipts {
                ledger: fields.u64()?,
                class: fields.class()?,
                entries: fields.entries()?,
            },
            REFUSALS => Self::Refusals {
                reason: RefusalReason::from_byte(fields.u8()?)
                    .ok_or(WireError::Field(kind, "reason"))?,
                retry_after_ms: fields.u32()?,
                entries: fields.entries()?,
            },
            ASKS => Self::Asks { entries: fields.entries()? },
            CONTACT_PLAN => Self::ContactPlan {
                contacts: fields.list(32, |fields| {
                    Ok(PlannedContact {
                        rise: fields.tai()?,
                        set: fields.tai()?,
                        rate_bps: fields.u64()?,
                        rtt_ns: fields.u64()?,
                    })
                })?,
            },
            GOODBYE => Self::Goodbye { text: fields.text()? },
            UPLINK => {
                let object = UplinkObject::decode(core::mem::take(&mut fields.rest));
                Self::Uplink { object: object.map_err(|_| WireError::Field(kind, "object"))? }
            }
            unknown => return Err(WireError::Type(unknown)),
        };
        fields.done(message)
    }

    /// Writes length field, type byte and body.
    ///
    /// # Panics
    /// When the message is longer than [`MAX_CONTROL_BYTES`]: long lists are paged before.
    pub fn encode(&self) -> Bytes {
        let mut body = Body(Vec::from([0; 4]));
        match self {
            Self::Hello { session, more, channels } => {
                body.put([HELLO]).put(VERSION.to_be_bytes()).put(session.to_be_bytes());
                body.put([u8::from(*more)]).count(channels.len());
                for channel in channels {
                    body.put(channel.next.to_be_bytes()).key_ranges(&channel.held);
                    body.put(channel.ledger.to_be_bytes()).put([channel.class as u8]);
                    body.ranges(&channel.receipted);
                }
            }
            Self::Welcome { ledger, time, limits, domain, more, durable } => {
                body.put([WELCOME]).put(ledger.to_be_bytes()).put(time.0.to_be_bytes());
                body.put(limits.object_bytes_max.to_be_bytes());
                body.put(limits.unit_bytes_max.to_be_bytes());
                body.put(limits.objects_max.to_be_bytes());
                body.text(domain).put([u8::from(*more)]).entries(durable);
            }
            Self::Receipts { ledger, class, entries } => {
                body.put([RECEIPTS]).put(ledger.to_be_bytes()).put([*class as u8]).entries(entries);
            }
            Self::Refusals { reason, retry_after_ms, entries } => {
                body.put([REFUSALS, *reason as u8]).put(retry_after_ms.to_be_bytes());
                body.entries(entries);
            }
            Self::Asks { entries } => {
                body.put([ASKS]).entries(entries);
            }
            Self::Uplink { object } => {
                body.put([UPLINK]).put(object.encode());
            }
            Self::ContactPlan { contacts } => {
                body.put([CONTACT_PLAN]).count(contacts.len());
                for contact in contacts {
                    body.put(contact.rise.0.to_be_bytes()).put(contact.set.0.to_be_bytes());
                    body.put(contact.rate_bps.to_be_bytes()).put(contact.rtt_ns.to_be_bytes());
                }
            }
            Self::Goodbye { text } => {
                body.put([GOODBYE]).text(text);
            }
        }
        let length = body.0.len();
        assert!(length <= MAX_CONTROL_BYTES, "lists are paged before they are written");
        let field = ((length - 4) as u32).to_be_bytes();
        body.0.iter_mut().zip(field).for_each(|(slot, byte)| *slot = byte);
        body.0.into()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ids::RangeSet;
    use proptest::prelude::*;

    fn ranges() -> impl Strategy<Value = Vec<SeqRange>> {
        prop::collection::vec((0u64..1 << 40, 0u64..1000), 0..6).prop_map(|pairs| {
            let set: RangeSet = pairs
                .into_iter()
                .map(|(first, length)| SeqRange { first, last: first + length })
                .collect();
            set.ranges().to_vec()
        })
    }

    fn key_ranges() -> impl Strategy<Value = KeyRanges> {
        (any::<u64>(), any::<u16>(), any::<u64>(), ranges()).prop_map(
            |(epoch, spacecraft, channel, ranges)| KeyRanges {
                epoch: StoreEpoch(epoch),
                spacecraft: SpacecraftId(spacecraft),
                channel: Channel(channel),
                ranges,
            },
        )
    }

    fn entries() -> impl Strategy<Value = Vec<KeyRanges>> {
        prop::collection::vec(key_ranges(), 0..4)
    }

    /// Any message that the protocol can carry.
    pub(crate) fn message() -> impl Strategy<Value = Message> {
        let channel = (any::<u64>(), key_ranges(), any::<u64>(), ranges()).prop_map(
            |(next, held, ledger, receipted)| ChannelState {
                next,
                held,
                receipted,
                ledger,
                class: Durability::Local,
            },
        );
        prop_oneof![
            (any::<u64>(), any::<bool>(), prop::collection::vec(channel, 0..3))
                .prop_map(|(session, more, channels)| Message::Hello { session, more, channels }),
            (any::<u64>(), any::<i64>(), "[a-z]{0,20}", any::<bool>(), entries()).prop_map(
                |(ledger, time, domain, more, durable)| Message::Welcome {
                    ledger,
                    time: Tai(time),
                    limits: Limits { object_bytes_max: 1, unit_bytes_max: 2, objects_max: 3 },
                    domain,
                    more,
                    durable,
                }
            ),
            (any::<u64>(), entries()).prop_map(|(ledger, entries)| Message::Receipts {
                ledger,
                class: Durability::ObjectStore,
                entries,
            }),
            (any::<u32>(), entries()).prop_map(|(retry_after_ms, entries)| Message::Refusals {
                reason: RefusalReason::Full,
                retry_after_ms,
                entries,
            }),
            entries().prop_map(|entries| Message::Asks { entries }),
            prop::collection::vec((any::<i64>(), any::<u64>()), 0..4).prop_map(|pairs| {
                let contacts = pairs
                    .into_iter()
                    .map(|(rise, rate_bps)| PlannedContact {
                        rise: Tai(rise),
                        set: Tai(rise),
                        rate_bps,
                        rtt_ns: rate_bps,
                    })
                    .collect();
                Message::ContactPlan { contacts }
            }),
            "[ -~]{0,60}".prop_map(|text| Message::Goodbye { text }),
        ]
    }

    proptest! {
        #[test]
        fn a_message_cut_short_is_an_error(message in message()) {
            let bytes = message.encode();
            for end in 4..bytes.len() {
                prop_assert!(Message::decode(&bytes[4..end]).is_err());
            }
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..9) {
            let mut message = Vec::from([kind, 0, 1]);
            message.extend_from_slice(&garbage);
            let _ = Message::decode(&message);
        }
    }

    #[test]
    fn a_count_that_lies_is_found_before_allocating() {
        assert_eq!(Message::decode(&[ASKS, 0xff, 0xff]), Err(WireError::Short(ASKS)));
    }

    #[test]
    fn goodbye_has_these_bytes() {
        let message = Message::Goodbye { text: "set".into() };
        assert_eq!(&*message.encode(), b"\x00\x00\x00\x05\x07\x03set");
    }
}
