//! The child's end of the line to the daemon that started it.

use super::models::{Fault, Models};
use super::rest;
use crate::pool::frames::{ASKED, Came, Frame, GIVEN_UP, Head, Reader, Sent};
use crate::pool::oip::{self, BODY_BYTES_MAX, Written};
use crate::pool::sys::socket::{WriteHalf, halves};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use futures_util::poll;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use tokio::sync::{mpsc, oneshot};
use tonic::codegen::Service as _;

/// Status of a question that its asker gave up: nobody reads it, but its memory is free again.
const NOBODY_WAITS: u16 = 499;

struct Served {
    output: tokio::sync::Mutex<WriteHalf>,
    models: Arc<Models>,
    app: Router,
    /// Questions that are not answered at once, by their number, to be told when nobody waits.
    under_way: Mutex<BTreeMap<u32, oneshot::Sender<()>>>,
}

/// A status and a body.
type Answer = (u16, Written);

/// Answers until the other end is gone.
pub async fn serve(stream: UnixStream, models: Arc<Models>) -> io::Result<()> {
    let (input, output) = halves(stream)?;
    let served = Arc::new(Served {
        output: tokio::sync::Mutex::new(output),
        app: rest::routes(Arc::clone(&models)),
        models,
        under_way: Mutex::default(),
    });
    let mut reader = Reader::new(input);
    let room = |head: &Head| {
        let within = head.body as usize <= BODY_BYTES_MAX;
        Ok(served.models.room_for(head.body.into()).ok().filter(|_| within))
    };
    while let Some(came) = reader.next(room).await? {
        let (frame, held) = match came {
            Came::Frame(frame, held) => (frame, held),
            Came::PassedOver(head) => {
                let told = match head.body as usize > BODY_BYTES_MAX {
                    true => error(StatusCode::PAYLOAD_TOO_LARGE, "the question is too long"),
                    false => fault(&Fault::Crowded),
                };
                served.tell(head.number, told).await?;
                continue;
            }
        };
        let number = frame.head.number;
        if frame.head.code == GIVEN_UP {
            // One that is answered already is not known any more.
            let _ = served.under_way().remove(&number).map(|nobody| nobody.send(()));
            continue;
        }
        if frame.head.code != ASKED {
            let code = frame.head.code;
            let told = error(StatusCode::BAD_REQUEST, &format!("{code} is no question's code"));
            served.tell(number, told).await?;
            continue;
        }
        let (lent, mut returned) = mpsc::channel(1);
        let mut work = Box::pin(Arc::clone(&served).answer(frame, lent));
        // A short run is done by now: a task of its own would only cost time.
        if let Poll::Ready(answer) = poll!(&mut work) {
            served.tell(number, answer).await?;
            continue;
        }
        let (tell, nobody_waits) = oneshot::channel();
        served.under_way().insert(number, tell);
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            let answer = tokio::select! {
                answer = &mut work => Some(answer),
                _ = nobody_waits => None,
            };
            drop(work);
            let answer = match answer {
                Some(answer) => answer,
                None => {
                    // A run goes on to its end, and reads its inputs where they lie.
                    let _: Option<()> = returned.recv().await;
                    (NOBODY_WAITS, Written::default())
                }
            };
            served.under_way().remove(&number);
            // The one who reads sees it too when nobody is there.
            let _ = served.tell(number, answer).await;
            drop(held);
        });
    }
    Ok(())
}

impl Served {
    fn under_way(&self) -> MutexGuard<'_, BTreeMap<u32, oneshot::Sender<()>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&self, number: u32, (code, body): Answer) -> io::Result<()> {
        let sent = Sent::new(number, code, body, String::new());
        let sent = sent.ok_or_else(|| io::Error::other("an answer longer than a frame's"))?;
        sent.write(&mut *self.output.lock().await).await
    }

    /// `lent` goes with each input that lies in shared memory, for as long as anybody reads it.
    async fn answer(self: Arc<Self>, frame: Frame, lent: mpsc::Sender<()>) -> Answer {
        let Ok(path) = std::str::from_utf8(&frame.path) else {
            return error(StatusCode::NOT_FOUND, "the path is no text");
        };
        let Some(name) = rest::asked_model(path) else { return self.other(path).await };
        let model = match self.models.find(name, "").and_then(|model| model.ready().map(|()| model))
        {
            Ok(model) => model,
            Err(why) => return fault(&why),
        };
        let shared = |region: &str, offset, bytes| {
            self.models.read_shared(region, offset, bytes, lent.clone())
        };
        let question = match oip::read_question_with(&frame.body, &shared) {
            Ok(question) => question,
            Err(error) => return fault(&rest::wrong(error)),
        };
        drop(lent);
        match rest::answer(model, question).await {
            Ok(answer) => (StatusCode::OK.as_u16(), answer),
            Err(why) => fault(&why),
        }
    }

    /// What is no question to a model, as REST has it.
    async fn other(&self, path: &str) -> Answer {
        let Ok(request) = Request::get(path).body(Body::empty()) else {
            return error(StatusCode::NOT_FOUND, "the path is none");
        };
        let Ok(answer) = self.app.clone().call(request).await;
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), BODY_BYTES_MAX).await.unwrap_or_default();
        (status, Written { parts: vec![body], json_length: None })
    }
}

fn fault(why: &Fault) -> Answer {
    error(why.status(), why.said())
}

fn error(status: StatusCode, said: &str) -> Answer {
    let body = json!({ "error": said }).to_string();
    (status.as_u16(), Written { parts: vec![body.into()], json_length: None })
}
