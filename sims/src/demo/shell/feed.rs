//! Feeds the flight process: packets as the sensors make them, or the frames of a recording. The
//! socket blocks when the process can't take more, which is the back-pressure of a real bus. Some
//! pictures go into a folder that is shared with it instead, as those of a payload computer do.

use crate::demo::scene::SceneError;
use crate::relay::SimulatedClock;
use crate::spacecraft::Spacecraft;
use crate::spacecraft::payload::Picture;
use codecs::time::Tai;
use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How often a blocked send looks whether it is still wanted.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);
/// One picture in so many is left in the folder.
const FILE_EVERY: u32 = 3;
/// Longest sleep between two looks at the flag.
const SLICE: Duration = Duration::from_millis(100);

/// Why feeding ended early.
#[derive(Debug, Error)]
pub enum FeedError {
    /// The flight process is gone, or its socket.
    #[error("the flight process takes no packets: {0}")]
    Socket(#[from] io::Error),
    /// A picture can't be left in the folder.
    #[error("a picture can't be written to {0}: {1}")]
    Picture(PathBuf, io::Error),
    /// The spacecraft can't be flown on.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The spacecraft can't be flown on.
    #[error(transparent)]
    Orbit(#[from] crate::orbit::ElementsError),
}

/// What was fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Datagrams.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pictures left in the folder.
    pub pictures: u64,
}

/// Tells a feeder to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Stops it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The way into the flight process.
pub struct Feeder {
    socket: UnixDatagram,
    folder: Option<PathBuf>,
    stop: Stop,
    fed: Fed,
}

impl Feeder {
    /// Connects to the flight process's socket.
    pub fn connect(path: &Path, stop: Stop) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket, folder: None, stop, fed: Fed::default() })
    }

    /// Leaves some pictures in a folder.
    pub fn with_folder(self, folder: PathBuf) -> Self {
        Self { folder: Some(folder), ..self }
    }

    /// What went through so far.
    pub fn fed(&self) -> Fed {
        self.fed
    }

    /// Sends one datagram, as long as that takes; whether it still mattered.
    fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        loop {
            match self.socket.send(bytes) {
                Ok(_) => {
                    self.fed.datagrams += 1;
                    self.fed.bytes += bytes.len() as u64;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.stop.stopped() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands on what the sensors made.
    fn hand(&mut self, packet: &[u8]) -> Result<(), FeedError> {
        if let Some(folder) = &self.folder
            && let Some(picture) = Picture::of(packet)
            && picture.id.is_multiple_of(FILE_EVERY)
        {
            let failed = |error| FeedError::Picture(folder.clone(), error);
            leave(folder, &picture).map_err(failed)?;
            self.fed.pictures += 1;
            return Ok(());
        }
        self.send(packet)?;
        Ok(())
    }

    /// Flies on as fast as the flight process takes it, up to an instant: the recorder's content
    /// from before the contact.
    pub fn record(&mut self, craft: &mut Spacecraft, until: Tai) -> Result<(), FeedError> {
        let mut packets = Vec::new();
        while craft.now() < until && !self.stop.stopped() {
            craft.step(&mut packets)?;
            for packet in packets.drain(..) {
                self.hand(&packet)?;
            }
        }
        Ok(())
    }

    /// Flies on in real time until stopped.
    pub fn live(&mut self, craft: &mut Spacecraft, clock: SimulatedClock) -> Result<(), FeedError> {
        let mut packets = Vec::new();
        while self.wait(clock.instant_of(craft.now()).into_std()) {
            craft.step(&mut packets)?;
            for packet in packets.drain(..) {
                self.hand(&packet)?;
            }
        }
        Ok(())
    }

    /// Sends a recording's frames evenly from now on, until they end or it is stopped.
    pub fn replay(&mut self, frames: &[Vec<u8>], every: Duration) -> Result<(), FeedError> {
        let mut next = Instant::now();
        for frame in frames {
            if !self.wait(next) {
                break;
            }
            self.send(frame)?;
            next += every;
        }
        Ok(())
    }

    /// Waits for an instant; false once stopped.
    fn wait(&self, until: Instant) -> bool {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.stop.stopped() {
                return false;
            }
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(SLICE));
        }
    }
}

/// Leaves a picture under its name only once it is whole, behind its sidecar.
fn leave(folder: &Path, picture: &Picture) -> io::Result<()> {
    let name = format!("tile-{:06}", picture.id);
    let part = folder.join(format!("{name}.part"));
    for (ending, bytes) in [("json", picture.sidecar.as_bytes()), ("raw", &picture.raw)] {
        fs::write(&part, bytes)?;
        fs::rename(&part, folder.join(format!("{name}.{ending}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_socket_holds_the_feeder_back_until_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let stop = Stop::default();
        let mut feeder = Feeder::connect(&path, stop.clone()).unwrap();
        stop.stop();
        // Nobody reads: sends succeed until the queue is full, then one gives up.
        while feeder.send(&[0; 1000]).unwrap() {}
        let queued = feeder.fed().datagrams;
        assert!(queued > 0);
        let mut buffer = [0; 2000];
        for _ in 0..queued {
            assert_eq!(receiver.recv(&mut buffer).unwrap(), 1000);
        }
        drop(receiver);
        assert!(feeder.send(&[0; 10]).is_err());
    }

    #[test]
    fn recordings_go_out_frame_by_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let mut feeder = Feeder::connect(&path, Stop::default()).unwrap();
        let frames = [vec![1; 10], vec![2; 10]];
        feeder.replay(&frames, Duration::ZERO).unwrap();
        let mut buffer = [0; 20];
        for frame in frames {
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], frame);
        }
        assert_eq!(feeder.fed(), Fed { datagrams: 2, bytes: 20, pictures: 0 });
    }
}
