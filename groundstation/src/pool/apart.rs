//! What takes long to read, on a thread of its own: the daemon's one takes in what arrives, and does
//! not wait for megabytes of a pool's words.

/// Bytes from which on a thread costs less than the wait.
const APART_BYTES_MIN: usize = 256 << 10;

/// Reads so many bytes, apart where they are many.
pub async fn apart<T: Send + 'static>(
    bytes: usize,
    read: impl FnOnce() -> T + Send + 'static,
) -> T {
    if bytes < APART_BYTES_MIN {
        return read();
    }
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
}
