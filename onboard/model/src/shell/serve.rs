//! The process that runs one model for its parent, asked over its standard input, a socket.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
};

use bytes::Bytes;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::{
    backend::{LoadOptions, LoadedModel},
    runtime::Runtime,
    wire::{HEADER_BYTES, Message, header},
};

/// Runs models until the parent closes its end.
///
/// `memory_bytes` bounds what the process may take for data; above it an allocation fails, and the
/// model with it. `idle` leaves the processor to everyone else.
pub fn serve(runtime: Option<&Path>, memory_bytes: u64, idle: bool) -> io::Result<()> {
    let limit = getrlimit(Resource::Data);
    let most = limit.maximum.map_or(memory_bytes, |maximum| maximum.min(memory_bytes));
    setrlimit(Resource::Data, Rlimit { current: Some(most), maximum: Some(most) })?;
    if idle {
        rustix::process::setpriority_process(None, 19)?;
    }
    let mut parent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let watched = parent.try_clone()?;
    // A model that hangs would not notice that nobody waits for it any more.
    std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        let mut parent = [PollFd::new(&watched, PollFlags::empty())];
        while poll(&mut parent, None).is_err() {}
        std::process::exit(0);
    })?;
    let mut model: Option<Box<dyn LoadedModel>> = None;
    let mut out = Vec::new();
    loop {
        let Some(question) = receive(&mut parent)? else { return Ok(()) };
        answer(question, runtime, &mut model).encode(&mut out);
        parent.write_all(&out)?;
    }
}

/// The next message; `None` at the end of the stream.
pub(crate) fn receive(from: &mut UnixStream) -> io::Result<Option<Message>> {
    let mut head = [0; HEADER_BYTES];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let (kind, length) = header(&head).map_err(wrong)?;
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Message::parse(kind, Bytes::from(body)).map(Some).map_err(wrong)
}

fn answer(
    question: Message,
    runtime: Option<&Path>,
    model: &mut Option<Box<dyn LoadedModel>>,
) -> Message {
    match question {
        Message::Load { threads, providers, model: bytes } => {
            let options = LoadOptions { threads: threads.max(1) as usize, providers };
            let loaded = Runtime::find(runtime).map_err(|error| error.to_string());
            let loaded = loaded.and_then(|runtime| {
                let session = runtime.backend().load(&bytes, &options);
                Ok((runtime.describe(), session.map_err(|error| error.to_string())?))
            });
            match loaded {
                Err(why) => Message::Failed(why),
                Ok((runtime, loaded)) => {
                    let providers = loaded.providers();
                    *model = Some(loaded);
                    Message::Loaded { rss_bytes: rss_bytes(), runtime, providers }
                }
            }
        }
        Message::Run(inputs) => {
            let Some(model) = model else { return Message::Failed("no model is loaded".into()) };
            let before = cpu_ns();
            match model.run(&inputs) {
                Ok(outputs) => {
                    let cpu_ns = cpu_ns().saturating_sub(before);
                    Message::Ran { cpu_ns, rss_bytes: rss_bytes(), outputs }
                }
                Err(error) => Message::Failed(error.to_string()),
            }
        }
        _ => Message::Failed("that is no question".into()),
    }
}

/// Processor time of this process, all its threads.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Memory of this process; 0 where the system does not tell.
pub fn rss_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
