//! The daemon's end of the line to its embedded pool: questions and answers over a socket that
//! nobody else can open, several under way at a time.

use super::PoolError;
use super::frames::{ASKED, Came, Frame, GIVEN_UP, Reader, Sent};
use super::oip::{BODY_BYTES_MAX, Body, Written};
use super::shared::Place;
use super::sys::socket::{ReadHalf, WriteHalf, halves};
use super::verdict::{self, Refusal};
use hyper::HeaderMap;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

/// What is asked to know whether the other end is there, and most bytes of its answer.
const LIVE: &str = "/v2/health/live";
const LIVE_BYTES_MAX: usize = 1 << 10;

type Told = Result<Body, PoolError>;

/// The line. It ends with the other end, and when it is dropped.
#[derive(Debug)]
pub struct Line {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Shared {
    asked: Mutex<Asked>,
    output: WriteHalf,
    /// Something is to be sent that could not be at once.
    more: Notify,
}

/// Questions without an answer.
#[derive(Debug, Default)]
struct Asked {
    last: u32,
    waiting: BTreeMap<u32, Waiting>,
    /// What is not sent yet, by number.
    queue: VecDeque<(u32, Sent)>,
    /// Whether a frame is being sent that is in the queue no more.
    sending: bool,
    ended: bool,
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Waiting {
    tell: oneshot::Sender<Told>,
    /// Most bytes of its answer.
    most: usize,
    /// Whether the other end may have seen it.
    sent: bool,
    /// Where its inputs lie: until the answer, wanted or not, the other end may read them.
    _place: Option<Place>,
}

impl Line {
    /// Over one end of a pair.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        let (input, output) = halves(stream)?;
        let asked = Mutex::default();
        let shared = Arc::new(Shared { asked, output, more: Notify::new() });
        let (tell, ended) = watch::channel(false);
        let tasks = [
            tokio::spawn(write(Arc::clone(&shared))),
            tokio::spawn(read(input, Arc::clone(&shared), tell)),
        ];
        Ok(Self { shared, ended, tasks })
    }

    /// Resolves when the other end is gone, or says what can't be understood.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Resolves when the other end does not answer within such a time whether it is there, which it
    /// does at once whatever its models do.
    pub async fn hung(&self, time: Duration) {
        loop {
            tokio::time::sleep(time / 2).await;
            let asked = self.ask(LIVE.to_owned(), Written::default(), LIVE_BYTES_MAX, None);
            if tokio::time::timeout(time, asked).await.is_err() {
                return;
            }
        }
    }

    /// Asks; an answer of more than so many bytes is none. `place` is where the inputs lie that
    /// are not in the body.
    pub async fn ask(
        &self,
        path: String,
        body: Written,
        most: usize,
        place: Option<Place>,
    ) -> Result<Body, PoolError> {
        let (tell, told) = oneshot::channel();
        let number = {
            let mut asked = self.shared.asked();
            if asked.ended {
                return Err(gone());
            }
            let mut number = asked.last.wrapping_add(1);
            // One that a model never ends with keeps its number.
            while asked.waiting.contains_key(&number) {
                number = number.wrapping_add(1);
            }
            let Some(sent) = Sent::new(number, ASKED, body, path) else {
                return Err(PoolError::bad_request("the question is too long"));
            };
            asked.last = number;
            asked.waiting.insert(number, Waiting { tell, most, sent: false, _place: place });
            self.shared.send(&mut asked, number, sent);
            number
        };
        let mut left = GivenUp { shared: &self.shared, number: Some(number) };
        let told = told.await;
        left.number = None;
        told.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn gone() -> PoolError {
    PoolError::unavailable("its process ended")
}

/// Tells the other end of a question that nobody waits for any more.
struct GivenUp<'a> {
    shared: &'a Shared,
    number: Option<u32>,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut asked = self.shared.asked();
        let unseen = |(other, sent): &(u32, Sent)| *other == number && !sent.begun();
        match asked.queue.iter().position(unseen) {
            Some(at) => {
                asked.queue.remove(at);
                asked.waiting.remove(&number);
            }
            None => self.shared.send(&mut asked, number, Sent::alone(number, GIVEN_UP)),
        }
    }
}

impl Shared {
    /// Sends a frame, at once where there is room: waking a task for it takes longer than that.
    fn send(&self, asked: &mut Asked, number: u32, mut sent: Sent) {
        if !asked.sending && asked.queue.is_empty() {
            let whole = sent.write_with(|slices| self.output.write_now(slices));
            if sent.begun() {
                asked.seen(number);
            }
            if matches!(whole, Ok(true)) {
                return;
            }
        }
        asked.queue.push_back((number, sent));
        self.more.notify_one();
    }

    /// The next frame that is to be sent; from then on it may be seen.
    fn next(&self) -> Option<Sent> {
        let mut asked = self.asked();
        let next = asked.queue.pop_front();
        asked.sending = next.is_some();
        let (number, sent) = next?;
        asked.seen(number);
        Some(sent)
    }
}

impl Asked {
    fn seen(&mut self, number: u32) {
        if let Some(waiting) = self.waiting.get_mut(&number) {
            waiting.sent = true;
        }
    }
}

/// Sends what could not be sent at once.
async fn write(shared: Arc<Shared>) {
    let mut output = shared.output.another();
    loop {
        let Some(sent) = shared.next() else {
            shared.more.notified().await;
            continue;
        };
        if sent.write(&mut output).await.is_err() {
            // The other end ends with it, then the other direction, which tells everybody.
            let _ = output.shutdown().await;
            return;
        }
    }
}

async fn read(input: ReadHalf, shared: Arc<Shared>, ended: watch::Sender<bool>) {
    let mut reader = Reader::new(input);
    loop {
        // What answers nothing that was asked, or is longer than any answer, is no frame.
        let came = reader.next(|head| {
            let asked = shared.asked();
            let waiting = asked.waiting.get(&head.number).ok_or(io::ErrorKind::InvalidData)?;
            let body = head.body as usize;
            if head.path > 0 || body > BODY_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok((body <= waiting.most).then_some(()))
        });
        let (number, told) = match came.await {
            Ok(Some(Came::Frame(frame, ()))) => (frame.head.number, read_answer(frame)),
            Ok(Some(Came::PassedOver(head))) => {
                let said = format!("an answer of {} bytes, more than its task has", head.body);
                (head.number, Err(PoolError::contract(said)))
            }
            Ok(None) | Err(_) => break,
        };
        let waiting = shared.asked().waiting.remove(&number);
        // Of one that was given up nobody wants to know.
        let _ = waiting.map(|waiting| waiting.tell.send(told));
    }
    let waiting = {
        let mut asked = shared.asked();
        asked.ended = true;
        asked.queue.clear();
        std::mem::take(&mut asked.waiting)
    };
    for Waiting { tell, sent, .. } in waiting.into_values() {
        // It had the question, and may have died of it.
        let error = if sent { PoolError::failed("no answer: its process ended") } else { gone() };
        let _ = tell.send(Err(error));
    }
    ended.send_replace(true);
}

fn read_answer(frame: Frame) -> Told {
    match frame.head.code {
        200..300 => Ok(frame.body),
        status => Err(verdict::of(&Refusal::read(status, &HeaderMap::new(), &frame.body.bytes))),
    }
}

#[cfg(test)]
mod tests;
