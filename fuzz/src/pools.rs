//! What servers of models say: bodies with raw tensors, messages of gRPC, streams of events.

use crate::input::Input;
use bytes::Bytes;
use groundstation::pool::PoolError;
use groundstation::pool::aws::events as aws;
use groundstation::pool::formats::{Dialect, Draft, TEXT_BYTES_MAX, converse};
use groundstation::pool::frames;
use groundstation::pool::oip::{self, Body, Wanted};
use groundstation::pool::oip_proto::{InferResponse, read_tensors, write_tensors};
use groundstation::pool::sse::Reader;
use groundstation::pool::stream::{Framing, Parts};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Answers up to here are read at once, without a runtime to read them elsewhere.
const SHORT_BYTES_MAX: usize = 128 << 10;

/// Questions and answers over REST: what is read is written so that the same is read again.
pub fn oip_rest(data: &[u8]) {
    let mut input = Input(data);
    let (raw, length) = (input.byte() & 1 == 1, usize::from(input.byte()));
    let json_length = raw.then_some(length);
    let body = Body { bytes: Bytes::copy_from_slice(input.0), json_length };
    let Ok(question) = oip::read_question(&body) else {
        let _ = oip::read_answer(&body, oip::BODY_BYTES_MAX);
        return;
    };
    let again = oip::write_question(&question.id, &question.inputs, true).whole();
    let again = oip::read_question(&again).expect("what was written is read");
    assert_eq!(again.inputs, question.inputs);
    let outputs = Wanted::all(true).of(question.inputs).expect("all are there");
    let answer = oip::write_answer("m", "1", &question.id, &outputs).whole();
    let answer = oip::read_answer(&answer, oip::BODY_BYTES_MAX);
    let tensors: Vec<_> = outputs.into_iter().map(|(tensor, _)| tensor).collect();
    assert_eq!(answer.expect("what was written is read").outputs, tensors);
}

/// Frames of an embedded pool's process, some passed over: what is read is written as it came.
pub fn line(data: &[u8]) {
    let mut input = Input(data);
    let passed = input.byte();
    let mut reader = frames::Reader::new(input.0);
    let (mut came, mut bytes) = (0u32, input.0);
    loop {
        let room = |_: &frames::Head| Ok((passed >> (came % 8) & 1 == 0).then_some(()));
        let Ok(Some(next)) = at_once(reader.next(room)) else { return };
        came += 1;
        match next {
            frames::Came::PassedOver(head) => {
                let length = 16 + head.body as usize + usize::from(head.path);
                bytes = bytes.get(length..).expect("all of it was there");
            }
            frames::Came::Frame(frames::Frame { head, body, path }, ()) => {
                let length = 16 + body.bytes.len() + path.len();
                let (own, rest) = bytes.split_at(length);
                bytes = rest;
                let Ok(path) = String::from_utf8(path.to_vec()) else { continue };
                let written =
                    oip::Written { parts: vec![body.bytes], json_length: body.json_length };
                let sent = frames::Sent::new(head.number, head.code, written, path);
                let mut again = Vec::new();
                let wrote = at_once(sent.expect("it came as a frame").write(&mut again));
                wrote.expect("memory takes all");
                assert_eq!(again, own);
            }
        }
    }
}

/// What a future that waits for nothing comes to.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("nothing is awaited"),
    }
}

/// Answers over gRPC, raw and typed: a tensor has what its shape and type ask for.
pub fn oip_grpc(data: &[u8]) {
    use prost::Message as _;
    let Ok(answer) = InferResponse::decode(data) else { return };
    let Ok(tensors) = read_tensors(answer.outputs, answer.raw_output_contents) else { return };
    let (heads, raw) = write_tensors(&tensors);
    if !tensors.is_empty() {
        assert_eq!(read_tensors(heads, raw).expect("what was written is read"), tensors);
    }
}

/// Streams of Amazon's messages, cut anywhere: the same messages, which come back as they were.
pub fn aws_events(data: &[u8]) {
    let mut input = Input(data);
    let (framed, at) = (input.byte() & 1 == 1, usize::from(input.byte()));
    // Lengths and checks that hold, which the fuzzer need not find.
    let forged = framed.then(|| forge(input.0));
    let bytes = forged.as_deref().unwrap_or(input.0);
    let Ok(whole) = aws::Reader::default().push(bytes) else { return };
    let (first, rest) = bytes.split_at(at.min(bytes.len()));
    let mut reader = aws::Reader::default();
    let mut parts = reader.push(first).expect("good when whole");
    parts.extend(reader.push(rest).expect("good when whole"));
    assert_eq!(whole, parts);
    let mut draft = Draft::default();
    for message in whole {
        if let Some(sent) = message.encode() {
            let again = aws::Reader::default().push(&sent).expect("what was written is read");
            assert_eq!(again, std::slice::from_ref(&message));
        }
        let value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let name = message.header(":event-type").unwrap_or_default();
        let _ = converse::event(name, &value, &mut draft);
    }
    assert!(draft.text.len() + draft.arguments.len() <= TEXT_BYTES_MAX);
}

/// A message whose first byte says how many of the rest are headers.
fn forge(data: &[u8]) -> Vec<u8> {
    let (length, rest) = data.split_first().unwrap_or((&0, &[]));
    let headers = usize::from(*length).min(rest.len());
    let mut out = Vec::new();
    out.extend(((rest.len() + 16) as u32).to_be_bytes());
    out.extend((headers as u32).to_be_bytes());
    out.extend(aws::check(&out).to_be_bytes());
    out.extend(rest);
    out.extend(aws::check(&out).to_be_bytes());
    out
}

/// Streams of events, cut anywhere: the same events, and the same answer within its bound, be they
/// framed as events or lines, or one JSON.
pub fn events(data: &[u8]) {
    let mut input = Input(data.get(..SHORT_BYTES_MAX).unwrap_or(data));
    let at = usize::from(input.byte());
    let Ok(whole) = Reader::default().push(input.0) else { return };
    let (first, rest) = input.0.split_at(at.min(input.0.len()));
    let mut reader = Reader::default();
    let mut parts = reader.push(first).expect("short enough");
    parts.extend(reader.push(rest).expect("short enough"));
    assert_eq!(whole, parts);
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        for framing in [Framing::Events, Framing::Lines, Framing::Whole] {
            let whole = drafted(dialect, framing, &[input.0]);
            let Ok(draft) = &whole else { continue };
            assert!(draft.text.len() + draft.arguments.len() <= TEXT_BYTES_MAX);
            assert_eq!(drafted(dialect, framing, &[first, rest]), whole);
        }
    }
}

/// What a dialect's answer says that comes in these pieces.
fn drafted(dialect: Dialect, framing: Framing, pieces: &[&[u8]]) -> Result<Draft, PoolError> {
    let (mut parts, mut draft) = (Parts::new(dialect, framing), Draft::default());
    for piece in pieces {
        if parts.push(piece, &mut draft)? {
            return Ok(draft);
        }
    }
    // What is short is read at once; only megabytes are read elsewhere.
    at_once(parts.end(&mut draft))?;
    Ok(draft)
}
