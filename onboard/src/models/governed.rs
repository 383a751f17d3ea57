//! A model as scoring asks it: within its budget, with another beside it on trial, and never
//! longer than it deserves.

use codecs::{package::Manifest, tensor::Tensor};
use onboard_model::Session;

use super::{
    Task,
    budget::{Budget, BudgetCounts, Governor, Suspension},
};

/// What one run gave and cost.
pub struct Ran {
    /// The outputs.
    pub outputs: Vec<Tensor>,
    /// How long it took, in nanoseconds.
    pub wall_ns: u64,
    /// What it took of a processor, in nanoseconds.
    pub cpu_ns: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRan {
    /// It is not loaded at the time, which is no failure of its own.
    Absent,
    /// It failed, after so many nanoseconds.
    Failed(String, u64),
}

/// Something that runs a package's model, and knows what time it is.
pub trait Runner: Send {
    /// What the package promises.
    fn manifest(&self) -> &Manifest;
    /// Monotonic nanoseconds.
    fn now_ns(&self) -> u64;
    /// Runs it.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Ran, NotRan>;
    /// Asks the known questions again; nothing where it is not loaded.
    fn reprove(&mut self) -> Result<(), String>;
    /// Changes a parameter in what the package promises.
    fn set_parameter(&mut self, name: &str, value: f64);
    /// How often it had to be started again.
    fn restarts(&self) -> u64 {
        0
    }
    /// Memory of the process that runs it, where that is another one.
    fn rss_bytes(&self) -> Option<u64> {
        None
    }
    /// The number of that process.
    fn process(&self) -> Option<u32> {
        None
    }
}

/// Something that is asked beside a model, without ever holding it up.
pub trait Beside: Send {
    /// Offers a question with the figures that the model answered; never waits.
    fn offer(&mut self, inputs: &[Tensor], answered: Option<Vec<bool>>);
    /// What came of it so far.
    fn agreement(&self) -> Agreement;
}

/// How a model on trial and the active one compare.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// Judgements that both made.
    pub judged: u64,
    /// Of these, those that were the same.
    pub agreed: u64,
    /// Questions that were not asked: it was busy, suspended or not loaded.
    pub skipped: u64,
    /// Questions that it failed.
    pub failed: u64,
    /// Why it is not asked any more, if so.
    pub suspended: Option<String>,
}

/// What a model's outputs decide, one judgement an item of the batch: more than its threshold?
pub fn decisions(task: Task, manifest: &Manifest, outputs: &[Tensor]) -> Vec<bool> {
    let (output, name, otherwise) = match task {
        Task::Telemetry => (outputs.first(), "threshold", 0.5),
        Task::Tiles => {
            let fraction = outputs.iter().find(|tensor| tensor.name == "fraction");
            (fraction, "cloudy_above", 0.7)
        }
    };
    let threshold = manifest.parameter(name).unwrap_or(otherwise) as f32;
    let values = output.and_then(Tensor::to_f32).unwrap_or_default();
    values.into_iter().map(|value| value > threshold).collect()
}

/// A session as it is, without a clock: its budget cannot be overrun.
struct Plain(Session);

impl Runner for Plain {
    fn manifest(&self) -> &Manifest {
        self.0.manifest()
    }

    fn now_ns(&self) -> u64 {
        0
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Ran, NotRan> {
        match self.0.run(inputs) {
            Ok(outputs) => Ok(Ran { outputs, wall_ns: 0, cpu_ns: 0 }),
            Err(error) => Err(NotRan::Failed(error.to_string(), 0)),
        }
    }

    fn reprove(&mut self) -> Result<(), String> {
        self.0.reprove().map_err(|error| error.to_string())
    }

    fn set_parameter(&mut self, name: &str, value: f64) {
        self.0.set_parameter(name, value);
    }
}

/// A model within its budget.
pub struct Governed {
    task: Task,
    runner: Box<dyn Runner>,
    governor: Governor,
    items_max: usize,
    beside: Option<Box<dyn Beside>>,
    /// A suspension that nobody was told of yet.
    news: Option<Suspension>,
}

impl Governed {
    /// A model that is asked as often as its budget allows.
    pub fn new(task: Task, runner: Box<dyn Runner>, budget: Budget) -> Self {
        let (governor, items_max) = (Governor::new(budget), budget.items_max);
        Self { task, runner, governor, items_max, beside: None, news: None }
    }

