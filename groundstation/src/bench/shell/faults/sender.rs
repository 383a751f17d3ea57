//! A spacecraft that sends on a schedule, whatever the station answers: small objects of frames at
//! a steady rate, and tiles among them, each of which becomes a job.
//!
//! Latency counts from the schedule's time, so that what an earlier object holds up is seen.

use super::super::{
    frames::{self, FRAME_BYTES},
    send::{Client, Control},
};
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use codecs::{
    ids::{Channel, Codec, KeyPrefix, RangeSet, SeqRange, SpacecraftId},
    link::{object::write_unit, wire::Message},
    product::{Product, ProductKind},
    time::Tai,
};
use quinn::{Connection, VarInt};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What is sent before anything is measured.
pub const WARM_UP: Duration = Duration::from_secs(1);

/// Frames of an object: 22 kB, about a tile.
const FRAMES_EACH: u32 = 20;
/// Objects of frames that differ; then they come again under new sequences.
const OBJECTS_MAX: usize = 2048;
/// Stream of the tiles.
const TILES: u32 = 1;
/// Bands and side of a tile: 16 KiB.
const TILE: (u8, u16) = (4, 64);
/// UDP payload of packets, bytes.
const MTU: u16 = 1452;
/// How long one waits for receipts after the last object.
const PATIENCE: Duration = Duration::from_secs(10);

/// One object of the schedule.
struct Planned {
    /// Since the beginning.
    at: Duration,
    codec: Codec,
    units: SeqRange,
    body: Bytes,
}

/// What is sent and when: made once and sent in every run, so that all runs take the same.
pub struct Schedule {
    planned: Vec<Planned>,
    /// Tiles among it.
    pub tiles: u64,
}

impl Schedule {
    /// So many bytes of frames and tiles a second, for the warm-up and so long after it.
    pub fn new(bytes_s: f64, tiles_s: f64, time: Duration) -> anyhow::Result<Self> {
        let time = WARM_UP + time;
        let every = |rate: f64| (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate));
        let times = |every: Option<Duration>| {
            let every = every.unwrap_or(Duration::MAX);
            (0u32..).map_while(move |at| every.checked_mul(at)).take_while(move |at| *at < time)
        };
        let frames_every = every(bytes_s / (FRAMES_EACH as usize * FRAME_BYTES) as f64);
        let count = times(frames_every).count();
        let bodies = frames::objects(SpacecraftId(1), count.clamp(1, OBJECTS_MAX), FRAMES_EACH)?;
        let frames = times(frames_every).zip(bodies.iter().cycle()).zip(0u64..);
        let frames = frames.map(|((at, body), number)| {
            let first = number * u64::from(FRAMES_EACH);
            let units = SeqRange { first, last: first + u64::from(FRAMES_EACH) - 1 };
            Planned { at, codec: Codec::AosFrame, units, body: body.clone() }
        });
        let mut planned: Vec<Planned> = frames.collect();
        let pixels = noise(usize::from(TILE.0) * usize::from(TILE.1) * usize::from(TILE.1));
        let tiles_every = every(tiles_s);
        for (at, number) in times(tiles_every).zip(0u32..) {
            let mut body = Vec::new();
            write_unit(&mut body, None, &tile(number, &pixels).encode());
            let units = SeqRange { first: number.into(), last: number.into() };
            planned.push(Planned { at, codec: Codec::Product, units, body: body.into() });
        }
        let tiles = (planned.len() - count) as u64;
        planned.sort_by_key(|object| object.at);
        Ok(Self { planned, tiles })
    }
}

/// What no squeezing shortens.
fn noise(bytes: usize) -> Bytes {
    let mut state = 0x2545_F491_u32;
    let byte = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    });
    byte.take(bytes).collect::<Vec<u8>>().into()
}

fn tile(id: u32, pixels: &Bytes) -> Product {
    let (bands, side) = TILE;
    Product {
        kind: ProductKind::Tile,
        id,
        captured: Tai(1_795_392_037_000_000_000).plus(i64::from(id) * 1_000_000),
        latitude: 78.2,
        longitude: 15.4,
        attitude: None,
        footprint: None,
        score: 0.25,
        truth: None,
        bands,
        bits: 8,
        max_error: 0,
        width: side,
        height: side,
        source_bytes: pixels.len() as u32,
        mask_width: 0,
        mask_height: 0,
        mask: Bytes::new(),
        regions: Vec::new(),
        features: Vec::new(),
        pixels: pixels.clone(),
    }
}

/// What came of it.
pub struct Sent {
    /// Of each object after the warm-up that was receipted, in milliseconds.
    pub latencies_ms: Vec<f64>,
    /// Objects.
    pub objects: u64,
    /// Of them those without a receipt.
    pub unreceipted: u64,
}

/// An object whose receipt is outstanding.
struct Awaited {
    due: Instant,
    measured: bool,
    channel: Channel,
    units: SeqRange,
}

/// Receipts against what is awaited.
#[derive(Default)]
struct Receipts {
    awaited: Vec<Awaited>,
    frames: RangeSet,
    tiles: RangeSet,
    latencies_ms: Vec<f64>,
}

impl Receipts {
    fn take(&mut self, message: Message, now: Instant) -> anyhow::Result<()> {
        let entries = match message {
            Message::Receipts { entries, .. } => entries,
            Message::Refusals { reason, .. } => {
                bail!("the station refused units: {}", reason.name());
            }
            _ => return Ok(()),
        };
        for entry in entries {
            let is_tiles = entry.channel == Channel::stream(TILES);
            let held = if is_tiles { &mut self.tiles } else { &mut self.frames };
            entry.ranges.iter().for_each(|range| held.insert(*range));
            let (held, latencies_ms) = (&*held, &mut self.latencies_ms);
            self.awaited.retain(|object| {
                if object.channel != entry.channel || !holds(held, object.units) {
                    return true;
                }
                if object.measured {
                    latencies_ms.push(now.duration_since(object.due).as_secs_f64() * 1e3);
                }
                false
            });
        }
        Ok(())
    }
}

