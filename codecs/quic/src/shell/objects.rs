//! One object on one stream.

use std::sync::Arc;

use codecs::link::sender::Plan;
use quinn::{Connection, SendStream, VarInt};
use tokio::sync::{Mutex, oneshot};

use super::custodian::Custodian;
use crate::courier::{self, ObjectFailure};

/// Code for an object whose units are no longer there.
const WITHDRAWN: VarInt = VarInt::from_u32(1);

/// How an object ended.
pub(super) struct ObjectEnd {
    pub(super) id: u64,
    /// Units and bytes written.
    pub(super) outcome: Result<(u64, u64), ObjectFailure>,
}

/// Reads an object's units and writes it, unless it is cancelled first.
pub(super) async fn send_object<C: Custodian>(
    plan: Plan,
    store: Arc<Mutex<C>>,
    connection: Connection,
    mut cancelled: oneshot::Receiver<()>,
) -> ObjectEnd {
    let id = plan.id;
    let sending = write_object(plan, &store, &connection);
    let outcome = tokio::select! {
        outcome = sending => outcome,
        _ = &mut cancelled => Err(ObjectFailure::Changed),
    };
    ObjectEnd { id, outcome }
}

/// A stream that is reset unless it was finished: what is dropped half-way must not look whole.
struct ResetOnDrop(Option<SendStream>);

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.0 {
            let _ = stream.reset(WITHDRAWN);
        }
    }
}

async fn write_object<C: Custodian>(
    plan: Plan,
    store: &Mutex<C>,
    connection: &Connection,
) -> Result<(u64, u64), ObjectFailure> {
    let object = courier::object(&plan, &mut *store.lock().await)?;
    let (units, bytes) = (plan.range.count(), object.len() as u64);
    let stream = connection.open_uni().await.map_err(|_| ObjectFailure::Stream)?;
    let _ = stream.set_priority(plan.header.priority.into());
    let mut guard = ResetOnDrop(Some(stream));
    let Some(stream) = guard.0.as_mut() else { return Err(ObjectFailure::Stream) };
    stream.write_chunk(object).await.map_err(|_| ObjectFailure::Stream)?;
    stream.finish().map_err(|_| ObjectFailure::Stream)?;
    match stream.stopped().await {
        Ok(None) => {
            guard.0 = None;
            Ok((units, bytes))
        }
        Ok(Some(_)) | Err(_) => Err(ObjectFailure::Stream),
    }
}