    /// A session without a budget.
    pub fn unbounded(task: Task, session: Session) -> Self {
        Self::new(task, Box::new(Plain(session)), Budget::NONE)
    }

    /// What the package promises.
    pub fn manifest(&self) -> &Manifest {
        self.runner.manifest()
    }

    /// Most items of one question: what the package takes, within the budget.
    pub fn batch_max(&self) -> usize {
        let manifest = self.manifest();
        let dynamic = |ports: &[codecs::package::Port]| {
            ports.iter().all(|port| port.shape.first() == Some(&-1))
        };
        match dynamic(&manifest.inputs) && dynamic(&manifest.outputs) {
            true => usize::try_from(manifest.max_batch).unwrap_or(usize::MAX).min(self.items_max),
            false => 1,
        }
    }

    /// Puts a model on trial beside this one, or ends that.
    pub fn set_beside(&mut self, beside: Option<Box<dyn Beside>>) {
        self.beside = beside;
    }

    /// How the one on trial does.
    pub fn agreement(&self) -> Option<Agreement> {
        self.beside.as_ref().map(|beside| beside.agreement())
    }

    /// Asks the model; `read` makes sense of its answer or says why there is none to make.
    /// `None` means that statistics must do.
    pub fn ask<T>(
        &mut self,
        inputs: &[Tensor],
        read: impl FnOnce(&[Tensor]) -> Result<T, String>,
    ) -> Option<T> {
        if !self.governor.may_run(self.runner.now_ns()) {
            self.governor.left_out();
            self.offer(inputs, None);
            return None;
        }
        let (read, suspension) = match self.runner.run(inputs) {
            Ok(ran) => match read(&ran.outputs) {
                Ok(answer) => {
                    let suspension = self.governor.ran(ran.wall_ns, ran.cpu_ns);
                    self.offer(inputs, Some(&ran.outputs));
                    (Some(answer), suspension)
                }
                Err(why) => (None, self.governor.failed(&why, ran.wall_ns)),
            },
            Err(NotRan::Absent) => {
                self.governor.left_out();
                (None, None)
            }
            Err(NotRan::Failed(why, wall_ns)) => (None, self.governor.failed(&why, wall_ns)),
        };
        if read.is_none() {
            self.offer(inputs, None);
        }
        self.news = suspension.or(self.news.take());
        read
    }

    fn offer(&mut self, inputs: &[Tensor], outputs: Option<&[Tensor]>) {
        let Some(beside) = &mut self.beside else { return };
        let manifest = self.runner.manifest();
        beside.offer(inputs, outputs.map(|outputs| decisions(self.task, manifest, outputs)));
    }

    /// Asks the known questions again; one that is answered otherwise condemns the model.
    pub fn reprove(&mut self) {
        if self.governor.suspended().is_none()
            && let Err(why) = self.runner.reprove()
        {
            self.condemn(why);
        }
    }

    /// Takes it out of service for good.
    pub fn condemn(&mut self, why: String) {
        self.news = Some(self.governor.condemn(why));
    }

    /// Changes a parameter, which was checked against its bounds.
    pub fn set_parameter(&mut self, name: &str, value: f64) {
        self.runner.set_parameter(name, value);
    }

    /// Why it is not asked, where it is not.
    pub fn suspended(&self) -> Option<&Suspension> {
        self.governor.suspended()
    }

    /// Whether it would be asked.
    pub fn is_in_service(&self) -> bool {
        self.governor.suspended().is_none()
    }

    /// A suspension since the last call. Told once.
    pub fn take_suspension(&mut self) -> Option<Suspension> {
        self.news.take()
    }

    /// What happened so far.
    pub fn counts(&self) -> BudgetCounts {
        self.governor.counts()
    }

    /// What runs it.
    pub fn runner(&self) -> &dyn Runner {
        &*self.runner
    }
}
