//! What a domain says to one store over the air: signed, counted, and otherwise ignored.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::{
    ids::{Apid, Origin},
    link::wire::{MAX_TEXT_BYTES, Message},
    packet::space::{PacketHeader, PacketView, SequenceCount, build},
    time::Tai,
};

/// Most bytes of a packet: it fits one TC frame (CCSDS 232.0-B-4 §4.1.2.7: 1,024 bytes) with
/// segment header and error control.
pub const SIGNED_BYTES_MAX: usize = 1016;
/// Bytes before the domain's name.
pub const SIGNED_HEADER_BYTES: usize = 48;
/// Bytes of the signature.
pub const SIGNATURE_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"GTR1";
const VERSION: u8 = 1;
/// Signed with it, never sent: a signature for one purpose is none for another.
const PURPOSE: &[u8] = b"groundtrack rf uplink 1\0";

/// One statement of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Whose.
    pub domain: String,
    /// Which ledger of it.
    pub ledger: u64,
    /// The store that it is for.
    pub origin: Origin,
    /// Rises with every statement of the domain to this store.
    pub counter: u64,
    /// When it was made.
    pub issued: Tai,
    /// Receipts, asks, the contact plan or an uplink object of the domain's; none: it is the time
    /// that counts.
    pub message: Option<Message>,
}

/// Why a packet was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Ignored {
    /// Not a statement, or of a version that is not known.
    #[error("the packet is no signed statement")]
    NotAStatement,
    /// Its bytes contradict themselves, or say what may not be said this way.
    #[error("the statement is malformed")]
    Malformed,
    /// Another domain's.
    #[error("the statement is another domain's")]
    Domain,
    /// For another store.
    #[error("the statement is for another store")]
    Origin,
    /// The domain's key did not sign it.
    #[error("the signature does not hold")]
    Signature,
    /// Heard before, or older than what was heard.
    #[error("the counter did not rise")]
    Counter,
}

impl Ignored {
    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAStatement => "not-a-statement",
            Self::Malformed => "malformed",
            Self::Domain => "other-domain",
            Self::Origin => "other-store",
            Self::Signature => "signature",
            Self::Counter => "counter",
        }
    }
}

impl Statement {
    /// Bytes of the packet that says it.
    pub fn packet_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.encode().len());
        6 + SIGNED_HEADER_BYTES + self.domain.len() + message + SIGNATURE_BYTES
    }

    /// Signs it and writes the packet; none where it would be above [`SIGNED_BYTES_MAX`], the
    /// domain's name above 255 bytes, or the application no 11 bits.
    pub fn packet(&self, key: &[u8; 32], apid: Apid, count: SequenceCount) -> Option<Vec<u8>> {
        if self.domain.len() > MAX_TEXT_BYTES || self.packet_bytes() > SIGNED_BYTES_MAX {
            return None;
        }
        let mut out = Vec::from(PURPOSE);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, self.domain.len() as u8, 0, 0]);
        out.extend_from_slice(&self.ledger.to_be_bytes());
        out.extend_from_slice(&self.origin.0);
        out.extend_from_slice(&self.counter.to_be_bytes());
        out.extend_from_slice(&self.issued.0.to_be_bytes());
        debug_assert_eq!(out.len(), PURPOSE.len() + SIGNED_HEADER_BYTES);
        out.extend_from_slice(self.domain.as_bytes());
        if let Some(message) = &self.message {
            out.extend_from_slice(&message.encode());
        }
        let signature = SigningKey::from_bytes(key).sign(&out);
        out.extend_from_slice(&signature.to_bytes());
        let mut header = PacketHeader::telemetry(apid, count).with_secondary_header();
        header.command = true;
        build(&header, out.get(PURPOSE.len()..)?).ok()
    }

    /// Reads all but the signature, which follows what is read.
    fn read(signed: &[u8]) -> Result<Self, Ignored> {
        let (head, rest) = signed.split_first_chunk().ok_or(Ignored::NotAStatement)?;
        let head: &[u8; SIGNED_HEADER_BYTES] = head;
        let mut fields = Fields(head);
        if fields.take() != MAGIC {
            return Err(Ignored::NotAStatement);
        }
        let [version, domain, zeros @ ..] = fields.take::<4>();
        if version != VERSION {
            return Err(Ignored::NotAStatement);
        }
        let ledger = u64::from_be_bytes(fields.take());
        let origin = Origin(fields.take());
        let counter = u64::from_be_bytes(fields.take());
        let issued = Tai(i64::from_be_bytes(fields.take()));
        let (domain, rest) = rest.split_at_checked(domain.into()).ok_or(Ignored::Malformed)?;
        let domain = core::str::from_utf8(domain).map_err(|_| Ignored::Malformed)?.into();
        if zeros != [0; 2] {
            return Err(Ignored::Malformed);
        }
        let message = match rest {
            [] => None,
            bytes => Some(message(bytes, ledger)?),
        };
        if let Some(Message::Uplink { object }) = &message
            && object.key.counter.domain != domain
        {
            return Err(Ignored::Malformed);
        }
        Ok(Self { domain, ledger, origin, counter, issued, message })
    }
}

