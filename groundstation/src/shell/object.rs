//! One object stream: chunks as they come, and from them units into the archive's block. Each
//! stream has its own task, so that none waits for another.

use super::{
    sessions::stop,
    writer::{Closed, Writer},
};
use crate::{
    admit::{self, Principal},
    publish::Feed,
    receipt::{Fates, SessionId, Tally},
};
use bytes::Bytes;
use codecs::{
    ids::{KeyPrefix, SeqRange, SpacecraftId},
    link::{
        custody::{NEVER_MS, RefusalReason},
        object::{ObjectError, ObjectReader},
    },
};
use quinn::{ReadError, RecvStream};
use std::{collections::BTreeSet, mem::take, pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Chunks taken from a stream at once; each is what one packet brought.
const CHUNKS: usize = 32;

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
}

/// Why an object ended before its time.
enum End {
    /// The stream is over, well or by a reset: whole units count.
    Over,
    /// It broke a rule.
    Rejected { reason: &'static str, refusal: RefusalReason, why: String },
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
        let (reason, refusal, code, why) = match end {
            End::Over | End::Closed => return,
            End::Rejected { reason, refusal, why } => (reason, refusal, stop::REFUSED, why),
            End::Stalled => {
                ("stalled", RefusalReason::Overload, stop::STALLED, "it came too slowly".into())
            }
        };
        // The peer may be gone, or have finished.
        let _ = stream.stop(code);
        tracing::warn!(principal = %self.principal.name, reason, "object rejected: {why}");
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
        // One timer an object: it is moved only when it rings, not with every chunk.
        let mut heard = Instant::now();
        let mut silence = pin!(sleep_until(heard + self.stall));
        let mut chunks = [const { Bytes::new() }; CHUNKS];
        loop {
            let read = tokio::select! {
                biased;
                read = stream.read_chunks(&mut chunks) => read,
                () = &mut silence => {
                    if heard.elapsed() >= self.stall {
                        return End::Stalled;
                    }
                    silence.as_mut().reset(heard + self.stall);
                    continue;
                }
            };
            let count = match read {
                Ok(Some(count)) => count,
                Ok(None) => return reader.finish().map_or_else(rejected, |()| End::Over),
                Err(ReadError::Reset(_)) => return End::Over,
                Err(_) => return End::Closed,
            };
            self.pace.take(chunks[..count].iter().map(Bytes::len).sum()).await;
            heard = Instant::now();
            chunks[..count].iter_mut().for_each(|chunk| reader.push(take(chunk)));
            if admitted.is_none() {
                match reader.poll_header() {
                    Ok(None) => continue,
                    Err(error) => return rejected(error),
                    Ok(Some(header)) => {
                        if let Err(denial) = admit::judge(&self.principal, &self.mission, &header) {
                            let (reason, refusal) = (denial.name(), denial.refusal());
                            let why = denial.told(&self.principal);
                            return End::Rejected { reason, refusal, why };
                        }
                        admitted = Some((header.prefix(self.principal.origin), header.codec));
                    }
                }
            }
            let Some((prefix, codec)) = admitted else { continue };
            match self.writer.take(self.session, prefix, codec, reader).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return rejected(error),
                Err(Closed) => return End::Closed,
            }
        }
    }

    fn refuse(&self, prefix: KeyPrefix, range: SeqRange, reason: RefusalReason, retry_ms: u32) {
        // A session that is gone needs no refusal.
        let _ = self.fates.send(Fates::refused(prefix, range, reason, retry_ms));
    }

    fn count(&self, reason: &'static str, count: u64) {
        self.feed.publish_all(Tally::rejected(reason, count).events(None));
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
    End::Rejected { reason, refusal, why: error.to_string() }
}
