//! One connection of a station: its control stream, its objects, its credit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use codecs::{
    ids::{Codec, KeyPrefix, Origin, SeqRange, SpacecraftId},
    link::{
        object::ObjectReader,
        profile::Profile,
        receiver::{Receiver, ReceiverConfig, ReceiverEvent},
    },
};
use groundstation::{
    admit::{
        Principal, Table,
        object::{Broken, admitted},
    },
    archive::{Now, intake::Progress},
    contacts::{Stepped, told},
    peers::credit::{Credit, least_bytes},
    receipt::{Fates, Ingest, SessionId, lost_by_us, tell_stored},
    shell::{
        sessions::{close, stop},
        tls::key_of,
    },
};
use quinn_proto::{Connection, Dir, Event, ReadError, StreamEvent, StreamId, VarInt, WriteError};

use super::LOOK_NS;
use crate::world::net::{LinkId, Net};

/// What every session goes by.
pub(super) struct Ground<'a> {
    pub(super) table: &'a Table,
    pub(super) mission: &'a BTreeSet<SpacecraftId>,
    pub(super) config: ReceiverConfig,
    /// Ledgers whose receipts were this station's word.
    pub(super) before: BTreeSet<u64>,
    pub(super) profile: &'a Profile,
}

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More may come.
    More,
    /// Its peer ended it.
    Finished,
    /// Its peer gave it up.
    Reset,
}

/// An object that comes in.
struct Object {
    reader: ObjectReader,
    admitted: Option<(KeyPrefix, Codec)>,
    /// Whether more comes.
    end: End,
    /// The archive had no room for what is read.
    stalled: bool,
}

/// The peer, once its key was known.
struct Known {
    principal: Principal,
    receiver: Receiver,
}

pub(super) struct Session {
    pub(super) number: SessionId,
    pub(super) link: LinkId,
    /// What became of its units, to be told.
    pub(super) fates: Vec<Fates>,
    known: Option<Known>,
    control: Option<StreamId>,
    pending: VecDeque<Bytes>,
    objects: BTreeMap<StreamId, Object>,
    credit: Option<Credit>,
    looked: (u64, u64),
    /// Something came since the last look at the credit.
    stirred: bool,
    entered: Option<Origin>,
    /// What the peer says was receipted and is not held here; to be recorded before it is asked
    /// for.
    lost: Option<Lost>,
    over: bool,
}

/// Units by counter.
pub(super) type Lost = Vec<(KeyPrefix, Vec<SeqRange>)>;

impl Session {
    pub(super) fn new(number: SessionId, link: LinkId) -> Self {
        Self {
            number,
            link,
            fates: Vec::new(),
            known: None,
            control: None,
            pending: VecDeque::new(),
            objects: BTreeMap::new(),
            credit: None,
            looked: (0, 0),
            stirred: false,
            entered: None,
            lost: None,
            over: false,
        }
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        self.known.as_ref().map(|known| known.principal.origin)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.objects.values().any(|object| object.stalled)
    }

    /// It became the session of its origin, since somebody asked.
    pub(super) fn take_entered(&mut self) -> Option<Origin> {
        self.entered.take()
    }

    /// What it has to ask for since its peer's hello, as far as there was one.
    pub(super) fn take_lost(&mut self) -> Option<Lost> {
        self.lost.take()
    }

    /// A loss is on record: it is asked for, and the plan says that this is all.
    pub(super) fn ask(&mut self, lost: Lost, plan: &[Stepped], now: Now) {
        let Some(known) = &mut self.known else { return };
        lost.into_iter().for_each(|(prefix, ranges)| known.receiver.ask(prefix, ranges));
        known.receiver.plan(told(plan.iter().cloned(), now.tai));
    }

    pub(super) fn timeout(&self) -> Option<u64> {
        let receipts = self.known.as_ref().and_then(|known| known.receiver.timeout());
        let look = self.credit.filter(|_| self.stirred).map(|_| self.looked.1 + LOOK_NS);
        receipts.into_iter().chain(look).min()
    }

    fn end(&mut self, net: &mut Net, code: VarInt) {
        self.over = true;
        net.close(self.link, code, b"");
    }

    /// Takes what the connection tells.
    pub(super) fn events(
        &mut self,
        net: &mut Net,
        ground: &Ground<'_>,
        ingest: &mut Ingest,
        (others, mono, now): (usize, u64, Now),
    ) {
        self.stirred = true;
        while let Some(event) = net.poll(self.link) {
            match event {
                Event::Connected => self.connected(net, ground),
                Event::ConnectionLost { .. } => self.over = true,
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(connection) = net.connection(self.link)
                        && let Some(id) = connection.streams().accept(dir)
                    {
                        self.opened(net, dir, id);
                        self.read(net, id, ground, ingest, (others, mono, now));
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    self.read(net, id, ground, ingest, (others, mono, now));
                }
                _ => {}
            }
        }
    }

