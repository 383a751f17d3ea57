//! Bodies of HTTP messages: written in parts that are not copied together, gathered with one copy.

use super::room::{Room, Rooms};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Parts that together are shorter than this are cheaper to copy than to write one by one.
pub const JOINED_BYTES_MAX: usize = 16 << 10;

/// A body whose parts are known, and with them its length.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    parts: VecDeque<Bytes>,
    left: usize,
}

impl From<Vec<Bytes>> for Parts {
    fn from(parts: Vec<Bytes>) -> Self {
        let left = parts.iter().map(Bytes::len).sum();
        let parts = match left <= JOINED_BYTES_MAX && parts.len() > 1 {
            true => VecDeque::from([Bytes::from(parts.concat())]),
            false => parts.into(),
        };
        Self { parts, left }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.pop_front();
        self.left -= part.as_ref().map_or(0, Bytes::len);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

/// Why a body could not be gathered.
#[derive(Debug)]
pub enum Ungathered<E> {
    /// It is longer than allowed.
    TooLong,
    /// It ended early.
    Broken(E),
}

/// Gathers a body of at most so many bytes. What came is copied and given back at once, so that
/// the connection reads into the same memory again; a body of one piece is not copied.
pub async fn gather<B>(
    mut body: B,
    most: usize,
    rooms: &Rooms,
) -> Result<Bytes, Ungathered<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let told = body.size_hint().lower();
    if told > most as u64 {
        return Err(Ungathered::TooLong);
    }
    let mut first: Option<Bytes> = None;
    let mut all: Option<Room> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Ungathered::Broken)?.into_data() else { continue };
        let before =
            first.as_ref().map_or(0, Bytes::len) + all.as_ref().map_or(0, |all| all.piece.len());
        if before + data.len() > most {
            return Err(Ungathered::TooLong);
        }
        if before == 0 {
            first = Some(data);
            continue;
        }
        let all = all.get_or_insert_with(|| rooms.take(told as usize));
        if let Some(first) = first.take() {
            all.piece.extend_from_slice(&first);
        }
        all.piece.extend_from_slice(&data);
    }
    Ok(match all {
        Some(all) => all.into_bytes(),
        None => first.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(lengths: &[usize]) -> Parts {
        let part = |(at, length): (usize, &usize)| Bytes::from(vec![at as u8; *length]);
        Parts::from(lengths.iter().enumerate().map(part).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn what_goes_in_parts_comes_whole() {
        for lengths in [&[][..], &[0], &[3], &[1, 2], &[0, 20_000, 0, 1], &[9, 1 << 20, 7]] {
            let (body, wanted) = (parts(lengths), lengths.iter().sum::<usize>());
            assert_eq!(body.size_hint().exact(), Some(wanted as u64));
            let whole = gather(body.clone(), wanted, &Rooms::default()).await.unwrap();
            assert_eq!(whole, body.parts.iter().flatten().copied().collect::<Vec<_>>());
            if wanted > 0 {
                let cut = gather(body, wanted - 1, &Rooms::default()).await;
                assert!(matches!(cut, Err(Ungathered::TooLong)), "{lengths:?}");
            }
        }
    }

    #[tokio::test]
    async fn one_piece_is_not_copied() {
        let body = parts(&[1 << 20]);
        let before = body.parts[0].as_ptr();
        assert_eq!(gather(body, 1 << 20, &Rooms::default()).await.unwrap().as_ptr(), before);
    }
}
