//! A serial line, read as it comes.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    pin::Pin,
    task::{Context as Waiting, Poll, ready},
};

use anyhow::Context;
use rustix::{
    fs::OFlags,
    io::ioctl_fionread,
    termios::{ControlModes, InputModes, OptionalActions, tcgetattr, tcsetattr},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::unix::pipe::Receiver,
};

/// Bytes of one read.
const READ_BYTES: usize = 4096;

/// An open line.
pub struct Serial {
    /// Any file that is waited for by its readiness is read alike.
    line: Receiver,
    buffer: Box<[u8]>,
}

impl Serial {
    /// Opens a device and sets it to raw bytes of eight bits at `baud`.
    pub fn open(device: &Path, baud: u32) -> anyhow::Result<Self> {
        let at = || format!("[source] serial = {device:?}");
        let line = open(device, baud).with_context(at)?;
        let line = Receiver::from_file_unchecked(line).with_context(at)?;
        Ok(Self { line, buffer: vec![0; READ_BYTES].into() })
    }

    /// The next bytes; none are an error: the line is gone.
    pub fn poll_read(&mut self, waiting: &mut Waiting<'_>) -> Poll<io::Result<&[u8]>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.line).poll_read(waiting, &mut buffer))?;
        match buffer.filled().len() {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            length => Poll::Ready(Ok(self.buffer.get(..length).unwrap_or_default())),
        }
    }

    /// Bytes that are there now, if any.
    pub fn try_read(&mut self) -> Option<&[u8]> {
        let read = rustix::io::read(&self.line, &mut self.buffer[..]).ok().filter(|of| *of > 0)?;
        self.buffer.get(..read)
    }

    /// Whether bytes are there that were not read.
    pub fn is_waiting(&self) -> bool {
        ioctl_fionread(&self.line).is_ok_and(|count| count > 0)
    }
}

/// Opens a device for both ways, and sets it to raw bytes of eight bits at `baud`.
pub fn open(device: &Path, baud: u32) -> anyhow::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let line = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits() as i32)
        .open(device)
        .context("can't be opened; is the device there?")?;
    let mut modes = tcgetattr(&line).context("is no serial line; give a device")?;
    modes.make_raw();
    modes.input_modes.remove(InputModes::IXON | InputModes::IXOFF);
    modes.control_modes.insert(ControlModes::CREAD | ControlModes::CLOCAL);
    modes.set_speed(baud).with_context(|| format!("baud = {baud}: not a speed of this line"))?;
    tcsetattr(&line, OptionalActions::Now, &modes)
        .with_context(|| format!("baud = {baud}: can't be set"))?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    #[tokio::test]
    async fn every_byte_of_a_line_comes_as_it_was_sent() {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let device = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
        let mut near = Serial::open(Path::new(&device), 9600).unwrap();
        // Each byte that a terminal would read as a word to itself is among them.
        let sent: Vec<u8> = (0..=255).collect();
        rustix::io::write(&far, &sent).unwrap();
        let mut came = Vec::new();
        while came.len() < sent.len() {
            let read =
                std::future::poll_fn(|waiting| near.poll_read(waiting).map_ok(<[u8]>::to_vec));
            came.extend(read.await.unwrap());
        }
        assert_eq!(came, sent);
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Serial::open(file.path(), 9600).err().unwrap();
        assert!(format!("{error:#}").contains("no serial line"), "{error:#}");
    }
}