    fn connected(&mut self, net: &mut Net, ground: &Ground<'_>) {
        let Some(connection) = net.connection(self.link) else { return };
        let key = connection.crypto_session().peer_identity().and_then(key_of);
        match key.map(|key| ground.table.principal(key)) {
            Some(Ok(principal)) => {
                let receiver = Receiver::new(ground.config.clone(), principal.origin);
                self.known = Some(Known { principal: principal.clone(), receiver });
            }
            _ => self.end(net, close::UNKNOWN_KEY),
        }
    }

    fn opened(&mut self, net: &mut Net, dir: Dir, id: StreamId) {
        match dir {
            Dir::Bi => {
                self.control = Some(id);
                if let Some(connection) = net.connection(self.link) {
                    // Receipts and refusals go before anything else.
                    let _ = connection.send_stream(id).set_priority(i32::MAX);
                }
            }
            Dir::Uni => {
                let reader = ObjectReader::new();
                let object = Object { reader, admitted: None, end: End::More, stalled: false };
                self.objects.insert(id, object);
            }
        }
    }

    fn read(
        &mut self,
        net: &mut Net,
        id: StreamId,
        ground: &Ground<'_>,
        ingest: &mut Ingest,
        (others, mono, now): (usize, u64, Now),
    ) {
        if self.over {
            return;
        }
        if Some(id) == self.control {
            let Some(connection) = net.connection(self.link) else { return };
            let (chunks, end) = read_all(connection, id);
            let Some(known) = &mut self.known else { return };
            let ended = end != End::More;
            let wrong = chunks.iter().any(|bytes| known.receiver.control_bytes(bytes).is_err());
            if wrong || ended {
                self.end(net, if wrong { close::PROTOCOL } else { close::DONE });
                return;
            }
            self.control_events(net, ground, ingest, (others, mono, now));
            return;
        }
        if !self.known.as_ref().is_some_and(|known| known.receiver.is_open()) {
            self.end(net, close::PROTOCOL);
            return;
        }
        let Some(object) = self.objects.get_mut(&id) else { return };
        let Some(connection) = net.connection(self.link) else { return };
        let (chunks, end) = read_all(connection, id);
        chunks.into_iter().for_each(|chunk| object.reader.push(chunk));
        object.end = end;
        if let Err(broken) = self.take(id, Some(ground.mission), ingest, now) {
            if let Some(connection) = net.connection(self.link) {
                let code = if broken.may_return { stop::STALLED } else { stop::REFUSED };
                let _ = connection.recv_stream(id).stop(code);
            }
            self.break_off(id, &broken);
        }
    }

    fn control_events(
        &mut self,
        net: &mut Net,
        ground: &Ground<'_>,
        ingest: &mut Ingest,
        (others, mono, now): (usize, u64, Now),
    ) {
        let Some(known) = &mut self.known else { return };
        while let Some(event) = known.receiver.poll_event() {
            let ReceiverEvent::Hello { channels, .. } = event else { continue };
            let origin = known.principal.origin;
            self.entered = Some(origin);
            let durable = ingest.durable(origin);
            let ours = |ledger| ledger == ground.config.ledger || ground.before.contains(&ledger);
            let lost = lost_by_us(origin, ours, &channels, &durable);
            known.receiver.welcome(now.tai, durable);
            tell_stored(&mut known.receiver, &ingest.stored_of(origin), mono);
            self.lost = Some(lost);
            let Some(connection) = net.connection(self.link) else { return };
            // Its share of the memory is what the profile gives a peer.
            let share = ground.profile.connection_window_bytes;
            let credit = Credit::new(share, least_bytes(others + 1), connection.rtt());
            connection.set_receive_window(VarInt::from_u32(credit.bytes()));
            self.credit = Some(credit);
            self.looked = (connection.stats().udp_rx.bytes, mono);
        }
    }

