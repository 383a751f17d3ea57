//! A question while it is read and answered: room for what has come of it, and an end to waiting
//! for the rest.

use super::models::{Fault, Models};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// Room is taken in such pieces, as bytes come: on somebody's word there is none.
const PIECE_BYTES: u64 = 256 << 10;

/// Room that a question has, until the last who holds this is done.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Held {
    fn add(&self, more: OwnedSemaphorePermit) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
    }

    /// Bytes of an answer, which hold the question's room until they are written.
    pub fn with(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Answer { bytes, _held: self.clone() })
    }
}

struct Answer {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a question is not read to its end.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is no room for more of it.
    Fault(Fault),
    /// It did not come in time.
    Late(Duration),
    /// Its connection broke, or the like.
    Broken(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => f.write_str(fault.said()),
            Self::Late(time) => write!(f, "the question did not come within {time:?}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl From<Unread> for Status {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Fault(fault) => fault.into(),
            Unread::Late(_) => Self::deadline_exceeded(unread.to_string()),
            Unread::Broken(why) => Self::cancelled(why),
        }
    }
}

/// A body that has room for what has come of it.
pub(super) struct Reading<B> {
    body: B,
    models: Arc<Models>,
    held: Held,
    /// Bytes that came, and those that there is room for.
    came: u64,
    room: u64,
    /// Set once the body makes somebody wait.
    until: Option<Pin<Box<Sleep>>>,
}

impl<B> Reading<B> {
    /// Reads a body; what room it takes is held by the second, too.
    pub fn new(body: B, models: Arc<Models>) -> (Self, Held) {
        let held = Held::default();
        let until = None;
        (Self { body, models, held: held.clone(), came: 0, room: 0, until }, held)
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), Fault> {
        self.came += bytes as u64;
        if self.came > self.room {
            let more = (self.came - self.room).next_multiple_of(PIECE_BYTES);
            self.held.add(self.models.room_for(more)?);
            self.room += more;
        }
        Ok(())
    }
}

impl<B> Body for Reading<B>
where
    B: Body<Data = Bytes, Error: fmt::Display> + Unpin,
{
    type Data = Bytes;
    type Error = Unread;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unread>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let time = self.models.body_time;
            let until = self.until.get_or_insert_with(|| Box::pin(sleep(time)));
            ready!(until.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Unread::Late(time))));
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(|error| Unread::Broken(error.to_string()));
        let frame = frame.and_then(|frame| {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.make_room(bytes).map_err(Unread::Fault)?;
            Ok(frame)
        });
        Poll::Ready(Some(frame))
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
    use futures_util::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    type Pieces = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Status>>>;

    /// A body of such a piece, again and again; then it says nothing more.
    fn body(piece: &'static [u8], times: usize) -> Pieces {
        let frames = (0..times).map(move |_| Ok(Frame::data(Bytes::from_static(piece))));
        StreamBody::new(stream::iter(frames).chain(stream::pending()).boxed())
    }

    const MEBIBYTE: &[u8] = &[0; 1 << 20];

    #[tokio::test]
    async fn questions_have_room_for_what_came_until_their_answers_are_written() {
        let models = Arc::new(Models::echo());
        let (mut long, held) = Reading::new(body(MEBIBYTE, 1_000), Arc::clone(&models));
        let mut came = 0;
        let refused = loop {
            match long.frame().await.unwrap() {
                Ok(frame) => came += frame.data_ref().unwrap().len(),
                Err(refused) => break refused,
            }
        };
        assert_eq!(came, 512 << 20, "of all questions together");
        let status = Status::from(refused);
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(status.metadata().contains_key("grpc-retry-pushback-ms"), "{status:?}");
        let (mut other, _held) = Reading::new(body(b"a", 1), Arc::clone(&models));
        assert!(other.frame().await.unwrap().is_err(), "none is left");
        let answer = held.with(Bytes::from_static(b"written"));
        let part = answer.slice(2..);
        drop((long, held, answer));
        assert!(models.room_for(1).is_err(), "a part of the answer is not written yet");
        drop(part);
        let (mut other, _held) = Reading::new(body(b"a", 1), models);
        assert!(other.frame().await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn who_stops_in_the_middle_of_a_question_is_told_when_time_is_over() {
        let models = Models::echo().hurried(Duration::from_millis(20));
        let (mut body, _held) = Reading::new(body(b"begun", 1), Arc::new(models));
        assert!(body.frame().await.unwrap().is_ok());
        let late = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(late, Unread::Late(_)), "{late}");
    }
}
