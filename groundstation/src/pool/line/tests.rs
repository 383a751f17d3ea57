use super::*;
use crate::pool::frames::Head;
use crate::pool::oip::{self, BODY_BYTES_MAX};
use crate::pool::serve::line::serve;
use crate::pool::serve::models::Models;
use crate::pool::shared::{Borrower, Lender, REGION};
use crate::pool::{Cause, oip_rest};
use codecs::tensor::{DType, Tensor};
use futures_util::future::join_all;
use futures_util::poll;
use std::path::Path;

const ECHO: &str = "/v2/models/echo/infer";

fn tensor(bytes: usize, value: u8) -> Tensor {
    Tensor::new("x", DType::U8, vec![bytes as u64], vec![value; bytes].into()).unwrap()
}

fn question(tensor: &Tensor) -> Written {
    oip::write_question("q", std::slice::from_ref(tensor), true)
}

/// A line to models that give back what they get.
fn to_echo() -> Line {
    let (own, other) = UnixStream::pair().unwrap();
    tokio::spawn(serve(other, Arc::new(Models::echo())));
    Line::new(own).unwrap()
}

/// A line whose other end the test holds.
fn to_us() -> (Line, Reader<ReadHalf>, WriteHalf) {
    let (own, other) = UnixStream::pair().unwrap();
    let (input, output) = halves(other).unwrap();
    (Line::new(own).unwrap(), Reader::new(input), output)
}

async fn next(reader: &mut Reader<ReadHalf>) -> Head {
    match reader.next(|_| Ok(Some(()))).await.unwrap().unwrap() {
        Came::Frame(frame, ()) => frame.head,
        Came::PassedOver(head) => head,
    }
}

#[tokio::test]
async fn each_question_gets_its_own_answer_whatever_its_size() {
    let line = to_echo();
    let tensors: Vec<Tensor> = [1, 1 << 10, 1 << 20, 3, 5 << 20, 0, 70_000]
        .into_iter()
        .zip(1..)
        .map(|(bytes, value)| tensor(bytes, value))
        .collect();
    let asked =
        tensors.iter().map(|tensor| line.ask(ECHO.into(), question(tensor), BODY_BYTES_MAX, None));
    for (answer, tensor) in join_all(asked).await.into_iter().zip(&tensors) {
        let answer = oip_rest::read_answer("echo", answer.unwrap(), BODY_BYTES_MAX).await.unwrap();
        assert_eq!(answer.output.tensors()[0].data, tensor.data);
    }
    assert!(line.shared.asked().waiting.is_empty());
}

#[tokio::test]
async fn what_is_refused_is_told_with_its_cause() {
    let line = to_echo();
    let small = tensor(4, 1);
    for (path, body, wanted, said) in [
        ("/v2/models/tea/infer", question(&small), Cause::BadRequest, "no model \"tea\""),
        (ECHO, Written::default(), Cause::BadRequest, "the body is empty"),
        ("/v2/models/echo/stats", Written::default(), Cause::Failed, "statistics"),
    ] {
        let error = line.ask(path.into(), body, 1 << 20, None).await.unwrap_err();
        assert_eq!(error.cause, wanted, "{path}: {error}");
        assert!(error.said.contains(said), "{path}: {error}");
    }
    let body = line.ask("/v2/models/echo".into(), Written::default(), 1 << 20, None).await.unwrap();
    assert_eq!(oip_rest::read_metadata("echo", &body.bytes).unwrap().name, "echo");
}

#[tokio::test]
async fn an_answer_longer_than_its_task_has_is_none_and_the_next_is() {
    let line = to_echo();
    let asked = |most| line.ask(ECHO.into(), question(&tensor(300_000, 1)), most, None);
    let error = asked(200_000).await.unwrap_err();
    assert_eq!(error.cause, Cause::Contract, "{error}");
    assert!(asked(400_000).await.is_ok());
}

#[tokio::test]
async fn memory_is_lent_again_only_once_the_answer_is_there() {
    let (line, mut reader, mut output) = to_us();
    let lender = Arc::new(Lender::new().unwrap());
    let lay = || lender.lay(&[tensor(100_000, 1)]);
    let places: Vec<Place> = std::iter::from_fn(lay).collect();
    let mut asked: Vec<_> = places
        .into_iter()
        .map(|place| Box::pin(line.ask(ECHO.into(), question(&tensor(1, 1)), 100, Some(place))))
        .collect();
    for asked in &mut asked {
        assert!(poll!(asked).is_pending());
    }
    let first = next(&mut reader).await;
    // The last may have been seen; given up, it is told, and its place stays lent.
    for _ in 1..asked.len() {
        next(&mut reader).await;
    }
    drop(asked.pop());
    assert!(lay().is_none(), "the other end may still read it");
    let told = next(&mut reader).await;
    assert_eq!((told.code, told.number), (GIVEN_UP, first.number + asked.len() as u32));
    Sent::alone(told.number, 499).write(&mut output).await.unwrap();
    Sent::alone(first.number, 200).write(&mut output).await.unwrap();
    asked.remove(0).await.unwrap();
    assert!(lay().is_some() && lender.lay(&[tensor(100_000, 1)]).is_some());
}