    /// Takes whole units of an object into the archive's blocks.
    fn take(
        &mut self,
        id: StreamId,
        mission: Option<&BTreeSet<SpacecraftId>>,
        ingest: &mut Ingest,
        now: Now,
    ) -> Result<(), Broken> {
        let (Some(object), Some(known)) = (self.objects.get_mut(&id), &self.known) else {
            return Ok(());
        };
        if object.admitted.is_none()
            && let Some(mission) = mission
        {
            object.admitted = admitted(&mut object.reader, &known.principal, mission)?;
        }
        if let Some((prefix, codec)) = object.admitted {
            let taken = ingest.take_object(self.number, prefix, codec, &mut object.reader, now)?;
            object.stalled = taken == Progress::NoRoom;
        }
        let (end, stalled) = (object.end, object.stalled);
        if end != End::More && !stalled {
            let object = self.objects.remove(&id);
            // After a reset whole units count, and nothing is said of the rest.
            if let Some(object) = object.filter(|_| end == End::Finished)
                && let Err(error) = object.reader.finish()
            {
                let broken = Broken::from(error);
                self.objects.insert(id, object);
                return Err(broken);
            }
        }
        Ok(())
    }

    /// Tries again what found no room; whether any of it did.
    pub(super) fn retry(&mut self, ingest: &mut Ingest, now: Now) -> bool {
        let stalled: Vec<StreamId> =
            self.objects.iter().filter(|(_, of)| of.stalled).map(|(id, _)| *id).collect();
        let mut found = false;
        for id in stalled {
            if let Err(broken) = self.take(id, None, ingest, now) {
                self.break_off(id, &broken);
            }
            found |= self.objects.get(&id).is_none_or(|object| !object.stalled);
        }
        found
    }

    fn break_off(&mut self, id: StreamId, broken: &Broken) {
        let (Some(object), Some(known)) = (self.objects.remove(&id), &self.known) else { return };
        let refused = broken.refused(&object.reader, known.principal.origin);
        if let Some((prefix, range, retry)) = refused {
            self.fates.push(Fates::refused(prefix, range, broken.refusal, retry));
        }
    }

    /// Tells the peer what became of its units.
    pub(super) fn tell(&mut self, mono: u64) {
        let Some(known) = &mut self.known else { return };
        for fates in self.fates.drain(..) {
            fates.tell(&mut known.receiver, mono);
        }
    }

    /// Writes what is due, and looks after the credit.
    pub(super) fn tend(&mut self, net: &mut Net, others: usize, mono: u64) {
        let Some(known) = &mut self.known else { return };
        let Some(connection) = net.connection(self.link) else { return };
        known.receiver.set_rtt(connection.rtt().as_nanos() as u64);
        known.receiver.handle_timeout(mono);
        self.pending.extend(std::iter::from_fn(|| known.receiver.poll_control()));
        self.look(net, others, mono);
        let (Some(control), Some(connection)) = (self.control, net.connection(self.link)) else {
            return;
        };
        while let Some(front) = self.pending.front_mut() {
            match connection.send_stream(control).write_chunks(std::slice::from_mut(front)) {
                Ok(_) if front.is_empty() => _ = self.pending.pop_front(),
                Ok(_) => {}
                Err(WriteError::Blocked) => break,
                Err(_) => self.pending.clear(),
            }
        }
        // Reading gives credit, which is to be told as well.
        net.touch(self.link);
    }

    fn look(&mut self, net: &mut Net, others: usize, mono: u64) {
        let (Some(credit), Some(connection)) = (&mut self.credit, net.connection(self.link)) else {
            return;
        };
        let (before, at) = self.looked;
        if !self.stirred || mono < at + LOOK_NS {
            return;
        }
        self.stirred = false;
        let bytes = connection.stats().udp_rx.bytes;
        let (had, since) = (credit.bytes(), std::time::Duration::from_nanos(mono - at));
        let least = least_bytes(others.max(1));
        // A daemon looks ten times a second: a longer silence is no rate.
        let since = since.min(std::time::Duration::from_nanos(2 * LOOK_NS));
        let has = credit.follow(bytes - before, since, connection.rtt(), least);
        self.looked = (bytes, mono);
        if has != had {
            connection.set_receive_window(VarInt::from_u32(has));
        }
    }
}

/// Everything that a stream has now, and whether it is over.
fn read_all(connection: &mut Connection, id: StreamId) -> (Vec<Bytes>, End) {
    let mut read = Vec::new();
    let mut stream = connection.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else { return (read, End::Reset) };
    let end = loop {
        match chunks.next(usize::MAX) {
            Ok(Some(chunk)) => read.push(chunk.bytes),
            Ok(None) => break End::Finished,
            Err(ReadError::Reset(_)) => break End::Reset,
            Err(ReadError::Blocked) => break End::More,
        }
    };
    let _ = chunks.finalize();
    (read, end)
}
