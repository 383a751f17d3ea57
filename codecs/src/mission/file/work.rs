//! The part of a mission file about heavy work: contracts of tasks, and what sets them off.

use super::{DefinitionError, Reader};
use crate::mission::definition::{Rule, Trigger};
use crate::mission::task::{Contract, DataClass, Field, FieldKind, Kind, Port};
use crate::tensor::DType;
use alloc::{format, string::String, vec::Vec};
use serde::Deserialize;
use toml::Spanned;

/// Most tensors, or fields, of one side of a task.
const PORTS_MAX: usize = 64;

/// Most dimensions of a tensor.
const DIMENSIONS_MAX: usize = 8;

/// Most bytes of one item of a tensor.
const ITEM_BYTES_MAX: u64 = 64 << 20;

/// Most tokens of an answer.
const TOKENS_MAX: u32 = 65_536;

/// Samples of a window, at most.
const SAMPLES_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskTable {
    name: Spanned<String>,
    #[serde(default)]
    about: String,
    #[serde(default)]
    input: Vec<Spanned<PortTable>>,
    #[serde(default)]
    output: Vec<Spanned<PortTable>>,
    #[serde(default)]
    field: Vec<Spanned<FieldTable>>,
    #[serde(default)]
    images: bool,
    tokens_max: Option<Spanned<u32>>,
    #[serde(default)]
    tolerance: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortTable {
    name: String,
    datatype: String,
    shape: Vec<u64>,
    #[serde(default)]
    unit: String,
    range: Option<[f64; 2]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldTable {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    about: String,
    #[serde(default)]
    choices: Vec<String>,
    range: Option<[f64; 2]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleTable {
    on: Spanned<String>,
    #[serde(default)]
    parameters: Vec<Spanned<String>>,
    every_s: Option<Spanned<f64>>,
    samples: Option<Spanned<usize>>,
    task: Spanned<String>,
    deadline_s: Spanned<f64>,
    #[serde(default)]
    priority: u8,
    #[serde(default)]
    data_class: DataClass,
    #[serde(default)]
    regions: Vec<String>,
    #[serde(default)]
    export: Vec<String>,
    budget: Option<Spanned<f64>>,
}

impl Reader<'_> {
    pub(super) fn task(&mut self, table: Spanned<TaskTable>) -> Result<(), DefinitionError> {
        let span = table.span();
        let place = Spanned::new(span, ());
        let table = table.into_inner();
        let name = table.name.get_ref();
        if !is_task(name) {
            let message = format!("task {name:?}; a task is NAME/VERSION");
            return Err(self.fault(&table.name, message));
        }
        if self.definition.tasks.iter().any(|known| known.task == *name) {
            return Err(self.fault(&table.name, format!("task {name:?} is already there")));
        }
        if !(0.0..=1e9).contains(&table.tolerance) {
            return Err(self.fault(&place, "tolerance is a number, 0 or more".into()));
        }
        let tokens = table.tokens_max.as_ref();
        if let Some(tokens) = tokens.filter(|t| !(1..=TOKENS_MAX).contains(t.get_ref())) {
            return Err(self.fault(tokens, format!("tokens_max is 1 to {TOKENS_MAX}")));
        }
        let tokens_out_max = tokens.map_or(1024, |tokens| *tokens.get_ref());
        let kind = match (table.field.is_empty(), table.input.is_empty(), table.output.is_empty()) {
            (true, false, false) if !table.images => Kind::Tensors {
                inputs: self.ports(table.input)?,
                outputs: self.ports(table.output)?,
            },
            (false, true, true) => {
                let fields = self.fields(table.field)?;
                Kind::Messages { images: table.images, fields, tokens_out_max }
            }
            _ => {
                let message = "a task has either inputs and outputs (tensors), or fields (words)";
                return Err(self.fault(&place, message.into()));
            }
        };
        let task = table.name.into_inner();
        let contract = Contract { task, about: table.about, kind, tolerance: table.tolerance };
        self.definition.tasks.push(contract);
        Ok(())
    }

    fn ports(&self, tables: Vec<Spanned<PortTable>>) -> Result<Vec<Port>, DefinitionError> {
        let mut ports: Vec<Port> = Vec::new();
        for place in tables {
            let fault = |message: String| Err(self.fault(&place, message));
            let table = place.get_ref();
            let Some(dtype) = DType::from_name(&table.datatype) else {
                let message = "is none of BOOL, UINT8 to UINT64, INT8 to INT64, FP32, FP64";
                return fault(format!("datatype {:?} {message}", table.datatype));
            };
            // 0 stands for the batch, which comes first or nowhere.
            let inner = table.shape.iter().skip(1);
            let item = table.shape.iter().try_fold(dtype.size() as u64, |product, extent| {
                product.checked_mul((*extent).max(1)).filter(|bytes| *bytes <= ITEM_BYTES_MAX)
            });
            if table.shape.len() > DIMENSIONS_MAX || inner.into_iter().any(|e| *e == 0) {
                return fault("shape: at most 8 extents, 0 only as the first (the batch)".into());
            }
            if item.is_none() {
                return fault(format!("shape: one item has more than {ITEM_BYTES_MAX} bytes"));
            }
            if ports.len() >= PORTS_MAX || ports.iter().any(|port| port.name == table.name) {
                return fault(format!("name {:?} is there twice, or one too many", table.name));
            }
            let range = self.range(&place, table.range)?;
            ports.push(Port {
                name: table.name.clone(),
                dtype,
                shape: table.shape.clone(),
                unit: table.unit.clone(),
                range,
            });
        }
        Ok(ports)
    }

    fn range<T>(
        &self,
        place: &Spanned<T>,
        range: Option<[f64; 2]>,
    ) -> Result<Option<(f64, f64)>, DefinitionError> {
        match range {
            None => Ok(None),
            Some([low, high]) if low.is_finite() && high.is_finite() && low < high => {
                Ok(Some((low, high)))
            }
            Some(_) => Err(self.fault(place, "range is [least, most], least first".into())),
        }
    }

    fn fields(&self, tables: Vec<Spanned<FieldTable>>) -> Result<Vec<Field>, DefinitionError> {
        let mut fields: Vec<Field> = Vec::new();
        for place in tables {
            let table = place.get_ref();
            let range = self.range(&place, table.range)?;
            let kind = match (table.kind.as_str(), table.choices.is_empty()) {
                ("text", true) => FieldKind::Text,
                ("texts", true) => FieldKind::Texts,
                ("truth", true) => FieldKind::Truth,
                ("number", true) => {
                    let (low, high) = range.unwrap_or((-1e18, 1e18));
                    FieldKind::Number(low, high)
                }
                ("choice", false) if table.choices.len() <= PORTS_MAX => {
                    FieldKind::Choice(table.choices.clone())
                }
                _ => {
                    let message = "type is text, texts, truth, number, or choice with `choices`";
                    return Err(self.fault(&place, message.into()));
                }
            };
            if fields.len() >= PORTS_MAX || fields.iter().any(|field| field.name == table.name) {
                let message = format!("name {:?} is there twice, or one too many", table.name);
                return Err(self.fault(&place, message));
            }
            fields.push(Field { name: table.name.clone(), kind, about: table.about.clone() });
        }
        Ok(fields)
    }

    pub(super) fn rule(&mut self, table: RuleTable) -> Result<(), DefinitionError> {
        let trigger = self.trigger(&table)?;
        let deadline_s = *table.deadline_s.get_ref();
        if !(deadline_s > 0.0 && deadline_s <= 86_400.0) {
            let message = format!("deadline_s {deadline_s}; it is above 0 and at most a day");
            return Err(self.fault(&table.deadline_s, message));
        }
        if !is_task(table.task.get_ref()) {
            let message = format!("task {:?}; a task is NAME/VERSION", table.task.get_ref());
            return Err(self.fault(&table.task, message));
        }
        let budget = table.budget.as_ref();
        if let Some(budget) = budget.filter(|budget| !(0.0..=1e9).contains(budget.get_ref())) {
            return Err(self.fault(budget, "budget is an amount of money, 0 or more".into()));
        }
        self.definition.rules.push(Rule {
            trigger,
            task: table.task.into_inner(),
            deadline_s,
            priority: table.priority,
            data_class: table.data_class,
            regions: table.regions,
            export: table.export,
            budget: table.budget.map(Spanned::into_inner),
        });
        Ok(())
    }

    fn trigger(&self, table: &RuleTable) -> Result<Trigger, DefinitionError> {
        let on = table.on.get_ref();
        let windows = on == "parameters";
        if let Some(name) = table.parameters.first().filter(|_| !windows) {
            return Err(self.fault(name, "belongs to a rule on = \"parameters\"".into()));
        }
        match on.split_once(':') {
            Some(("product", kind)) => {
                let known = &self.definition.products;
                if !known.iter().any(|product| product.kind == kind) {
                    let message = format!("no [[product]] of kind {kind:?}");
                    return Err(self.fault(&table.on, message));
                }
                Ok(Trigger::Product(kind.into()))
            }
            None if on == "alarm" => Ok(Trigger::Alarm),
            None if windows => self.window(table),
            _ => {
                let known = "known are \"product:KIND\", \"alarm\" and \"parameters\"";
                Err(self.fault(&table.on, format!("on {on:?}; {known}")))
            }
        }
    }

    fn window(&self, table: &RuleTable) -> Result<Trigger, DefinitionError> {
        if !(1..=PORTS_MAX).contains(&table.parameters.len()) {
            return Err(self.fault(&table.on, "needs 1 to 64 `parameters`".into()));
        }
        for name in &table.parameters {
            if self.definition.parameter_named(name.get_ref()).is_none() {
                let message = format!("no parameter {:?}", name.get_ref());
                return Err(self.fault(name, message));
            }
        }
        let samples = match &table.samples {
            Some(samples) if *samples.get_ref() > SAMPLES_MAX => {
                return Err(self.fault(samples, format!("samples is at most {SAMPLES_MAX}")));
            }
            Some(samples) => *samples.get_ref(),
            None => 0,
        };
        let every_ns = match &table.every_s {
            Some(every) => match *every.get_ref() {
                seconds @ 1.0..=86_400.0 => (seconds * 1e9) as i64,
                _ => return Err(self.fault(every, "every_s is 1 to 86400 seconds".into())),
            },
            None => return Err(self.fault(&table.on, "needs `every_s`, the span's length".into())),
        };
        let names = table.parameters.iter().map(|name| name.get_ref().clone()).collect();
        Ok(Trigger::Parameters { names, every_ns, samples })
    }
}

/// Whether a text names a task contract: a name, a slash, a version.
fn is_task(text: &str) -> bool {
    text.split_once('/').is_some_and(|(name, version)| {
        !name.is_empty() && version.parse::<u32>().is_ok_and(|version| version > 0)
    })
}