#[tokio::test]
async fn memory_is_not_lent_again_while_a_run_that_was_given_up_still_reads_it() {
    let (run, told) = std::sync::mpsc::channel();
    let lender = Arc::new(Lender::new().unwrap());
    let borrower = Borrower::open(Path::new(&lender.path())).unwrap();
    let (own, other) = UnixStream::pair().unwrap();
    tokio::spawn(serve(other, Arc::new(Models::held(told, borrower))));
    let line = Line::new(own).unwrap();
    let inputs = [tensor(100_000, 7)];
    let ask = || {
        let place = lender.lay(&inputs).unwrap();
        let question = oip::write_shared("q", &inputs, REGION, &place.offsets);
        line.ask(ECHO.into(), question, BODY_BYTES_MAX, Some(place))
    };
    // One runs, and one waits for its turn.
    let (mut running, mut queued) = (Box::pin(ask()), Box::pin(ask()));
    assert!(poll!(&mut running).is_pending() && poll!(&mut queued).is_pending());
    let live = || line.ask(LIVE.to_owned(), Written::default(), LIVE_BYTES_MAX, None);
    live().await.unwrap();
    drop((running, queued));
    while line.shared.asked().waiting.len() > 1 {
        live().await.unwrap();
    }
    for _ in 0..10 {
        live().await.unwrap();
    }
    let left = line.shared.asked().waiting.keys().copied().collect::<Vec<_>>();
    assert_eq!(left, [1], "the run reads its inputs, what waited for its turn does not");
    run.send(()).unwrap();
    while !line.shared.asked().waiting.is_empty() {
        live().await.unwrap();
    }
    let mut again = Box::pin(ask());
    run.send(()).unwrap();
    let answer = (&mut again).await.unwrap();
    let answer = oip_rest::read_answer("echo", answer, BODY_BYTES_MAX).await.unwrap();
    assert_eq!(answer.output.tensors()[0].data, inputs[0].data);
}

#[tokio::test]
async fn what_was_not_sent_when_it_is_given_up_never_is() {
    let (line, mut reader, _output) = to_us();
    // More than the socket takes, so that the second waits.
    let long = question(&tensor(8 << 20, 1));
    let mut first = Box::pin(line.ask(ECHO.into(), long, 100, None));
    assert!(poll!(&mut first).is_pending());
    tokio::task::yield_now().await;
    let mut second = Box::pin(line.ask(ECHO.into(), question(&tensor(1, 1)), 100, None));
    assert!(poll!(&mut second).is_pending());
    drop(second);
    assert_eq!(line.shared.asked().waiting.len(), 1);
    assert_eq!(next(&mut reader).await.code, ASKED);
    drop(first);
    assert_eq!(next(&mut reader).await.code, GIVEN_UP);
}

#[tokio::test]
async fn a_question_dies_with_the_other_end_only_where_that_had_it() {
    let (line, mut reader, output) = to_us();
    let mut seen = Box::pin(line.ask(ECHO.into(), question(&tensor(8 << 20, 1)), 100, None));
    assert!(poll!(&mut seen).is_pending());
    tokio::task::yield_now().await;
    let mut unseen = Box::pin(line.ask(ECHO.into(), question(&tensor(1, 1)), 100, None));
    assert!(poll!(&mut unseen).is_pending());
    assert!(reader.next(|_| Ok(None::<()>)).await.is_ok(), "the first alone");
    let mut third = Box::pin(line.ask(ECHO.into(), question(&tensor(8 << 20, 1)), 100, None));
    assert!(poll!(&mut third).is_pending());
    drop((reader, output));
    line.ended().await;
    assert_eq!(seen.await.unwrap_err().cause, Cause::Failed);
    let late = line.ask(ECHO.into(), Written::default(), 100, None).await.unwrap_err();
    assert_eq!(late.cause, Cause::Unavailable);
    drop((unseen, third));
}

#[tokio::test]
async fn who_does_not_say_that_it_is_there_hangs() {
    let (line, mut reader, mut output) = to_us();
    // Long beside what a busy machine may hold up this test.
    let mut hung = Box::pin(line.hung(Duration::from_secs(1)));
    for _ in 0..2 {
        let head = tokio::select! {
            () = &mut hung => panic!("it answers"),
            head = next(&mut reader) => head,
        };
        Sent::alone(head.number, 200).write(&mut output).await.unwrap();
    }
    hung.await;
}

#[tokio::test]
async fn what_nobody_asked_for_ends_the_line() {
    for (number, body) in [(7, Written::default()), (1, question(&tensor(65 << 20, 1)))] {
        let (line, mut reader, mut output) = to_us();
        let mut asked = Box::pin(line.ask(ECHO.into(), Written::default(), 100, None));
        assert!(poll!(&mut asked).is_pending());
        assert_eq!(next(&mut reader).await.number, 1);
        let sent = Sent::new(number, 200, body, String::new()).unwrap();
        tokio::select! {
            error = asked => assert_eq!(error.unwrap_err().cause, Cause::Failed),
            _ = async { while sent.write(&mut output).await.is_ok() {} } => {}
        }
        line.ended().await;
    }
}
