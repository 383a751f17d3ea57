//! One object stream: bytes into units, units to the writer. Each stream has its own task, so
//! that none waits for another.

use super::{
    sessions::stop,
    writer::{Closed, Writer},
};
use crate::{
    admit::{self, Principal},
    archive::Incoming,
    publish::Feed,
    receipt::{Fates, SessionId, Tally},
};
use codecs::{
    ids::{KeyPrefix, SeqRange, SpacecraftId, UnitKey},
    link::{
        custody::{NEVER_MS, RefusalReason},
        object::{ObjectError, ObjectHeader, ObjectReader, ReceivedUnit},
    },
    time::Tai,
};
use quinn::{ReadError, RecvStream};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

/// Bytes taken from a stream at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What every object of a session needs.
pub struct ObjectContext {
    /// Which session.
    pub session: SessionId,
    /// Who sends.
    pub principal: Principal,
    /// Spacecraft that exist.
    pub mission: Arc<BTreeSet<SpacecraftId>>,
    /// The way to the archive.
    pub writer: Writer,
    /// Refusals go to the session's control stream.
    pub fates: mpsc::UnboundedSender<Fates>,
    /// Counts.
    pub feed: Feed,
    /// A stream that is silent for this long is stopped.
    pub stall: Duration,
    /// How fast the session's objects are read.
    pub pace: Arc<super::pace::Pace>,
    /// The station's time.
    pub clock: super::clock::StationClock,
}

/// Why an object ended before its time.
enum End {
    /// The stream is over, well or by a reset: whole units count.
    Over,
    /// It broke a rule.
    Rejected { reason: &'static str, refusal: RefusalReason },
    /// No byte for too long.
    Stalled,
    /// The daemon stops.
    Closed,
}

impl ObjectContext {
    /// Reads a stream to its end.
    pub async fn run(&self, mut stream: RecvStream) {
        let mut reader = ObjectReader::new();
        let end = self.read(&mut stream, &mut reader).await;
        let (reason, refusal, code) = match end {
            End::Over | End::Closed => return,
            End::Rejected { reason, refusal } => (reason, refusal, stop::REFUSED),
            End::Stalled => ("stalled", RefusalReason::Overload, stop::STALLED),
        };
        // The peer may be gone, or have finished.
        let _ = stream.stop(code);
        tracing::warn!(principal = %self.principal.name, reason, "object rejected");
        // What was announced and did not come counts as one: the count may be a lie.
        self.count(reason, 1);
        if let (Some(header), Some(range)) = (reader.header(), reader.missing()) {
            let prefix = header.prefix(self.principal.origin);
            let retry = if code == stop::STALLED { 0 } else { NEVER_MS };
            self.refuse(prefix, range, refusal, retry);
        }
    }

    async fn read(&self, stream: &mut RecvStream, reader: &mut ObjectReader) -> End {
        let mut admitted = None;
        loop {
            let chunk = match timeout(self.stall, stream.read_chunk(CHUNK_BYTES, true)).await {
                Err(_) => return End::Stalled,
                Ok(Ok(Some(chunk))) => chunk.bytes,
                Ok(Ok(None)) => {
                    return reader.finish().map_or_else(rejected, |()| End::Over);
                }
                Ok(Err(ReadError::Reset(_))) => return End::Over,
                Ok(Err(_)) => return End::Closed,
            };
            self.pace.take(chunk.len()).await;
            reader.push(chunk);
            if admitted.is_none() {
                match reader.poll_header() {
                    Ok(None) => continue,
                    Err(error) => return rejected(error),
                    Ok(Some(header)) => {
                        if let Err(denial) = admit::judge(&self.principal, &self.mission, &header) {
                            let refusal = denial.refusal();
                            return End::Rejected { reason: denial.name(), refusal };
                        }
                        admitted = Some(header);
                    }
                }
            }
            let Some(header) = &admitted else { continue };
            loop {
                match reader.poll_unit() {
                    Ok(Some(unit)) => {
                        if self.unit(header, unit).await.is_err() {
                            return End::Closed;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return rejected(error),
                }
            }
        }
    }

    async fn unit(&self, header: &ObjectHeader, unit: ReceivedUnit) -> Result<(), Closed> {
        let prefix = header.prefix(self.principal.origin);
        if !unit.intact {
            // Rotten since its store numbered it: never under this key.
            self.count("damaged", 1);
            let range = SeqRange { first: unit.sequence, last: unit.sequence };
            self.refuse(prefix, range, RefusalReason::Malformed, NEVER_MS);
            return Ok(());
        }
        let now: Tai = self.clock.tai();
        let incoming = Incoming {
            key: UnitKey { prefix, sequence: unit.sequence },
            codec: header.codec,
            received: unit.annotation.map_or(now, |annotation| annotation.received),
            annotation: unit.annotation.map(|annotation| annotation.encode()),
            bytes: unit.bytes,
        };
        self.writer.deliver(self.session, incoming).await
    }

    fn refuse(&self, prefix: KeyPrefix, range: SeqRange, reason: RefusalReason, retry_ms: u32) {
        // A session that is gone needs no refusal.
        let _ = self.fates.send(Fates::refused(prefix, range, reason, retry_ms));
    }

    fn count(&self, reason: &'static str, count: u64) {
        self.feed.publish_all(Tally::rejected(reason, count).events());
    }
}

fn rejected(error: ObjectError) -> End {
    let reason = match error {
        ObjectError::Header(_) | ObjectError::HeaderCrc => "malformed-header",
        ObjectError::TooLong(_) => "too-large",
        ObjectError::UnitLength { .. } => "unit-length",
        ObjectError::Excess(_) => "excess",
        ObjectError::Truncated { .. } => "truncated",
    };
    let refusal = match error {
        ObjectError::TooLong(_) => RefusalReason::TooLarge,
        _ => RefusalReason::Malformed,
    };
    End::Rejected { reason, refusal }
}
