//! A medium in memory that loses power: it keeps what was synced, and of the rest what the mode
//! says. Tests and simulations fly on it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{Fault, Medium};

/// What becomes of unsynced bytes and names at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it is gone.
    Drop,
    /// A part of the last write stays, cut anywhere.
    Torn,
    /// Sectors stay or go each for itself; between them are zeros.
    Reorder,
    /// Sectors that did not arrive hold what another segment had there: a file system that reuses
    /// blocks without clearing them.
    Stale,
    /// Everything stays: the process died, the machine did not.
    Keep,
}

impl Cut {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Drop, Self::Torn, Self::Reorder, Self::Stale, Self::Keep];
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    synced: usize,
    /// Whether its creation is durable.
    named: bool,
    /// Removed, but the removal is not durable yet.
    removed: bool,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<u64, File>,
    /// Bytes of all files: a full disk makes a file a try, and counting them anew took most of the
    /// time of a simulated voyage.
    stored: u64,
    calls: u64,
    /// Bytes that arrived, erased ones included.
    written: u64,
    /// The disk as a cut in the middle of each call would leave it, where that is wanted.
    moments: Option<Vec<State>>,
    /// These calls fail with the fault and do half of their work.
    faults: BTreeMap<u64, Fault>,
    /// Bytes that fit, the reserve included.
    space: Option<u64>,
    reserved: u64,
    /// The negative control: a sync that does nothing.
    sync_lies: bool,
}

/// Handle to the medium; clones share it, as a rebooted process shares the disk.
#[derive(Clone, Debug, Default)]
pub struct Forgetful(Arc<Mutex<State>>);

const SECTOR: usize = 64;

impl Forgetful {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty medium.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers the disk in the middle of every call from now on.
    pub fn remembering(self) -> Self {
        self.state().moments = Some(Vec::new());
        self
    }

    /// The disk in the middle of each call so far.
    pub fn moments(&self) -> Vec<Self> {
        let state = self.state();
        let moments = state.moments.iter().flatten();
        moments.map(|state| Self(Arc::new(Mutex::new(state.clone())))).collect()
    }

    /// Bytes that arrived, erased ones included.
    pub fn written(&self) -> u64 {
        self.state().written
    }

    /// Bytes of all files, those included whose removal is not durable yet.
    pub fn stored(&self) -> u64 {
        self.state().stored
    }

    /// Calls so far that change something.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Fails one call to come, with half of it done.
    pub fn fault_at(self, call: u64, fault: Fault) -> Self {
        self.state().faults.insert(call, fault);
        self
    }

    /// Bounds what fits, the reserve included.
    pub fn with_space(self, bytes: u64) -> Self {
        self.state().space = Some(bytes);
        self
    }

    /// Takes the sync out of sync: the negative control.
    pub fn lying(self) -> Self {
        self.state().sync_lies = true;
        self
    }

