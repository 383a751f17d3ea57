//! Frames of the socket between the daemon and its embedded pool: bodies of the Open Inference
//! Protocol as REST has them, without HTTP. Several questions are under way at a time.
//!
//! | bytes | little-endian |
//! |---|---|
//! | 0..4 | number of the question, which its answer repeats |
//! | 4..6 | of a question 0, or 1 where it is given up; of an answer its status, as HTTP has it |
//! | 6..8 | length of the path; 0 in answers |
//! | 8..12 | length of the JSON before raw tensors; all ones where there is no such |
//! | 12..16 | length of the body |
//!
//! The body follows, then the path: so raw tensors lie where their elements may.

use super::oip::{Body, Written};
use bytes::{Buf as _, Bytes, BytesMut};
use std::io::{self, IoSlice};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of a head.
const HEAD_BYTES: usize = 16;

/// Stands for a length of JSON where there is none.
const NO_JSON: u32 = u32::MAX;

/// Bytes that are read at a time, at least and at most: memory comes with them, not on anybody's
/// word.
const READ_BYTES: (usize, usize) = (4 << 10, 1 << 20);

/// What a reader takes before a body has come, at most.
pub const READING_BYTES: u64 = 2 * READ_BYTES.1 as u64;

/// What a question's `code` is.
pub const ASKED: u16 = 0;
/// The same where it is given up; nothing follows.
pub const GIVEN_UP: u16 = 1;

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the question.
    pub number: u32,
    /// What the question is, or its answer's status.
    pub code: u16,
    /// Length of the path.
    pub path: u16,
    /// Length of the JSON before raw tensors.
    pub json: Option<u32>,
    /// Length of the body.
    pub body: u32,
}

impl Head {
    /// As it travels.
    const fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let [a, b, c, d] = self.number.to_le_bytes();
        let ([e, f], [g, h]) = (self.code.to_le_bytes(), self.path.to_le_bytes());
        let json = match self.json {
            Some(json) => json,
            None => NO_JSON,
        };
        let ([i, j, k, l], [m, n, o, p]) = (json.to_le_bytes(), self.body.to_le_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    fn read(mut bytes: &[u8]) -> Self {
        Self {
            number: bytes.get_u32_le(),
            code: bytes.get_u16_le(),
            path: bytes.get_u16_le(),
            json: Some(bytes.get_u32_le()).filter(|json| *json != NO_JSON),
            body: bytes.get_u32_le(),
        }
    }
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Body,
    /// Its path.
    pub path: Bytes,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Came<T> {
    /// A frame, and what was given for it.
    Frame(Frame, T),
    /// The head of one that there was no room for. The rest of it is passed over.
    PassedOver(Head),
}

/// Reads frames.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Of a stream.
    pub fn new(input: R) -> Self {
        Self { input, buffer: BytesMut::new() }
    }

    /// The next frame; none where the stream ends between two. `room` says from its head whether
    /// it is wanted, or an error where nothing that follows is. Not to be given up in the middle.
    pub async fn next<T>(
        &mut self,
        room: impl FnOnce(&Head) -> io::Result<Option<T>>,
    ) -> io::Result<Option<Came<T>>> {
        if !self.fill(HEAD_BYTES).await? {
            let cut = Err(io::ErrorKind::UnexpectedEof.into());
            return if self.buffer.is_empty() { Ok(None) } else { cut };
        }
        let head = Head::read(&self.buffer.split_to(HEAD_BYTES));
        let (body, path) = (head.body as usize, usize::from(head.path));
        let whole = body.saturating_add(path);
        let Some(room) = room(&head)? else {
            self.pass_over(whole).await?;
            return Ok(Some(Came::PassedOver(head)));
        };
        if !self.fill(whole).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = self.buffer.split_to(body).freeze();
        let path = self.buffer.split_to(path).freeze();
        let body = Body { bytes, json_length: head.json.map(|length| length as usize) };
        Ok(Some(Came::Frame(Frame { head, body, path }, room)))
    }

    /// Reads until there are so many bytes; false where the stream ends before.
    async fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buffer.len() < bytes {
            let missing = bytes - self.buffer.len();
            self.buffer.reserve(missing.clamp(READ_BYTES.0, READ_BYTES.1));
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn pass_over(&mut self, mut bytes: usize) -> io::Result<()> {
        loop {
            let here = bytes.min(self.buffer.len());
            self.buffer.advance(here);
            bytes -= here;
            if bytes == 0 {
                return Ok(());
            }
            if !self.fill(1).await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// A frame that is to be sent.
#[derive(Clone, Debug)]
pub struct Sent {
    head: [u8; HEAD_BYTES],
    body: Vec<Bytes>,
    path: String,
    /// Bytes that are sent already.
    done: usize,
}

impl Sent {
    /// A question, or an answer without a path; none where its parts are longer than a frame's.
    pub fn new(number: u32, code: u16, body: Written, path: String) -> Option<Self> {
        let json = match body.json_length {
            Some(length) => Some(u32::try_from(length).ok().filter(|length| *length != NO_JSON)?),
            None => None,
        };
        let length = body.parts.iter().map(Bytes::len).sum::<usize>();
        let body_length = u32::try_from(length).ok()?;
        let head =
            Head { number, code, path: path.len().try_into().ok()?, json, body: body_length };
        Some(Self { head: head.to_bytes(), body: body.parts, path, done: 0 })
    }

    /// A frame without a body.
    pub const fn alone(number: u32, code: u16) -> Self {
        let head = Head { number, code, path: 0, json: None, body: 0 };
        Self { head: head.to_bytes(), body: Vec::new(), path: String::new(), done: 0 }
    }

    /// Whether some of it is sent already.
    pub const fn begun(&self) -> bool {
        self.done > 0
    }

    /// Writes once what is left; true when nothing is left then.
    pub fn write_with(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        let mut slices = self.slices();
        let mut left = slices.as_mut_slice();
        IoSlice::advance_slices(&mut left, self.done);
        let length = left.iter().map(|slice| slice.len()).sum::<usize>();
        let wrote = write(left)?;
        self.done += wrote;
        Ok(wrote == length)
    }

    /// Writes what is left. Not to be given up in the middle.
    pub async fn write(&self, output: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut slices = self.slices();
        let mut left = slices.as_mut_slice();
        IoSlice::advance_slices(&mut left, self.done);
        while !left.is_empty() {
            match output.write_vectored(left).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                wrote => IoSlice::advance_slices(&mut left, wrote),
            }
        }
        Ok(())
    }

    fn slices(&self) -> Vec<IoSlice<'_>> {
        let parts = self.body.iter().map(|part| &**part);
        let parts = [&self.head[..]].into_iter().chain(parts).chain([self.path.as_bytes()]);
        parts.filter(|part| !part.is_empty()).map(IoSlice::new).collect()
    }
}

#[cfg(test)]
mod tests;