/// Reads the one message of a statement: one of those that may be said this way.
fn message(bytes: &[u8], of: u64) -> Result<Message, Ignored> {
    let (length, body) = bytes.split_first_chunk().ok_or(Ignored::Malformed)?;
    if u32::from_be_bytes(*length) as usize != body.len() {
        return Err(Ignored::Malformed);
    }
    match Message::decode(body).map_err(|_| Ignored::Malformed)? {
        Message::Receipts { ledger, .. } if ledger != of => Err(Ignored::Malformed),
        message @ (Message::Receipts { .. }
        | Message::Asks { .. }
        | Message::ContactPlan { .. }
        | Message::Uplink { .. }) => Ok(message),
        _ => Err(Ignored::Malformed),
    }
}

/// The spacecraft's ear: believes one domain's key, and each statement once.
#[derive(Clone, Debug)]
pub struct Listener {
    domain: String,
    key: VerifyingKey,
    origin: Origin,
    counter: u64,
    ignored: BTreeMap<&'static str, u64>,
}

impl Listener {
    /// Believes what `key` signs in the name of `domain` for the store of `origin`; none where the
    /// 32 bytes are no Ed25519 key. `counter` is the highest that was heard before, 0 for none.
    pub fn new(domain: &str, key: &[u8; 32], origin: Origin, counter: u64) -> Option<Self> {
        let key = VerifyingKey::from_bytes(key).ok()?;
        Some(Self { domain: domain.into(), key, origin, counter, ignored: BTreeMap::new() })
    }

    /// The highest counter heard. To be kept together with what a statement led to.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// Packets ignored, by reason.
    pub fn ignored(&self) -> &BTreeMap<&'static str, u64> {
        &self.ignored
    }

    /// Hears a packet; what is not to be believed is counted.
    pub fn hear(&mut self, packet: &PacketView<'_>) -> Result<Statement, Ignored> {
        let heard = self.judge(packet);
        match &heard {
            Ok(statement) => self.counter = statement.counter,
            Err(reason) => *self.ignored.entry(reason.name()).or_default() += 1,
        }
        heard
    }

    fn judge(&self, packet: &PacketView<'_>) -> Result<Statement, Ignored> {
        if !packet.header().command {
            return Err(Ignored::NotAStatement);
        }
        let (signed, signature) =
            packet.data().split_last_chunk::<SIGNATURE_BYTES>().ok_or(Ignored::NotAStatement)?;
        if packet.bytes().len() > SIGNED_BYTES_MAX {
            return Err(Ignored::Malformed);
        }
        let statement = Statement::read(signed)?;
        if statement.domain != self.domain {
            return Err(Ignored::Domain);
        }
        if statement.origin != self.origin {
            return Err(Ignored::Origin);
        }
        let text = [PURPOSE, signed].concat();
        let signature = Signature::from_bytes(signature);
        self.key.verify_strict(&text, &signature).map_err(|_| Ignored::Signature)?;
        if statement.counter <= self.counter {
            return Err(Ignored::Counter);
        }
        Ok(statement)
    }
}

/// Fields of a header whose length was proved.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((head, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *head
    }
}

#[cfg(test)]
mod tests {
    use super::super::SIGNED_APID;
    use super::*;
    use crate::{
        ids::{Channel, SeqRange, SpacecraftId, StoreEpoch},
        link::custody::{Durability, KeyRanges},
    };
    use alloc::vec;

    const KEY: [u8; 32] = [7; 32];
    const GOLDEN: &str = "1fd1c00000a8475452310105000000000000000000030202020202020202020202020202\
        0202000000000000000900000000000003e86f7262697400000030030000000000000003010001000000000000\
        000400078000000000000002000100000000000000000000000000000005";