    /// Bounds what fits from now on, or no longer.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    /// Flips a bit at rest.
    pub fn flip(&self, segment: u64, bit: usize) {
        if let Some(file) = self.state().files.get_mut(&segment)
            && let Some(byte) = file.bytes.get_mut(bit / 8)
        {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// A write of so many bytes that was meant for one segment lands in another, at rest.
    pub fn misdirect(&self, from: u64, to: u64, bytes: std::ops::Range<usize>) {
        let mut state = self.state();
        let Some(wrong) = state.files.get(&from).and_then(|of| of.bytes.get(bytes.clone())) else {
            return;
        };
        let wrong = wrong.to_vec();
        if let Some(place) = state.files.get_mut(&to).and_then(|of| of.bytes.get_mut(bytes)) {
            place.copy_from_slice(&wrong);
        }
    }

    /// The disk as the next boot finds it.
    pub fn survivors(&self, cut: Cut, seed: u64) -> Self {
        let mut random = seed | 1;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let state = self.state();
        let (mut files, mut stored) = (BTreeMap::new(), 0);
        for (number, file) in &state.files {
            let keep_name = match cut {
                Cut::Keep => !file.removed,
                Cut::Drop => file.named,
                Cut::Torn | Cut::Reorder | Cut::Stale if file.removed => {
                    file.named && next() % 2 == 0
                }
                Cut::Torn | Cut::Reorder | Cut::Stale => file.named || next() % 2 == 0,
            };
            if !keep_name {
                continue;
            }
            let mut bytes = file.bytes.clone();
            let unsynced = bytes.len() - file.synced;
            match cut {
                Cut::Keep => {}
                Cut::Drop => bytes.truncate(file.synced),
                Cut::Torn if unsynced > 0 => {
                    bytes.truncate(file.synced + next() as usize % (unsynced + 1));
                }
                Cut::Reorder if unsynced > 0 => {
                    for sector in bytes[file.synced..].chunks_mut(SECTOR) {
                        if next() % 2 == 0 {
                            sector.fill(0);
                        }
                    }
                    bytes.truncate(file.synced + next() as usize % (unsynced + 1));
                }
                Cut::Stale if unsynced > 0 => {
                    // The oldest segment: what was erased first is reused first.
                    let old = state.files.values().next().map_or(&[][..], |of| &of.bytes);
                    for start in (file.synced..bytes.len()).step_by(SECTOR) {
                        let end = bytes.len().min(start + SECTOR);
                        if next() % 2 == 0 {
                            let stale = old.get(start..end).map(<[u8]>::to_vec);
                            let stale = stale.unwrap_or_else(|| vec![0xa5; end - start]);
                            bytes[start..end].copy_from_slice(&stale);
                        }
                    }
                }
                Cut::Torn | Cut::Reorder | Cut::Stale => {}
            }
            let synced = bytes.len();
            stored += synced as u64;
            files.insert(*number, File { bytes, synced, named: true, removed: false });
        }
        Self(Arc::new(Mutex::new(State {
            files,
            stored,
            sync_lies: state.sync_lies,
            space: state.space,
            ..State::default()
        })))
    }

    /// Counts a call that changes something; `half` is what it has done when power goes in its
    /// middle. An error says whether half of it is done.
    fn step(&self, half: impl FnOnce(&mut State)) -> Result<(), Fault> {
        let mut state = self.state();
        state.calls += 1;
        let fault = state.faults.get(&state.calls).cloned();
        if fault.is_some() {
            half(&mut state);
        } else if let Some(mut moments) = state.moments.take() {
            let mut moment = state.clone();
            half(&mut moment);
            moments.push(moment);
            state.moments = Some(moments);
        }
        fault.map_or(Ok(()), Err)
    }
}

impl State {
    fn used(&self) -> u64 {
        self.reserved + self.stored
    }
}

impl Medium for Forgetful {
    fn segments(&mut self) -> Result<Vec<(u64, u64)>, Fault> {
        let state = self.state();
        let there = state.files.iter().filter(|(_, file)| !file.removed);
        Ok(there.map(|(number, file)| (*number, file.bytes.len() as u64)).collect())
    }

    fn create(&mut self, segment: u64) -> Result<(), Fault> {
        let create = |state: &mut State| {
            let before = state.files.insert(segment, File::default());
            state.stored -= before.map_or(0, |file| file.bytes.len() as u64);
        };
        self.step(create)?;
        create(&mut self.state());
        Ok(())
    }

    fn append(&mut self, segment: u64, bytes: &[u8]) -> Result<(), Fault> {
        let add = |state: &mut State, bytes: &[u8]| {
            let room = state.space.map_or(u64::MAX, |space| space.saturating_sub(state.used()));
            let done = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            state.written += done as u64;
            if let Some(file) = state.files.get_mut(&segment) {
                file.bytes.extend_from_slice(&bytes[..done]);
                state.stored += done as u64;
            }
            if done < bytes.len() { Err(Fault::Full) } else { Ok(()) }
        };
        self.step(|state| {
            let _ = add(state, &bytes[..bytes.len() / 2]);
        })?;
        add(&mut self.state(), bytes)
    }

    fn sync(&mut self, segment: u64) -> Result<(), Fault> {
        self.step(|_| {})?;
        let mut state = self.state();
        if !state.sync_lies
            && let Some(file) = state.files.get_mut(&segment)
        {
            file.synced = file.bytes.len();
        }
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), Fault> {
        self.step(|_| {})?;
        let mut state = self.state();
        let State { files, stored, .. } = &mut *state;
        files.retain(|_, file| {
            if file.removed {
                *stored -= file.bytes.len() as u64;
            }
            !file.removed
        });
        files.values_mut().for_each(|file| file.named = true);
        Ok(())
    }

    fn remove(&mut self, segment: u64) -> Result<(), Fault> {
        let remove = |state: &mut State| {
            if let Some(file) = state.files.get_mut(&segment) {
                file.removed = true;
            }
        };
        self.step(remove)?;
        remove(&mut self.state());
        Ok(())
    }

    fn read(&mut self, segment: u64, offset: u64, length: usize) -> Result<Bytes, Fault> {
        let state = self.state();
        let file = state.files.get(&segment).filter(|file| !file.removed);
        let bytes = file.and_then(|file| file.bytes.get(offset as usize..)?.get(..length));
        bytes
            .map(Bytes::copy_from_slice)
            .ok_or_else(|| Fault::Failed(format!("segment {segment} ends before {offset}")))
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), Fault> {
        let mut state = self.state();
        state.reserved = 0;
        if state.space.is_some_and(|space| state.used() + bytes > space) {
            return Err(Fault::Full);
        }
        state.reserved = bytes;
        Ok(())
    }
}
