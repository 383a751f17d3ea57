//! Signals that ask for a clean stop.

use std::io;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Returns when SIGTERM or SIGINT comes.
pub async fn stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Returns when the daemon was told to stop.
pub async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the daemon is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
