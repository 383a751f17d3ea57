//! A question over gRPC while it is read: room for its message, and an end to waiting for it.

use super::models::{Fault, Models};
use crate::pool::oip_proto::MESSAGE_BYTES_MAX;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Room that a question has, until the last who holds this is done.
pub(super) type Held = Arc<OnceLock<OwnedSemaphorePermit>>;

/// A body whose message has room before more than its first bytes are read.
pub(super) struct Reading<B> {
    body: B,
    models: Arc<Models>,
    held: Held,
    prefix: [u8; PREFIX_BYTES],
    seen: usize,
    /// Set once the body makes somebody wait.
    until: Option<Pin<Box<Sleep>>>,
}

impl<B> Reading<B> {
    /// Reads a body; what room it takes is held by the second, too.
    pub fn new(body: B, models: Arc<Models>) -> (Self, Held) {
        let held = Held::default();
        let (prefix, seen, until) = ([0; PREFIX_BYTES], 0, None);
        (Self { body, models, held: Arc::clone(&held), prefix, seen, until }, held)
    }

    fn look(&mut self, data: &[u8]) -> Result<(), Fault> {
        if self.seen == PREFIX_BYTES {
            return Ok(());
        }
        for (place, byte) in self.prefix.iter_mut().skip(self.seen).zip(data) {
            *place = *byte;
            self.seen += 1;
        }
        if self.seen == PREFIX_BYTES {
            let [_, length @ ..] = self.prefix;
            // What is longer is refused when it is read.
            let length = u64::from(u32::from_be_bytes(length)).min(MESSAGE_BYTES_MAX as u64);
            let room = self.models.room_for(length)?;
            let _ = self.held.set(room);
        }
        Ok(())
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for Reading<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let time = self.models.body_time;
            let until = self.until.get_or_insert_with(|| Box::pin(sleep(time)));
            ready!(until.as_mut().poll(cx));
            let said = format!("the question did not come within {time:?}");
            return Poll::Ready(Some(Err(Status::deadline_exceeded(said))));
        };
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(fault) = self.look(data)
        {
            return Poll::Ready(Some(Err(fault.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;
    use http_body_util::{BodyExt as _, StreamBody};
    use std::time::Duration;
    use tonic::Code;

    type Pieces =
        StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, Status>>>;

    /// A body of such pieces, after which it goes on or says nothing more.
    fn body(pieces: &[&'static [u8]], silent: bool) -> Pieces {
        let frames: Vec<_> =
            pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))).collect();
        let frames = futures_util::stream::iter(frames);
        StreamBody::new(match silent {
            true => frames.chain(futures_util::stream::pending()).boxed(),
            false => frames.boxed(),
        })
    }

    #[tokio::test]
    async fn a_message_has_room_by_its_length_until_its_answer_is_there() {
        let models = Arc::new(Models::echo());
        let most = (MESSAGE_BYTES_MAX as u32).to_be_bytes();
        let prefix: &'static [u8] = Box::leak([&[0][..], &most].concat().into_boxed_slice());
        let (first, rest) = prefix.split_at(2);
        let read = async || {
            let (mut body, held) = Reading::new(body(&[first, rest], false), Arc::clone(&models));
            let last = async {
                let mut last = None;
                while let Some(frame) = body.frame().await {
                    last = Some(frame.map(drop));
                }
                last.unwrap()
            };
            (last.await, held)
        };
        let mut held = Vec::new();
        let refused = loop {
            match read().await {
                (Ok(()), room) => held.push(room),
                (Err(refused), _) => break refused,
            }
            assert!(held.len() < 100, "no bound");
        };
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"), "{refused:?}");
        held.pop();
        assert!(read().await.0.is_ok(), "room comes back");
    }

    #[tokio::test]
    async fn who_stops_in_the_middle_of_a_question_is_told_when_time_is_over() {
        let models = Models::echo().hurried(Duration::from_millis(20));
        let (mut body, _held) = Reading::new(body(&[&[0, 0, 0, 0, 9, 1]], true), Arc::new(models));
        assert!(body.frame().await.unwrap().is_ok());
        let refused = body.frame().await.unwrap().unwrap_err();
        assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused}");
    }
}
