//! `groundstation replay`: what the archive holds, once more through a door.

use super::{
    Stop,
    board::Board,
    file::Files,
    source::Out,
    tcp::{self, Link},
    udp::Datagrams,
};
use crate::{
    commands::{WrongUsage, say},
    door::{
        framing::Framing,
        rotation::Rotation,
        spec::{Begin, Destination, Door, FramingKind, Goods, WhenSlow},
        tempo::{self, Tempo},
    },
    publish::Feed,
    shell::{
        clock::StationClock,
        door_files,
        history::{Choice, stop_on_signal},
    },
};
use anyhow::{Context as _, anyhow, bail};
use codecs::frame::cadu::Coding;
use serde_json::json;
use std::{
    io,
    net::{TcpListener, TcpStream},
    ops::ControlFlow,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// How soon a stop is noticed while nothing is due.
const NAP: Duration = Duration::from_millis(50);

/// Send what the archive holds once more, through a door of any kind
///
/// Reads beside a running daemon. Ctrl-C ends it in order.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    groundstation replay --to udp:127.0.0.1:10017 --send frames --vc 0 --speed 10\n  \
    groundstation replay --to tcp-server:127.0.0.1:2950 --apid 100 --from 2026-11-26T14:00:00Z\n\n\
    Exit codes: 0 everything went out, 1 it did not, 2 wrong usage.")]
pub struct ReplayArgs {
    /// udp:HOST:PORT, tcp-client:HOST:PORT, tcp-server:ADDRESS:PORT (for one client) or file:PATH
    #[arg(long, value_name = "DOOR")]
    pub to: Destination,
    #[command(flatten)]
    choice: Choice,
    /// Times real time, or max
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = tempo::speed)]
    pub speed: Tempo,
    /// What stands around each frame or packet
    #[arg(long, value_enum, default_value = "raw")]
    pub framing: FramingKind,
    /// Coding of CADUs, such as rs:223:i4:dual,randomized:255
    #[arg(long, value_name = "CODING")]
    pub coding: Option<Coding>,
    /// Megabits a second that go out over UDP at most
    #[arg(long, value_name = "NUMBER")]
    pub rate_mbit_s: Option<f64>,
    /// Print one JSON document at the end
    #[arg(long)]
    pub json: bool,
}

/// Replays.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let config = args.choice.load()?;
    let stop = stop_on_signal()?;
    let door = door(args)?;
    let feed = Feed::default();
    let board = Board::new(&door, feed.clone());
    let clock = StationClock::new(0.0);
    let parts = (board.clone(), clock, stop.clone());
    let mut out: Box<dyn Way> = match &args.to {
        Destination::Udp(host) => {
            let mut datagrams = Datagrams::new(&door, host, parts);
            datagrams.open().with_context(|| format!("can't send to {}", args.to))?;
            Box::new(datagrams)
        }
        Destination::TcpClient(host) => {
            let stream = tcp::open(host).with_context(|| format!("can't reach {}", args.to))?;
            Box::new(Link::to(&door, &board, host, stop.clone()).with(stream))
        }
        Destination::TcpServer(address) => {
            let listener = TcpListener::bind(address)
                .with_context(|| format!("can't listen on {address}; choose another port"))?;
            tracing::info!(at = %listener.local_addr()?, "waiting for a client");
            let Some(stream) = client(&listener, &stop).context("no client")? else {
                bail!("stopped before a client came to {address}");
            };
            Box::new(Link::from(&door, &board, stop.clone()).prepared(stream)?)
        }
        Destination::File(path) => {
            let spare = door_files::is_spare(&config, &args.choice.config, path);
            spare.map_err(|why| anyhow!("--to {}: {why}", args.to))?;
            let mut files = Files::new(&door, path, parts);
            files.open().with_context(|| format!("can't write to {}", path.display()))?;
            Box::new(files)
        }
    };
    let (begun, mut tempo) = (Instant::now(), args.speed);
    let read = args.choice.read(&config, &stop, |parcel| {
        let due = begun + Duration::from_nanos(tempo.due_ns(parcel.received));
        if due > Instant::now() {
            // What went before does not wait for company.
            out.settle()?;
            wait_until(due, &stop)?;
        }
        out.put(&parcel)
    })?;
    let taken = out.finish(&stop);
    board.tell();
    let snapshot = feed.snapshot();
    let view = snapshot.doors.first().cloned().unwrap_or_default();
    let mut dropped = view.dropped.clone();
    dropped.extend(&read.left_out);
    let complete = taken && read.is_complete();
    let seconds = begun.elapsed().as_secs_f64();
    let (sent, bytes) = (view.sent, view.sent_bytes);
    match args.json {
        true => say(&json!({
            "complete": complete, "sent": sent, "bytes": bytes, "left_out": dropped,
            "damaged": read.passed_over, "seconds": seconds,
        })
        .to_string()),
        false => {
            let what = args.choice.send;
            say(&format!("{sent} {what}, {bytes} bytes sent to {} in {seconds:.1} s", args.to));
            for (reason, count) in &dropped {
                say(&format!("{count} left out: {reason}"));
            }
            read.passed_over.lines().iter().for_each(|line| say(line));
        }
    }
    if let Some(error) = view.error.filter(|_| !complete) {
        bail!("{error}");
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn door(args: &ReplayArgs) -> anyhow::Result<Door> {
    if args.coding.is_some() && args.framing != FramingKind::Cadu {
        return Err(WrongUsage("only `--framing cadu` has a --coding".into()).into());
    }
    if args.framing == FramingKind::Cadu && args.choice.send == Goods::Packets {
        bail!("--framing cadu: a CADU holds a frame; add `--send frames`");
    }
    if args.rate_mbit_s.is_some_and(|rate| !rate.is_finite() || rate < 0.001) {
        bail!("--rate-mbit-s must be 0.001 or more");
    }
    Ok(Door {
        name: "replay".into(),
        to: args.to.clone(),
        selection: args.choice.selection(),
        framing: Framing::new(args.framing, args.coding.unwrap_or(Coding::NONE)),
        when_slow: WhenSlow::Wait,
        begin: Begin::Start,
        clients_max: 1,
        rate_bit_s: args.rate_mbit_s.map(|rate| rate * 1e6),
        patience_ns: 0,
        rotation: Rotation::default(),
    })
}

fn wait_until(due: Instant, stop: &Stop) -> ControlFlow<()> {
    loop {
        if stop.is_over() {
            return ControlFlow::Break(());
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return ControlFlow::Continue(());
        }
        thread::sleep(left.min(NAP));
    }
}

/// A way out that ends.
trait Way: Out {
    /// Waits until everything is taken; whether it was.
    fn finish(&mut self, stop: &Stop) -> bool;
}

impl Way for Datagrams {
    fn finish(&mut self, _: &Stop) -> bool {
        self.settle().is_continue()
    }
}

impl Way for Files {
    fn finish(&mut self, _: &Stop) -> bool {
        self.write().is_continue()
    }
}

impl Way for Link {
    fn finish(&mut self, stop: &Stop) -> bool {
        self.drain(|| stop.is_over())
    }
}

/// The first client, unless a signal comes before.
fn client(listener: &TcpListener, stop: &Stop) -> io::Result<Option<TcpStream>> {
    listener.set_nonblocking(true)?;
    while !stop.is_over() {
        match listener.accept() {
            Ok((stream, peer)) => {
                tracing::info!(%peer, "client");
                stream.set_nonblocking(false)?;
                return Ok(Some(stream));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(NAP),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
