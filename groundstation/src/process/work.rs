//! Heavy work that the mission's rules ask for: products, alarms and spans of telemetry.

use crate::archive::record::Position;
use crate::pool::task::{self, Contracts};
use crate::pool::{Cost, Document, Handling, Input, Message, Part, Role};
use crate::product;
use crate::publish::{AlarmState, Event};
use codecs::ids::{Codec, SpacecraftId};
use codecs::mission::Definition;
use codecs::mission::definition::{Rule, Trigger};
use codecs::mission::task::{Contract, Kind};
use codecs::product::Product;
use codecs::tensor::Tensor;
use codecs::time::Tai;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

/// Values of one parameter that a span holds; the oldest go first.
const VALUES_MAX: usize = 4096;

/// Values before an alarm that its report sees.
const BEFORE_ALARM: usize = 16;

/// Alarms of a span that its report sees.
const ALARMS_MAX: usize = 32;

/// Heavy work that a rule asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Same key, same work: it is done once, over restarts too.
    pub key: String,
    /// Task contract, such as `cloud-mask/1`.
    pub task: String,
    /// What goes in.
    pub input: Input,
    /// Unit of the archive that gives the input again; none where it was put together.
    pub unit: Option<Position>,
    /// What it is about, by name: what belongs to one trace.
    pub about: String,
    /// Who may see it.
    pub handling: Handling,
    /// Most that it may cost.
    pub budget: Option<Cost>,
    /// Seconds that it may take.
    pub deadline_s: f64,
    /// Smaller goes first.
    pub priority: u8,
}

impl Work {
    /// What a rule asks about something.
    pub fn of(rule: &Rule, about: String, input: Input) -> Self {
        Self {
            key: format!("{}:{about}", rule.task),
            task: rule.task.clone(),
            input,
            unit: None,
            about,
            handling: Handling {
                class: rule.data_class,
                regions: rule.regions.iter().cloned().collect(),
                export: rule.export.iter().cloned().collect(),
            },
            budget: rule.budget.map(Cost::from_units),
            deadline_s: rule.deadline_s,
            priority: rule.priority,
        }
    }
}

/// The input that a unit of the archive gives, or why it gives none.
pub fn input(codec: Codec, bytes: &bytes::Bytes) -> Result<Input, String> {
    if codec != Codec::Product {
        return Err("the unit is no product".to_owned());
    }
    let product = Product::decode(bytes).map_err(|error| error.to_string())?;
    let tensor = product::tensor(&product).ok_or("the product has no pixels")?;
    Ok(Input::Tensors(vec![tensor]))
}

type Values = VecDeque<(Tai, f64)>;

/// Values in a span of onboard time.
#[derive(Debug, Default)]
struct Span {
    number: i64,
    values: BTreeMap<Arc<str>, Values>,
    alarms: Vec<String>,
}

/// What rules about alarms and telemetry wait for.
pub(super) struct Wanted {
    definition: Arc<Definition>,
    contracts: Contracts,
    /// By rule.
    spans: BTreeMap<(usize, SpacecraftId), Span>,
    /// The latest values, kept where alarms are reported.
    latest: BTreeMap<(SpacecraftId, Arc<str>), Values>,
    alarms: bool,
    windows: bool,
    units: BTreeMap<Arc<str>, Arc<str>>,
}

impl Wanted {
    pub fn new(definition: Arc<Definition>) -> Self {
        let has = |wanted: fn(&Trigger) -> bool| {
            definition.rules.iter().any(|rule| wanted(&rule.trigger))
        };
        Self {
            contracts: Contracts::with(&definition.tasks),
            spans: BTreeMap::new(),
            latest: BTreeMap::new(),
            alarms: has(|trigger| *trigger == Trigger::Alarm),
            windows: has(|trigger| matches!(trigger, Trigger::Parameters { .. })),
            units: BTreeMap::new(),
            definition,
        }
    }

    /// Looks at what a unit led to.
    pub fn look(&mut self, events: &[Event], work: &mut Vec<Work>) {
        if !self.alarms && !self.windows {
            return;
        }
        for event in events {
            match event {
                Event::Parameter { spacecraft, name, unit, time, value, .. } => {
                    self.parameter(*spacecraft, name, unit, (*time, *value), work);
                }
                Event::Alarm { id, spacecraft, parameter, message, time, state, .. }
                    if *state == AlarmState::Raised =>
                {
                    self.alarm(*spacecraft, id, parameter, message, *time, work);
                }
                _ => {}
            }
        }
    }

    fn parameter(
        &mut self,
        spacecraft: SpacecraftId,
        name: &Arc<str>,
        unit: &Arc<str>,
        value: (Tai, f64),
        work: &mut Vec<Work>,
    ) {
        self.units.entry(Arc::clone(name)).or_insert_with(|| Arc::clone(unit));
        if self.alarms {
            let latest = self.latest.entry((spacecraft, Arc::clone(name))).or_default();
            push(latest, value, BEFORE_ALARM);
        }
        let definition = Arc::clone(&self.definition);
        for (at, rule) in definition.rules.iter().enumerate() {
            let Trigger::Parameters { names, every_ns, .. } = &rule.trigger else { continue };
            if !names.iter().any(|wanted| **wanted == **name) {
                continue;
            }
            let number = value.0.0.div_euclid(*every_ns);
            let span = self.spans.entry((at, spacecraft)).or_default();
            // What comes late belongs to a span that was told already.
            if number < span.number && !span.values.is_empty() {
                continue;
            }
            if number > span.number {
                let over = std::mem::take(span);
                span.number = number;
                work.extend(self.told(rule, spacecraft, over));
            }
            if let Some(span) = self.spans.get_mut(&(at, spacecraft)) {
                push(span.values.entry(Arc::clone(name)).or_default(), value, VALUES_MAX);
            }
        }
    }

