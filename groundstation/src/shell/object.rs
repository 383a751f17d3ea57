//! One object stream: chunks as they come, and from them units into the archive's block. Each
//! stream has its own task, so that none waits for another.

use super::{
    sessions::stop,
    writer::{Closed, Writer},
};
use crate::{
    admit::{
        Principal,
        object::{Broken, admitted as admitted_as},
    },
    publish::Feed,
    receipt::{Fates, SessionId, Tally},
};
use bytes::Bytes;
use codecs::{
    ids::{KeyPrefix, SeqRange, SpacecraftId},
    link::{
        custody::RefusalReason,
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

/// How reading an object ended.
enum End {
    /// The stream is over, well or by a reset: whole units count.
    Over,
    /// It broke a rule, or was silent for too long.
    Broken(Broken),
    /// The daemon stops.
    Closed,
}

impl ObjectContext {
    /// Reads a stream to its end.
    pub async fn run(&self, mut stream: RecvStream) {
        let mut reader = ObjectReader::new();
        let end = self.read(&mut stream, &mut reader).await;
        let End::Broken(broken) = end else { return };
        let Broken { reason, refusal, ref why, may_return } = broken;
        // The peer may be gone, or have finished.
        let _ = stream.stop(if may_return { stop::STALLED } else { stop::REFUSED });
        tracing::warn!(principal = %self.principal.name, reason, "object rejected: {why}");
        // What was announced and did not come counts as one: the count may be a lie.
        self.count(reason, 1);
        if let Some((prefix, range, retry)) = broken.refused(&reader, self.principal.origin) {
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
                        return End::Broken(Broken::stalled());
                    }
                    silence.as_mut().reset(heard + self.stall);
                    continue;
                }
            };
            let count = match read {
                Ok(Some(count)) => count,
                Ok(None) => return reader.finish().map_or_else(broken, |()| End::Over),
                Err(ReadError::Reset(_)) => return End::Over,
                Err(_) => return End::Closed,
            };
            self.pace.take(chunks[..count].iter().map(Bytes::len).sum()).await;
            heard = Instant::now();
            chunks[..count].iter_mut().for_each(|chunk| reader.push(take(chunk)));
            if admitted.is_none() {
                match admitted_as(reader, &self.principal, &self.mission) {
                    Ok(found) => admitted = found,
                    Err(broken) => return End::Broken(broken),
                }
            }
            let Some((prefix, codec)) = admitted else { continue };
            match self.writer.take(self.session, prefix, codec, reader).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return broken(error),
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

fn broken(error: ObjectError) -> End {
    End::Broken(error.into())
}
