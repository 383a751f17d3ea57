//! Both halves of a socket between two processes of this machine.
//!
//! Tokio's own waits for room to write all the time, and the system tells of that whenever the
//! other end has read something: two needless switches between processes a question, half of what
//! it costs. These wait for it only where there was none.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// The half that reads.
#[derive(Debug)]
pub struct ReadHalf(AsyncFd<Arc<UnixStream>>);

/// The half that writes.
#[derive(Debug)]
pub struct WriteHalf {
    stream: Arc<UnixStream>,
    /// While there is no room.
    full: Option<AsyncFd<UnixStream>>,
}

/// Cuts a socket in two.
pub fn halves(stream: UnixStream) -> io::Result<(ReadHalf, WriteHalf)> {
    stream.set_nonblocking(true)?;
    let stream = Arc::new(stream);
    // SAFETY: a stream keeps its one descriptor, open, for as long as it lives.
    let read = unsafe { AsyncFd::register_with_interest(Arc::clone(&stream), Interest::READABLE) }?;
    Ok((ReadHalf(read), WriteHalf { stream, full: None }))
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let room = buf.initialize_unfilled();
            let most = room.len();
            let Ok(read) = ready.try_io(|stream| (&**stream.get_ref()).read(room)) else {
                continue;
            };
            let read = read?;
            if (1..most).contains(&read) {
                // That was all; the next that comes is told of.
                ready.clear_ready();
            }
            buf.advance(read);
            return Poll::Ready(Ok(()));
        }
    }
}

impl WriteHalf {
    /// Writes what there is room for now.
    pub fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.stream).write_vectored(slices)
    }

    /// Another one to the same socket.
    pub fn another(&self) -> Self {
        Self { stream: Arc::clone(&self.stream), full: None }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.write_now(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                wrote => {
                    self.full = None;
                    return Poll::Ready(wrote);
                }
            }
            if self.full.is_none() {
                // One of its own: a file is waited for once, and the other half waits for this.
                let own = self.stream.try_clone()?;
                // SAFETY: as above.
                let own = unsafe { AsyncFd::register_with_interest(own, Interest::WRITABLE) }?;
                self.full = Some(own);
            }
            if let Some(full) = &self.full {
                ready!(full.poll_write_ready(cx))?.clear_ready();
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn what_is_written_is_read_to_the_end_whether_there_is_room_or_not() {
        let (own, other) = UnixStream::pair().unwrap();
        let (mut read, back) = halves(own).unwrap();
        let (end, mut write) = halves(other).unwrap();
        let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
        let wanted = bytes.clone();
        let writer = tokio::spawn(async move {
            for piece in [&bytes[..1], &bytes[1..2_999_999], &bytes[2_999_999..]] {
                write.write_all(piece).await.unwrap();
            }
            assert!(write.full.is_none(), "room is waited for only where there is none");
            drop(end);
        });
        let mut seen = Vec::new();
        read.read_to_end(&mut seen).await.unwrap();
        writer.await.unwrap();
        assert_eq!(seen, wanted);
        let told = back.another().write(b"nobody").await.unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::BrokenPipe);
    }
}
