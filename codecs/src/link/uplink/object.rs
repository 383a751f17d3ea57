//! Uplink objects: a header, the domain's name, the content; one object a stream of the ground's.

use alloc::{string::String, vec::Vec};
use bytes::Bytes;

use super::{MAX_BODY_BYTES, MAX_DOMAIN_BYTES, UplinkCounter, UplinkKey};
use crate::{
    fec::crc::{Crc32c, crc32c},
    ids::{Channel, SpacecraftId},
    time::Tai,
};

const MAGIC: [u8; 4] = *b"GTU1";
const VERSION: u8 = 1;
/// Bytes before the domain's name.
pub const HEADER_BYTES: usize = 64;
/// Longest object, bytes.
pub const MAX_UPLINK_BYTES: usize = HEADER_BYTES + MAX_DOMAIN_BYTES + MAX_BODY_BYTES;
/// In the field of the expiry: it never expires.
const NEVER: i64 = i64::MAX;

/// One thing to be done on board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkObject {
    /// Its name.
    pub key: UplinkKey,
    /// What the content is; see [`ContentKind`](super::ContentKind).
    pub kind: u8,
    /// Higher first.
    pub priority: u8,
    /// When it was numbered.
    pub created: Tai,
    /// Not to be begun from here on; none: never.
    pub expires: Option<Tai>,
    /// The content.
    pub body: Bytes,
}

/// Why bytes are no uplink object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UplinkError {
    /// A field holds a value that this version does not know.
    #[error("uplink object: {0} is not valid")]
    Field(&'static str),
    /// The check over header and domain does not hold.
    #[error("uplink object: the header is damaged")]
    HeaderCrc,
    /// The content's check does not hold.
    #[error("uplink object: the content is damaged")]
    BodyCrc,
    /// More than an object may hold.
    #[error("uplink object: {0} bytes of content are above the bound of {MAX_BODY_BYTES}")]
    TooLong(u32),
    /// The stream ended before the object did.
    #[error("uplink object: cut short after {0} bytes")]
    Short(usize),
    /// Bytes follow the content.
    #[error("uplink object: {0} bytes follow the content")]
    Excess(usize),
}

impl UplinkObject {
    /// Writes the object.
    ///
    /// # Panics
    /// When domain or content are above their bounds: who numbers an object checks them.
    pub fn encode(&self) -> Vec<u8> {
        let domain = self.key.counter.domain.as_bytes();
        assert!(domain.len() <= MAX_DOMAIN_BYTES && self.body.len() <= MAX_BODY_BYTES);
        let mut out = Vec::with_capacity(HEADER_BYTES + domain.len() + self.body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, self.kind, self.priority, domain.len() as u8]);
        out.extend_from_slice(&self.key.counter.ledger.to_be_bytes());
        out.extend_from_slice(&self.key.counter.spacecraft.0.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(self.body.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.key.counter.channel.0.to_be_bytes());
        out.extend_from_slice(&self.key.sequence.to_be_bytes());
        out.extend_from_slice(&self.created.0.to_be_bytes());
        out.extend_from_slice(&self.expires.map_or(NEVER, |at| at.0).to_be_bytes());
        out.extend_from_slice(&crc32c(&self.body).to_be_bytes());
        let check = header_check(&out, domain);
        out.extend_from_slice(&check.to_be_bytes());
        debug_assert_eq!(out.len(), HEADER_BYTES);
        out.extend_from_slice(domain);
        out.extend_from_slice(&self.body);
        out
    }

    /// Reads a whole object.
    pub fn decode(bytes: &[u8]) -> Result<Self, UplinkError> {
        let mut reader = UplinkReader::new();
        reader.push(bytes)?;
        reader.finish()
    }
}

fn header_check(fixed: &[u8], domain: &[u8]) -> u32 {
    let mut check = Crc32c::new();
    check.update(fixed);
    check.update(domain);
    check.finish()
}

/// Reads one object from chunks of any size; buffers no more than a valid header announced.
#[derive(Debug, Default)]
pub struct UplinkReader {
    buffer: Vec<u8>,
    /// Length of the whole object, once header and domain came and hold.
    whole: Option<usize>,
    failed: Option<UplinkError>,
}

