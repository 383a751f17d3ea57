//! A folder for tests that loses power in the middle of every call.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use bytes::Bytes;

use super::files::{Fault, Files};

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it is gone.
    Drop,
    /// Names are kept, bytes are not: a file that was renamed before it was synced is empty.
    Names,
    /// Everything stays: the process died, the machine did not.
    Keep,
}

impl Cut {
    pub const ALL: [Self; 3] = [Self::Drop, Self::Names, Self::Keep];
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    moments: Option<Vec<State>>,
    fault_at: Option<u64>,
    calls: u64,
    sync_lies: bool,
}

/// Handle to the folder; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Forgetful(Rc<RefCell<State>>);

impl Forgetful {
    /// Remembers the folder in the middle of every call from now on.
    pub fn remember(&self) {
        self.0.borrow_mut().moments = Some(Vec::new());
    }

    /// The folder in the middle of each call since then.
    pub fn moments(&self) -> Vec<Self> {
        let moments = self.0.borrow_mut().moments.take().unwrap_or_default();
        moments.into_iter().map(|state| Self(Rc::new(RefCell::new(state)))).collect()
    }

    /// The negative control: a sync that does nothing.
    pub fn lying(self) -> Self {
        self.0.borrow_mut().sync_lies = true;
        self
    }

    /// The n-th call from now on does half of its work and fails.
    pub fn fail_at(&self, call: u64) {
        let mut state = self.0.borrow_mut();
        state.calls = 0;
        state.fault_at = Some(call);
    }

    pub fn calls(&self) -> u64 {
        self.0.borrow().calls
    }

    /// A copy that goes on by itself.
    pub fn copy(&self) -> Self {
        let mut state = self.0.borrow().clone();
        state.moments = None;
        Self(Rc::new(RefCell::new(state)))
    }

    /// Flips a bit at rest.
    pub fn flip(&self, name: &str, byte: usize) {
        let mut state = self.0.borrow_mut();
        let inode = state.names[name];
        state.inodes[inode].bytes[byte] ^= 1;
        state.inodes[inode].synced[byte] ^= 1;
    }

    /// The folder as the next boot finds it.
    pub fn survivors(&self, cut: Cut) -> Self {
        let state = self.0.borrow();
        let names = if cut == Cut::Drop { &state.durable } else { &state.names };
        let bytes = |inode: &Inode| {
            let kept = if cut == Cut::Keep { &inode.bytes } else { &inode.synced };
            Inode { bytes: kept.clone(), synced: kept.clone() }
        };
        let inodes = state.inodes.iter().map(bytes).collect();
        let (names, durable) = (names.clone(), names.clone());
        let sync_lies = state.sync_lies;
        let state = State { inodes, names, durable, sync_lies, ..State::default() };
        Self(Rc::new(RefCell::new(state)))
    }

    fn step(&self, half: impl FnOnce(&mut State)) -> Result<(), Fault> {
        let mut state = self.0.borrow_mut();
        state.calls += 1;
        if state.fault_at == Some(state.calls) {
            state.fault_at = None;
            half(&mut state);
            return Err(Fault::Failed("the folder failed".into()));
        }
        if let Some(mut moments) = state.moments.take() {
            let mut moment = state.clone();
            half(&mut moment);
            moments.push(moment);
            state.moments = Some(moments);
        }
        Ok(())
    }
}

impl State {
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let missing = || Fault::Failed(format!("{name}: no such file"));
        let inode = *self.names.get(name).ok_or_else(missing)?;
        let file = &mut self.inodes[inode].bytes;
        let end = offset as usize + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }
}

impl Files for Forgetful {
    fn names(&mut self) -> Result<Vec<String>, Fault> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn read(&mut self, name: &str, most: usize) -> Result<Option<Bytes>, Fault> {
        let state = self.0.borrow();
        let inode = state.names.get(name).map(|inode| &state.inodes[*inode].bytes);
        Ok(inode.map(|bytes| Bytes::copy_from_slice(&bytes[..bytes.len().min(most + 1)])))
    }

    fn create(&mut self, name: &str) -> Result<(), Fault> {
        let create = |state: &mut State| {
            // An existing file is truncated in place, as the disk does it.
            match state.names.get(name) {
                Some(inode) => state.inodes[*inode].bytes.clear(),
                None => {
                    state.names.insert(name.into(), state.inodes.len());
                    state.inodes.push(Inode::default());
                }
            }
        };
        self.step(create)?;
        create(&mut self.0.borrow_mut());
        Ok(())
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.step(|state| {
            let _ = state.write(name, offset, &bytes[..bytes.len() / 2]);
        })?;
        self.0.borrow_mut().write(name, offset, bytes)
    }

    fn sync(&mut self, name: &str) -> Result<(), Fault> {
        self.step(|_| {})?;
        let mut state = self.0.borrow_mut();
        if !state.sync_lies
            && let Some(inode) = state.names.get(name).copied()
        {
            state.inodes[inode].synced = state.inodes[inode].bytes.clone();
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        let rename = |state: &mut State| match state.names.remove(from) {
            Some(inode) => {
                state.names.insert(to.into(), inode);
                true
            }
            None => false,
        };
        self.step(|state| {
            rename(state);
        })?;
        match rename(&mut self.0.borrow_mut()) {
            true => Ok(()),
            false => Err(Fault::Failed(format!("{from}: no such file"))),
        }
    }

    fn remove(&mut self, name: &str) -> Result<(), Fault> {
        let remove = |state: &mut State| {
            state.names.remove(name);
        };
        self.step(remove)?;
        remove(&mut self.0.borrow_mut());
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), Fault> {
        self.step(|_| {})?;
        let mut state = self.0.borrow_mut();
        if !state.sync_lies {
            state.durable = state.names.clone();
        }
        Ok(())
    }
}
