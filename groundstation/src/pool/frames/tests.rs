use super::*;
use proptest::prelude::*;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Gives bytes in pieces of so many.
struct Pieces<'a>(&'a [u8], usize);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, rest) = self.0.split_at(self.1.min(self.0.len()).min(buf.remaining()));
        buf.put_slice(now);
        self.0 = rest;
        Poll::Ready(Ok(()))
    }
}

fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn frame() -> impl Strategy<Value = (Head, Vec<Vec<u8>>, String)> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    let body = proptest::collection::vec(bytes(300), 0..4);
    let json = proptest::option::of(0..NO_JSON);
    (any::<u32>(), any::<u16>(), json, body, "[a-z/]{0,40}").prop_map(
        |(number, code, json, body, path)| {
            let length = body.iter().map(Vec::len).sum::<usize>() as u32;
            (Head { number, code, path: path.len() as u16, json, body: length }, body, path)
        },
    )
}

proptest! {
    /// Whatever pieces they come in, and whichever of them are passed over.
    #[test]
    fn frames_come_as_they_were_written(
        frames in proptest::collection::vec((frame(), any::<bool>()), 0..6),
        piece in 1usize..400,
        cut in 1usize..16,
    ) {
        let mut written = Vec::new();
        for ((head, body, path), _) in &frames {
            let body: Vec<Bytes> = body.iter().map(|part| Bytes::from(part.clone())).collect();
            let body = Written { parts: body, json_length: head.json.map(|length| length as usize) };
            let mut sent = Sent::new(head.number, head.code, body, path.clone()).unwrap();
            // Some of it at once, where there is room, and then the rest.
            let whole = sent.write_with(|slices| {
                let now = piece.min(slices.iter().map(|slice| slice.len()).sum());
                let bytes = slices.iter().flat_map(|slice| slice.iter());
                written.extend(bytes.take(now));
                Ok(now)
            });
            if !whole.unwrap() {
                at_once(sent.write(&mut written)).unwrap();
            }
        }
        let mut reader = Reader::new(Pieces(&written, piece));
        for ((head, body, path), wanted) in &frames {
            let came = at_once(reader.next(|_| Ok(wanted.then_some(7)))).unwrap().unwrap();
            let json_length = head.json.map(|length| length as usize);
            let body = Body { bytes: body.concat().into(), json_length };
            let frame = Frame { head: *head, body, path: path.clone().into() };
            prop_assert_eq!(came, match wanted {
                true => Came::Frame(frame, 7),
                false => Came::PassedOver(*head),
            });
        }
        prop_assert!(at_once(reader.next(|_| Ok(Some(())))).unwrap().is_none());
        // One that ends in the middle is no frame.
        if let Some(((head, body, path), _)) = frames.last() {
            let whole = HEAD_BYTES + body.concat().len() + path.len();
            let from = written.len() - whole;
            let short = &written[from..from + whole - cut.min(whole - 1)];
            let mut reader = Reader::new(Pieces(short, piece));
            let came = at_once(reader.next(|found| Ok((found == head).then_some(()))));
            prop_assert_eq!(came.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    let head = Head { number: 1, code: ASKED, path: 0, json: None, body: u32::MAX }.to_bytes();
    let mut reader = Reader::new(Pieces(&head, 100));
    assert!(at_once(reader.next(|_| Ok(Some(())))).is_err());
    assert!(reader.buffer.capacity() as u64 <= READING_BYTES, "{}", reader.buffer.capacity());
}