impl UplinkReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they arrive. After an error the stream is to be stopped.
    pub fn push(&mut self, mut chunk: &[u8]) -> Result<(), UplinkError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        while !chunk.is_empty() {
            let wanted = self.wanted();
            let (taken, rest) = chunk.split_at(chunk.len().min(wanted - self.buffer.len()));
            self.buffer.extend_from_slice(taken);
            chunk = rest;
            let checked = self.check();
            if let Err(error) = checked {
                return self.fail(error);
            }
            if self.whole == Some(self.buffer.len()) && !chunk.is_empty() {
                return self.fail(UplinkError::Excess(chunk.len()));
            }
        }
        Ok(())
    }

    /// Up to where bytes are taken before something must be checked.
    fn wanted(&self) -> usize {
        match (self.whole, self.buffer.get(7)) {
            (Some(whole), _) => whole,
            (None, Some(domain)) if self.buffer.len() >= HEADER_BYTES => {
                HEADER_BYTES + usize::from(*domain)
            }
            _ => HEADER_BYTES,
        }
    }

    /// Checks the header as soon as it and the domain are there: no content is buffered before.
    fn check(&mut self) -> Result<(), UplinkError> {
        let Some((fixed, domain)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(());
        };
        if self.whole.is_some() || domain.len() < usize::from(fixed[7]) {
            return Ok(());
        }
        let mut fields = Fields(fixed);
        if fields.take()? != MAGIC {
            return Err(UplinkError::Field("magic"));
        }
        let (checked, check) = fixed.split_at(60);
        if check != header_check(checked, domain).to_be_bytes() {
            return Err(UplinkError::HeaderCrc);
        }
        if fields.take()? != [VERSION] {
            return Err(UplinkError::Field("version"));
        }
        core::str::from_utf8(domain).map_err(|_| UplinkError::Field("domain"))?;
        let [_, _, _, _, _, _, _, _, _, _, _, _, _, zeros @ ..] = fields.take::<15>()?;
        if zeros != [0; 2] {
            return Err(UplinkError::Field("zero"));
        }
        let length = u32::from_be_bytes(fields.take()?);
        if length as usize > MAX_BODY_BYTES {
            return Err(UplinkError::TooLong(length));
        }
        self.whole = Some(HEADER_BYTES + domain.len() + length as usize);
        Ok(())
    }

    fn fail<T>(&mut self, error: UplinkError) -> Result<T, UplinkError> {
        self.failed = Some(error);
        self.buffer = Vec::new();
        Err(error)
    }

    /// The object, now that its stream ended.
    pub fn finish(self) -> Result<UplinkObject, UplinkError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let short = UplinkError::Short(self.buffer.len());
        if self.whole != Some(self.buffer.len()) {
            return Err(short);
        }
        let mut fields = Fields(&self.buffer);
        let _ = fields.take::<5>()?;
        let [kind, priority, domain] = fields.take()?;
        let ledger = u64::from_be_bytes(fields.take()?);
        let spacecraft = SpacecraftId(u16::from_be_bytes(fields.take()?));
        let _ = fields.take::<6>()?;
        let channel = Channel(u64::from_be_bytes(fields.take()?));
        let sequence = u64::from_be_bytes(fields.take()?);
        let created = Tai(i64::from_be_bytes(fields.take()?));
        let expires = i64::from_be_bytes(fields.take()?);
        let check = u32::from_be_bytes(fields.take()?);
        let _ = fields.take::<4>()?;
        let (domain, body) = fields.0.split_at_checked(domain.into()).ok_or(short)?;
        if crc32c(body) != check {
            return Err(UplinkError::BodyCrc);
        }
        let domain = core::str::from_utf8(domain).map_err(|_| UplinkError::Field("domain"))?;
        let domain = String::from(domain);
        let counter = UplinkCounter { domain, ledger, spacecraft, channel };
        Ok(UplinkObject {
            key: UplinkKey { counter, sequence },
            kind,
            priority,
            created,
            expires: (expires != NEVER).then_some(Tai(expires)),
            body: Bytes::copy_from_slice(body),
        })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], UplinkError> {
        let short = UplinkError::Short(self.0.len());
        let (head, rest) = self.0.split_first_chunk().ok_or(short)?;
        self.0 = rest;
        Ok(*head)
    }
}
