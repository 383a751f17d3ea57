//! What takes long to read, on a thread of its own: the daemon's one takes in what arrives, and does
//! not wait for megabytes of a pool's words.

use tokio::sync::Semaphore;

/// Bytes from which on a thread costs less than the wait.
pub const APART_BYTES_MIN: usize = 256 << 10;

/// Who reads apart: one at a time, so that what reading takes beside is taken once.
static TURN: Semaphore = Semaphore::const_new(1);

/// Reads so many bytes, apart where they are many.
pub async fn apart<T: Send + 'static>(
    bytes: usize,
    read: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes < APART_BYTES_MIN {
        return read();
    }
    let turn = TURN.acquire().await;
    // Who gives up gives its turn back only once the thread is done.
    let read = move || {
        let _turn = turn;
        read()
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it who asks.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[tokio::test]
    async fn only_what_is_large_leaves_the_thread() {
        let here = thread::current().id();
        let of = |bytes| apart(bytes, || thread::current().id());
        assert_eq!(of(APART_BYTES_MIN - 1).await, here);
        assert_ne!(of(APART_BYTES_MIN).await, here);
    }

    #[tokio::test]
    async fn who_reads_much_waits_for_who_does_even_if_nobody_wants_that_any_more() {
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let begun = tokio::spawn(apart(APART_BYTES_MIN, move || told.recv().is_err()));
        while TURN.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        begun.abort();
        assert!(begun.await.is_err());
        let mut next = std::pin::pin!(apart(APART_BYTES_MIN, || ()));
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(tell);
        next.await;
    }
}
