use super::*;
use crate::{
    archive::{Archive, Incoming, Now, Settings, twice::Twice},
    door::spec::DoorConfig,
    publish::Feed,
    shell::{disk::Folder, doors::Stop},
};
use bytes::Bytes;
use codecs::{
    frame::aos::{AosBuilder, AosConfig},
    ids::{Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch, UnitKey},
    mission::Definition,
    packet::idle::idle_packet,
    time::Tai,
};
use proptest::prelude::*;
use std::{path::Path, sync::Arc};

const MISSION: &str = "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'A'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 128\nfecf = true\n";
const CHANNELS: u8 = 3;
const FRAMES: usize = 20;
const NOW: Now = Now { mono_ms: 0, tai: Tai(0) };

/// A file in memory that is closed every few frames, and a disk that knows only what was noted.
struct Model {
    log: Vec<Bytes>,
    noted: (Cursor, usize),
    puts: usize,
    turn_every: usize,
    kill_at: usize,
}

impl Out for Model {
    fn put(&mut self, parcel: &Parcel) -> ControlFlow<()> {
        self.log.push(parcel.bytes.clone());
        self.puts += 1;
        match self.puts == self.kill_at {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn turns(&mut self, next: Option<&Parcel>) -> bool {
        next.is_some() && self.puts.is_multiple_of(self.turn_every)
    }

    fn settle(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn checkpoint(&mut self, cursor: Cursor) {
        self.noted = (cursor, self.log.len());
    }
}

/// Frames of each channel, by sequence.
fn frames() -> Vec<Vec<Bytes>> {
    let channel = |vc| {
        let config = AosConfig::new(128).with_fecf(true);
        let mut builder = AosBuilder::new(config, 71, vc, 0).unwrap();
        let mut frames = vec![];
        while frames.len() < FRAMES {
            builder.push(&idle_packet(100).unwrap(), &mut |frame| frames.push(frame)).unwrap();
        }
        frames.truncate(FRAMES);
        frames
    };
    (0..CHANNELS).map(channel).collect()
}

/// Archives frames in an order; where the archive ends after each commit.
fn archive(dir: &Path, order: &[(u8, usize)], frames: &[Vec<Bytes>]) -> Vec<Position> {
    let settings = Settings { segment_bytes: 16 << 10 };
    let (mut archive, _) = Archive::open(Folder::at(dir), settings, 1).unwrap();
    let mut ends = vec![];
    for units in order.chunks(7) {
        for (vc, sequence) in units {
            let prefix = KeyPrefix {
                origin: Origin([1; 16]),
                epoch: StoreEpoch(1),
                spacecraft: SpacecraftId(7),
                channel: Channel::virtual_channel(1, 71, *vc, 0),
            };
            let unit = Incoming {
                key: UnitKey { prefix, sequence: *sequence as u64 },
                codec: Codec::AosFrame,
                received: Tai(0),
                annotation: None,
                bytes: frames[usize::from(*vc)][*sequence].clone(),
            };
            archive.offer(&unit, NOW).unwrap();
        }
        archive.commit(NOW).unwrap();
        ends.push(archive.end());
    }
    ends
}

/// Follows the archive up to `end`, until it is killed or everything is handed over.
fn follow(dir: &Path, end: Position, patience_ms: u64, model: &mut Model) -> Step {
    let hub = Hub::new(Folder::at(dir), Twice::NOTHING, end);
    hub.close();
    let shared = Shared {
        hub,
        definition: Arc::new(Definition::from_toml(MISSION).unwrap()),
        clock: StationClock::new(0.0),
        ledger: 1,
        base: dir.into(),
        stop: Stop::default(),
    };
    let config = format!("name = 'a'\nto = 'file:a'\nsend = 'frames'\npatience_ms = {patience_ms}");
    let door = toml::from_str::<DoorConfig>(&config).unwrap().check().unwrap();
    let board = Board::new(&door, Feed::default());
    let mut source = Source::new(&shared, &door, &board, Some(model.noted.0.clone()));
    loop {
        match source.step(model) {
            Step::Went | Step::Quiet => {}
            step => return step,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Killed at any moment, cut to what was noted and gone on: each frame is there once, however
    /// channels wait for each other's late frames.
    #[test]
    fn a_cursor_and_what_went_out_agree_at_every_moment(
        order in Just((0..CHANNELS).flat_map(|vc| (0..FRAMES).map(move |at| (vc, at)))
            .collect::<Vec<_>>()).prop_shuffle(),
        turn_every in 1usize..12,
        patient in any::<bool>(),
        runs in prop::collection::vec((0usize..9, 1usize..40), 0..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let frames = frames();
        let ends = archive(dir.path(), &order, &frames);
        let begin = Position { segment: 0, offset: 0 };
        let cursor = Cursor { at: begin, held: vec![], warm: begin, file: None };
        let mut model =
            Model { log: vec![], noted: (cursor, 0), puts: 0, turn_every, kill_at: 0 };
        let patience_ms = if patient { 600_000 } else { 0 };
        let mut reached = 0;
        for (further, kill_after) in runs {
            reached = (reached + further).min(ends.len() - 1);
            model.kill_at = model.puts + kill_after;
            follow(dir.path(), ends[reached], patience_ms, &mut model);
            let noted = model.noted.1;
            model.log.truncate(noted);
        }
        model.kill_at = 0;
        let last = *ends.last().unwrap();
        prop_assert_eq!(follow(dir.path(), last, patience_ms, &mut model), Step::Ended);
        // Nothing more is waited for: every frame came.
        let mut wanted = frames.concat();
        wanted.sort();
        model.log.sort();
        prop_assert_eq!(model.log.len(), wanted.len());
        prop_assert!(model.log == wanted);
    }
}