    /// What a span that is over gives a rule.
    fn told(&self, rule: &Rule, spacecraft: SpacecraftId, span: Span) -> Option<Work> {
        let Trigger::Parameters { names, every_ns, samples } = &rule.trigger else { return None };
        if span.values.is_empty() {
            return None;
        }
        let about = format!("{}-{}-{}", spacecraft.0, every_ns / 1_000_000_000, span.number);
        let contract = self.contracts.of(&rule.task).ok();
        let input = match contract.map(|contract| (&contract.kind, contract)) {
            Some((Kind::Messages { .. }, contract)) => {
                let facts = self.facts(spacecraft, &span);
                Input::Document(document(contract, facts))
            }
            Some((Kind::Tensors { inputs, .. }, _)) => {
                let input = inputs.first().map_or("window", |port| port.name.as_str());
                Input::Tensors(vec![window(input, names, *samples, &span.values)?])
            }
            None => Input::Tensors(Vec::new()),
        };
        Some(Work::of(rule, about, input))
    }

    fn alarm(
        &mut self,
        spacecraft: SpacecraftId,
        id: &str,
        parameter: &str,
        message: &str,
        time: Tai,
        work: &mut Vec<Work>,
    ) {
        for ((_, of), span) in &mut self.spans {
            if *of == spacecraft && span.alarms.len() < ALARMS_MAX {
                span.alarms.push(format!("{} {message}", time.to_rfc3339()));
            }
        }
        let definition = Arc::clone(&self.definition);
        for rule in definition.rules.iter().filter(|rule| rule.trigger == Trigger::Alarm) {
            let contract = self.contracts.of(&rule.task).ok();
            let input = match contract.filter(|c| matches!(c.kind, Kind::Messages { .. })) {
                Some(contract) => {
                    let mut facts = self.who(spacecraft);
                    let _ = writeln!(facts, "Alarm at {}: {message}", time.to_rfc3339());
                    let latest = self.latest.get(&(spacecraft, parameter.into()));
                    let unit = self.units.get(parameter).map_or("", |unit| unit);
                    for (time, value) in latest.into_iter().flatten() {
                        let time = time.to_rfc3339();
                        let _ = writeln!(facts, "{time} {parameter} {value} {unit}");
                    }
                    Input::Document(document(contract, facts))
                }
                // A task of tensors needs a span of telemetry, which no alarm has: it says so.
                None => Input::Tensors(Vec::new()),
            };
            work.push(Work::of(rule, id.to_owned(), input));
        }
    }

    fn who(&self, spacecraft: SpacecraftId) -> String {
        let craft = self.definition.spacecraft.iter().find(|craft| craft.id == spacecraft);
        let name = craft.map_or("unknown", |craft| craft.name.as_str());
        format!("Mission {}, spacecraft {name}.\n", self.definition.mission)
    }

    /// A span in words and numbers.
    fn facts(&self, spacecraft: SpacecraftId, span: &Span) -> String {
        let mut facts = self.who(spacecraft);
        let times = || span.values.values().flatten().map(|(time, _)| *time);
        if let (Some(first), Some(last)) = (times().min(), times().max()) {
            let _ = writeln!(facts, "From {} to {}.", first.to_rfc3339(), last.to_rfc3339());
        }
        for (name, values) in &span.values {
            let unit = self.units.get(name).map_or("", |unit| unit);
            let all = || values.iter().map(|(_, value)| *value);
            let (least, most) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
            let mean = all().sum::<f64>() / values.len().max(1) as f64;
            let last = values.back().map_or(0.0, |(_, value)| *value);
            let _ = writeln!(
                facts,
                "{name} [{unit}]: {} values, least {least:.4}, mean {mean:.4}, most {most:.4}, \
                 last {last:.4}",
                values.len()
            );
        }
        if span.alarms.is_empty() {
            facts.push_str("No alarm was raised.\n");
        }
        for alarm in &span.alarms {
            let _ = writeln!(facts, "Alarm: {alarm}");
        }
        facts
    }
}

fn push(values: &mut Values, value: (Tai, f64), most: usize) {
    if values.len() >= most {
        values.pop_front();
    }
    values.push_back(value);
}

/// The question of a task of words.
fn document(contract: &Contract, facts: String) -> Document {
    let tokens_out_max = match contract.kind {
        Kind::Messages { tokens_out_max, .. } => tokens_out_max,
        Kind::Tensors { .. } => 0,
    };
    Document {
        system: contract.about.clone(),
        messages: vec![Message { role: Role::User, parts: vec![Part::Text(facts)] }],
        schema: task::schema(contract),
        tokens_out_max,
    }
}

/// The last values of each parameter: one row each, in the rule's order. None where one has fewer.
fn window(
    input: &str,
    names: &[String],
    samples: usize,
    values: &BTreeMap<Arc<str>, Values>,
) -> Option<Tensor> {
    let mut rows = Vec::with_capacity(names.len() * samples);
    for name in names {
        let row = values.get(name.as_str()).filter(|row| row.len() >= samples)?;
        rows.extend(row.iter().skip(row.len() - samples).map(|(_, value)| *value as f32));
    }
    Tensor::from_f32(input, vec![1, names.len() as u64, samples as u64], &rows).ok()
}