    fn statement() -> Statement {
        let ranges = KeyRanges {
            epoch: StoreEpoch(4),
            spacecraft: SpacecraftId(7),
            channel: Channel::stream(2),
            ranges: vec![SeqRange { first: 0, last: 5 }],
        };
        Statement {
            domain: "orbit".into(),
            ledger: 3,
            origin: Origin([2; 16]),
            counter: 9,
            issued: Tai(1000),
            message: Some(Message::Receipts {
                ledger: 3,
                class: Durability::Local,
                entries: vec![ranges],
            }),
        }
    }

    fn listener() -> Listener {
        let public = SigningKey::from_bytes(&KEY).verifying_key().to_bytes();
        Listener::new("orbit", &public, Origin([2; 16]), 0).unwrap()
    }

    fn hear(listener: &mut Listener, packet: &[u8]) -> Result<Statement, Ignored> {
        listener.hear(&PacketView::parse(packet).unwrap())
    }

    fn signed(statement: &Statement) -> Vec<u8> {
        statement.packet(&KEY, SIGNED_APID, SequenceCount(0)).unwrap()
    }

    #[test]
    fn golden_bytes_are_signed_and_believed() {
        let packet = signed(&statement());
        assert_eq!(packet.len(), statement().packet_bytes());
        let (body, _) = packet.split_at(packet.len() - SIGNATURE_BYTES);
        let hex: String = body.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(hear(&mut listener(), &packet), Ok(statement()));
        let time = Statement { message: None, ..statement() };
        assert_eq!(hear(&mut listener(), &signed(&time)), Ok(time));
    }

    #[test]
    fn every_wrong_bit_and_every_cut_is_ignored() {
        let packet = signed(&statement());
        // Application, count and grouping carry nothing that is acted on.
        for bit in 48..packet.len() * 8 {
            let mut damaged = packet.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(hear(&mut listener(), &damaged).is_err(), "bit {bit}");
        }
        for end in 1..packet.len() - 6 {
            let header = PacketView::parse(&packet).unwrap().header();
            let cut = build(&header, &packet[6..6 + end]).unwrap();
            assert!(hear(&mut listener(), &cut).is_err(), "{end}");
        }
    }

    #[test]
    fn replays_and_strangers_are_counted_by_reason() {
        let mut listener = listener();
        assert!(hear(&mut listener, &signed(&statement())).is_ok());
        assert_eq!(hear(&mut listener, &signed(&statement())), Err(Ignored::Counter));
        let older = Statement { counter: 8, ..statement() };
        assert_eq!(hear(&mut listener, &signed(&older)), Err(Ignored::Counter));
        let other = Statement { domain: "other".into(), counter: 10, ..statement() };
        assert_eq!(hear(&mut listener, &signed(&other)), Err(Ignored::Domain));
        let other = Statement { origin: Origin([3; 16]), counter: 10, ..statement() };
        assert_eq!(hear(&mut listener, &signed(&other)), Err(Ignored::Origin));
        let next = Statement { counter: 10, ..statement() };
        let forged = next.packet(&[8; 32], SIGNED_APID, SequenceCount(0)).unwrap();
        assert_eq!(hear(&mut listener, &forged), Err(Ignored::Signature));
        let command = Message::Goodbye { text: "away".into() };
        let command = Statement { message: Some(command), ..next.clone() };
        assert_eq!(hear(&mut listener, &signed(&command)), Err(Ignored::Malformed));
        let counts: Vec<_> = listener.ignored().iter().map(|(name, n)| (*name, *n)).collect();
        let wanted = [
            ("counter", 2),
            ("malformed", 1),
            ("other-domain", 1),
            ("other-store", 1),
            ("signature", 1),
        ];
        assert_eq!(counts, wanted);
        // None of them moved the counter.
        assert!(hear(&mut listener, &signed(&next)).is_ok());
    }

    #[test]
    fn what_does_not_fit_a_command_frame_is_not_written() {
        let ranges = (0..60).map(|at| SeqRange { first: at * 3, last: at * 3 + 1 }).collect();
        let Some(Message::Receipts { mut entries, .. }) = statement().message else { panic!() };
        entries[0].ranges = ranges;
        let message = Some(Message::Receipts { ledger: 3, class: Durability::Local, entries });
        let long = Statement { message, ..statement() };
        assert_eq!(long.packet(&KEY, SIGNED_APID, SequenceCount(0)), None);
    }
}
