//! A model on trial: asked what the active one is asked, on a thread and in a process of its own,
//! behind everyone else.

use std::sync::{
    Arc, Mutex, PoisonError,
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use codecs::tensor::Tensor;

use super::runners::Supervised;
use crate::models::{
    Budget, Governed, Task,
    governed::{Agreement, Beside, decisions},
};

/// Questions that wait for it; above this they are left out.
const QUESTIONS_MAX: usize = 4;

type Question = (Vec<Tensor>, Option<Vec<bool>>);

/// The active model's end of a trial.
pub struct Trial {
    ask: SyncSender<Question>,
    told: Arc<Mutex<Agreement>>,
    skipped: u64,
}

impl Trial {
    /// Begins a trial; its budget is its own.
    pub fn begin(task: Task, runner: Supervised, budget: Budget) -> std::io::Result<Self> {
        let (ask, asked) = sync_channel(QUESTIONS_MAX);
        let told = Arc::new(Mutex::new(Agreement::default()));
        let tell = told.clone();
        let governed = Governed::new(task, Box::new(runner), budget);
        let run = move || judge(task, governed, &asked, &tell);
        std::thread::Builder::new().name("model trial".into()).spawn(run)?;
        Ok(Self { ask, told, skipped: 0 })
    }
}

impl Beside for Trial {
    fn offer(&mut self, inputs: &[Tensor], answered: Option<Vec<bool>>) {
        match self.ask.try_send((inputs.to_vec(), answered)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.skipped += 1,
        }
    }

    fn agreement(&self) -> Agreement {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Agreement { skipped: told.skipped + self.skipped, ..told.clone() }
    }
}

/// Until nobody asks any more.
fn judge(task: Task, mut model: Governed, asked: &Receiver<Question>, tell: &Mutex<Agreement>) {
    while let Ok((inputs, answered)) = asked.recv() {
        let manifest = model.manifest().clone();
        let own = model.ask(&inputs, |outputs| {
            let finite = |tensor: &Tensor| {
                tensor.to_f32().is_none_or(|values| values.iter().all(|value| value.is_finite()))
            };
            match outputs.iter().all(finite) {
                true => Ok(decisions(task, &manifest, outputs)),
                false => Err("an output is no number".into()),
            }
        });
        let counts = model.counts();
        let mut told = tell.lock().unwrap_or_else(PoisonError::into_inner);
        told.skipped = counts.unasked;
        told.failed = counts.failures;
        told.suspended = model.suspended().map(|of| of.reason().to_owned());
        if let (Some(own), Some(answered)) = (own, answered) {
            told.judged += answered.len() as u64;
            let agreed = own.iter().zip(&answered).filter(|(own, active)| own == active);
            told.agreed += agreed.count() as u64;
        }
    }
}