/// Whether all units of a range are in a set.
fn holds(set: &RangeSet, units: SeqRange) -> bool {
    set.ranges().iter().any(|range| range.first <= units.first && units.last <= range.last)
}

/// Sends all of it to a station, and reads receipts until there are all, or patience is over.
pub async fn send(station: &Path, to: SocketAddr, schedule: &Schedule) -> anyhow::Result<Sent> {
    let client = Client::connect(station, 1, to, MTU).await?;
    let mut control = client.greet().await?;
    let sent = paced(&client, &mut control, schedule).await?;
    client.connection.close(VarInt::from_u32(0), b"");
    Ok(sent)
}

async fn paced(
    client: &Client,
    control: &mut Control,
    schedule: &Schedule,
) -> anyhow::Result<Sent> {
    let frames = client.prefix(1);
    let tiles = KeyPrefix { channel: Channel::stream(TILES), ..frames };
    let mut receipts = Receipts::default();
    let (mut writing, mut planned) = (JoinSet::new(), schedule.planned.iter().peekable());
    let began = Instant::now();
    let over = schedule.planned.last().map_or(began, |last| began + last.at + PATIENCE);
    while planned.peek().is_some() || !receipts.awaited.is_empty() {
        let due = planned.peek().map_or(over, |next| began + next.at);
        tokio::select! {
            () = sleep_until(due) => {
                let Some(object) = planned.next() else { break };
                let prefix = if object.codec == Codec::Product { tiles } else { frames };
                let measured = object.at >= WARM_UP;
                let (channel, units) = (prefix.channel, object.units);
                receipts.awaited.push(Awaited { due, measured, channel, units });
                writing.spawn(write(client.connection.clone(), prefix, object));
            }
            message = control.message() => {
                let message = message.context("while receipts were waited for")?;
                receipts.take(message, Instant::now())?;
            }
            Some(written) = writing.join_next() => written??,
        }
    }
    Ok(Sent {
        latencies_ms: receipts.latencies_ms,
        objects: schedule.planned.len() as u64,
        unreceipted: receipts.awaited.len() as u64,
    })
}

/// Writes one object on a stream of its own, however long the station lets it wait.
fn write(
    connection: Connection,
    prefix: KeyPrefix,
    object: &Planned,
) -> impl Future<Output = anyhow::Result<()>> + use<> {
    let SeqRange { first, last } = object.units;
    let count = (last - first + 1) as u32;
    let body = object.body.clone();
    let header = frames::header_of(&prefix, object.codec, first, count, &body).encode().to_vec();
    async move {
        let mut stream = connection.open_uni().await?;
        stream.write_all_chunks(&mut [header.into(), body]).await?;
        stream.finish()?;
        let stopped = stream.stopped().await?;
        ensure!(stopped.is_none(), "the station stopped a stream");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::{
        ids::StoreEpoch,
        link::custody::{Durability, KeyRanges},
    };

    #[test]
    fn the_schedule_has_its_rates_and_every_tile_is_another_product() {
        let schedule = Schedule::new(446_000.0, 10.0, Duration::from_secs(1)).unwrap();
        let (tiles, frames): (Vec<_>, Vec<_>) =
            schedule.planned.iter().partition(|object| object.codec == Codec::Product);
        assert_eq!((frames.len(), tiles.len(), schedule.tiles), (40, 20, 20));
        assert!(schedule.planned.is_sorted_by_key(|object| object.at));
        let last = schedule.planned.last().unwrap().at;
        assert!(last < Duration::from_secs(2) && last > Duration::from_millis(1900), "{last:?}");
        for (number, tile) in (0u64..).zip(tiles) {
            let product = Product::decode(&tile.body.slice(8..)).unwrap();
            assert_eq!((u64::from(product.id), tile.units.first), (number, number));
        }
    }

    #[test]
    fn an_object_is_receipted_when_its_last_unit_is() {
        let due = Instant::now();
        let awaited = |channel, first, last, measured| Awaited {
            due,
            measured,
            channel,
            units: SeqRange { first, last },
        };
        let (frames, tiles) = (Channel::virtual_channel(1, 1, 0, 0), Channel::stream(TILES));
        let mut receipts = Receipts::default();
        receipts.awaited.push(awaited(frames, 0, 19, true));
        receipts.awaited.push(awaited(frames, 20, 39, false));
        receipts.awaited.push(awaited(tiles, 0, 0, true));
        let told = |channel, ranges: &[(u64, u64)]| Message::Receipts {
            ledger: 1,
            class: Durability::ObjectStore,
            entries: vec![KeyRanges {
                epoch: StoreEpoch(1),
                spacecraft: SpacecraftId(1),
                channel,
                ranges: ranges.iter().map(|&(first, last)| SeqRange { first, last }).collect(),
            }],
        };
        let now = due + Duration::from_millis(30);
        receipts.take(told(frames, &[(0, 9), (11, 30)]), now).unwrap();
        assert_eq!((receipts.awaited.len(), receipts.latencies_ms.len()), (3, 0));
        receipts.take(told(frames, &[(10, 10), (31, 39)]), now).unwrap();
        assert_eq!(receipts.latencies_ms, [30.0], "what was sent to warm up is not measured");
        assert_eq!(receipts.awaited.len(), 1);
        receipts.take(told(tiles, &[(0, 0)]), now + Duration::from_millis(5)).unwrap();
        assert_eq!((receipts.awaited.len(), &*receipts.latencies_ms), (0, &[30.0, 35.0][..]));
    }
}
