//! The contracts that a station knows, and what is held against them: tensors, filled forms, and
//! what a server says of its own models.

use super::{ModelMetadata, Output, PortMetadata, Schema};
use codecs::mission::task::{BATCH_MAX, Contract, ContractError, Field, FieldKind, Kind, Port};
use codecs::tensor::{DType, Tensor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest text of a filled form, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Most entries of a list in a form.
const TEXTS_MAX: usize = 256;

/// Letters of a result in the list of jobs.
const SUMMARY_LETTERS_MAX: usize = 160;

/// Contracts by their name.
#[derive(Clone, Debug)]
pub struct Contracts(BTreeMap<String, Arc<Contract>>);

impl Default for Contracts {
    fn default() -> Self {
        Self::with(&[])
    }
}

impl Contracts {
    /// Those of this build, and a mission's own; a mission's own stands for one of the same name.
    pub fn with(own: &[Contract]) -> Self {
        let all = built_in().into_iter().chain(own.iter().cloned());
        Self(all.map(|contract| (contract.task.clone(), Arc::new(contract))).collect())
    }

    /// The contract of a task.
    pub fn of(&self, task: &str) -> Result<&Arc<Contract>, ContractError> {
        self.0.get(task).ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            ContractError::Unknown { task: task.to_owned(), known: known.join(", ") }
        })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Contract> {
        self.0.values().map(Arc::as_ref)
    }
}

fn port(name: &str, dtype: DType, shape: &[u64], unit: &str, range: Option<(f64, f64)>) -> Port {
    Port { name: name.into(), dtype, shape: shape.into(), unit: unit.into(), range }
}

fn share(name: &str, shape: &[u64]) -> Port {
    port(name, DType::F32, shape, "", Some((0.0, 1.0)))
}

fn tensors(task: &str, about: &str, inputs: Vec<Port>, outputs: Vec<Port>) -> Contract {
    let kind = Kind::Tensors { inputs, outputs };
    Contract { task: task.into(), about: about.into(), kind, tolerance: 0.02 }
}

fn field(name: &str, kind: FieldKind, about: &str) -> Field {
    Field { name: name.into(), kind, about: about.into() }
}

fn built_in() -> Vec<Contract> {
    let mask = |task: &str, about: &str| {
        let tile = port("tile", DType::U8, &[0, 4, 64, 64], "", None);
        let outputs = vec![share("mask", &[0, 1, 16, 16]), share("fraction", &[0, 1])];
        tensors(task, about, vec![tile], outputs)
    };
    let severity = ["nothing", "watch", "act"].map(String::from).to_vec();
    let report = |task: &str, about: &str| Contract {
        task: task.into(),
        about: about.into(),
        kind: Kind::Messages {
            images: false,
            tokens_out_max: 1024,
            fields: vec![
                field("report", FieldKind::Text, "what happened, for an operator, in plain words"),
                field("severity", FieldKind::Choice(severity.clone()), "what is to be done"),
                field("findings", FieldKind::Texts, "one sentence each, with values and units"),
            ],
        },
        tolerance: 0.0,
    };
    vec![
        mask("cloud-mask/1", "share of cloud in each cell of a tile"),
        mask("cloud-screen/1", "share of cloud in each cell of a tile, quickly"),
        mask("wildfire-mask/1", "share of burning surface in each cell of a tile"),
        tensors(
            "telemetry-triage/1",
            "how unusual a window of telemetry is",
            vec![port("features", DType::F32, &[0, 18], "", None)],
            vec![share("score", &[0, 1])],
        ),
        report(
            "alarm-report/1",
            "You explain an alarm of a spacecraft's telemetry to the operator on shift. Say only \
             what the values given show.",
        ),
        report(
            "pass-report/1",
            "You write the record of a stretch of a spacecraft's telemetry for the operators. Say \
             only what the values given show.",
        ),
    ]
}

/// Holds what a server says of its model against a contract. Names and types must be there; an
/// extent may be free (-1) on the server's side, and a server that batches by itself may leave the
/// batch out of its shapes. What more the model takes must not be there: nobody would fill it.
pub fn check_metadata(contract: &Contract, metadata: &ModelMetadata) -> Result<(), ContractError> {
    let Kind::Tensors { inputs, outputs } = &contract.kind else {
        return Err(contract.takes("words; this is a model of tensors"));
    };
    check_ports(inputs, &metadata.inputs)?;
    check_ports(outputs, &metadata.outputs)?;
    let unfilled = |port: &&PortMetadata| !inputs.iter().any(|known| known.name == port.name);
    match metadata.inputs.iter().find(unfilled) {
        None => Ok(()),
        Some(port) => Err(ContractError::Shape {
            name: port.name.clone(),
            wanted: "absent".to_owned(),
            found: "an input that the model wants".to_owned(),
        }),
    }
}

fn check_ports(ports: &[Port], told: &[PortMetadata]) -> Result<(), ContractError> {
    for port in ports {
        let missing = || ContractError::Missing(port.name.clone());
        let found = told.iter().find(|told| told.name == port.name).ok_or_else(missing)?;
        let fits = |shape: &[u64]| {
            shape.len() == found.shape.len()
                && shape.iter().zip(&found.shape).all(|(wanted, found)| {
                    let within = (1..=BATCH_MAX as i64).contains(found);
                    *found < 0 || u64::try_from(*found) == Ok(*wanted) || (*wanted == 0 && within)
                })
        };
        let batched = port.shape.first() == Some(&0);
        let shape = fits(&port.shape) || (batched && fits(port.shape.get(1..).unwrap_or(&[])));
        if found.datatype != port.dtype.name() || !shape {
            return Err(ContractError::Shape {
                name: port.name.clone(),
                wanted: format!("{} {:?}", port.dtype.name(), port.shape),
                found: format!("{} {:?}", found.datatype, found.shape),
            });
        }
    }
    Ok(())
}

/// The schema of a form: every field required, no others, so that strict modes take it.
pub fn schema(contract: &Contract) -> Option<Schema> {
    let Kind::Messages { fields, .. } = &contract.kind else { return None };
    let property = |field: &Field| {
        let mut value = match &field.kind {
            FieldKind::Text => json!({ "type": "string" }),
            FieldKind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
            FieldKind::Number(..) => json!({ "type": "number" }),
            FieldKind::Truth => json!({ "type": "boolean" }),
            FieldKind::Choice(choices) => json!({ "type": "string", "enum": choices }),
        };
        // Bounds are not in every vendor's strict subset: they are told in words, and checked here.
        let about = match field.kind {
            FieldKind::Number(low, high) => format!("{} ({low} to {high})", field.about),
            _ => field.about.clone(),
        };
        value["description"] = Value::from(about);
        (field.name.clone(), value)
    };
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    let required: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    Some(Schema {
        name: contract.task.chars().take(64).map(plain).collect(),
        value: json!({ "type": "object", "properties": properties, "required": required,
            "additionalProperties": false }),
    })
}

/// Holds a filled form against its contract.
pub fn check_form(contract: &Contract, value: &Value) -> Result<(), ContractError> {
    let Kind::Messages { fields, .. } = &contract.kind else {
        return Err(contract.takes("tensors, not words"));
    };
    let Value::Object(filled) = value else {
        let what = "the answer is no object".to_owned();
        return Err(ContractError::Field { name: contract.task.clone(), what });
    };
    for field in fields {
        let wrong = |what: &str| {
            Err(ContractError::Field { name: field.name.clone(), what: what.to_owned() })
        };
        let Some(value) = filled.get(&field.name) else { return wrong("missing") };
        let short = |text: &str| text.len() <= TEXT_BYTES_MAX;
        let good = match (&field.kind, value) {
            (FieldKind::Text, Value::String(text)) => !text.trim().is_empty() && short(text),
            (FieldKind::Texts, Value::Array(items)) => {
                items.len() <= TEXTS_MAX && items.iter().all(|i| i.as_str().is_some_and(short))
            }
            (FieldKind::Number(low, high), Value::Number(number)) => {
                number.as_f64().is_some_and(|number| (*low..=*high).contains(&number))
            }
            (FieldKind::Truth, Value::Bool(_)) => true,
            (FieldKind::Choice(choices), Value::String(text)) => choices.contains(text),
            _ => false,
        };
        if !good {
            let what = match &field.kind {
                FieldKind::Text => "is no text, or an empty or endless one".to_owned(),
                FieldKind::Texts => "is no list of texts, or an endless one".to_owned(),
                FieldKind::Number(low, high) => format!("is no number from {low} to {high}"),
                FieldKind::Truth => "is neither true nor false".to_owned(),
                FieldKind::Choice(choices) => format!("is none of {}", choices.join(", ")),
            };
            return wrong(&what);
        }
    }
    match filled.keys().find(|name| !fields.iter().any(|field| field.name == **name)) {
        None => Ok(()),
        Some(name) => {
            let what = "is no field of this form".to_owned();
            Err(ContractError::Field { name: name.clone(), what })
        }
    }
}

/// Holds an answer to a request of a batch against its contract.
pub fn check_output(contract: &Contract, output: &Output, batch: u64) -> Result<(), ContractError> {
    match output {
        Output::Tensors(tensors) => {
            // Which of two would be the answer nobody can say.
            let twice = (1..).zip(tensors).find(|(rest, tensor)| {
                tensors.iter().skip(*rest).any(|other| other.name == tensor.name)
            });
            if let Some((_, tensor)) = twice {
                let (wanted, found) = ("once".to_owned(), "answered twice".to_owned());
                return Err(ContractError::Shape { name: tensor.name.clone(), wanted, found });
            }
            contract.check_outputs(tensors, batch)
        }
        Output::Document(answer) => match &answer.value {
            Some(value) => check_form(contract, value),
            None => {
                let what = "the answer is no JSON".to_owned();
                Err(ContractError::Field { name: contract.task.clone(), what })
            }
        },
    }
}

/// An answer in a few words, for the list of jobs.
pub fn summary(contract: &Contract, output: &Output) -> String {
    let text = match output {
        Output::Tensors(tensors) => of_tensors(contract, tensors),
        Output::Document(answer) => of_form(contract, answer.value.as_ref()),
    };
    text.chars().take(SUMMARY_LETTERS_MAX).collect()
}

fn of_tensors(contract: &Contract, tensors: &[Tensor]) -> String {
    let first = |name: &str| tensors.iter().find(|t| t.name == name)?.to_f32()?.first().copied();
    let what = contract.task.split(['-', '/']).next().unwrap_or_default();
    match (first("fraction"), first("score")) {
        (Some(fraction), _) => return format!("{what} {:.0} %", fraction * 100.0),
        (_, Some(score)) => return format!("anomaly score {score:.2}"),
        _ => {}
    }
    let Kind::Tensors { outputs, .. } = &contract.kind else { return "done".to_owned() };
    // One number an item is worth showing; a picture is not.
    let single = outputs.iter().filter(|port| port.shape.iter().skip(1).product::<u64>() == 1);
    let shown = single.filter_map(|port| {
        let value = first(&port.name)?;
        Some(format!("{} {value:.3} {}", port.name, port.unit).trim_end().to_owned())
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "done".to_owned() } else { shown.join(", ") }
}

fn of_form(contract: &Contract, value: Option<&Value>) -> String {
    let Kind::Messages { fields, .. } = &contract.kind else { return "done".to_owned() };
    let text = |kind: fn(&FieldKind) -> bool| {
        let field = fields.iter().find(|field| kind(&field.kind))?;
        value?.get(&field.name)?.as_str()
    };
    let choice = text(|kind| matches!(kind, FieldKind::Choice(_)));
    match (choice, text(|kind| *kind == FieldKind::Text)) {
        (Some(choice), Some(text)) => format!("{choice}: {text}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => "done".to_owned(),
    }
}

/// How far two answers to one question are apart: the largest difference of two numbers, infinite
/// where they can't be compared; and whether the contract takes them for the same.
pub fn compare(contract: &Contract, one: &Output, other: &Output) -> (f64, bool) {
    let apart = match (one, other) {
        (Output::Tensors(one), Output::Tensors(other)) => {
            let Kind::Tensors { outputs, .. } = &contract.kind else {
                return (f64::INFINITY, false);
            };
            let of = |port: &Port| {
                let find = |all: &[Tensor]| all.iter().find(|t| t.name == port.name).cloned();
                match (find(one), find(other)) {
                    (Some(one), Some(other)) => difference(&one, &other),
                    _ => f64::INFINITY,
                }
            };
            outputs.iter().map(of).fold(0.0, f64::max)
        }
        (Output::Document(one), Output::Document(other)) => {
            let Kind::Messages { fields, .. } = &contract.kind else {
                return (f64::INFINITY, false);
            };
            let (one, other) = (one.value.as_ref(), other.value.as_ref());
            let of = |field: &Field| {
                let both = one
                    .and_then(|v| v.get(&field.name))
                    .zip(other.and_then(|v| v.get(&field.name)));
                match (&field.kind, both) {
                    // Two models never choose the same words.
                    (FieldKind::Text | FieldKind::Texts, _) => 0.0,
                    (FieldKind::Number(..), Some((one, other))) => {
                        let numbers = one.as_f64().zip(other.as_f64());
                        numbers.map_or(f64::INFINITY, |(one, other)| (one - other).abs())
                    }
                    (_, Some((one, other))) if one == other => 0.0,
                    _ => f64::INFINITY,
                }
            };
            fields.iter().map(of).fold(0.0, f64::max)
        }
        _ => f64::INFINITY,
    };
    (apart, apart <= contract.tolerance)
}

fn difference(one: &Tensor, other: &Tensor) -> f64 {
    if one.dtype != other.dtype || one.shape != other.shape {
        return f64::INFINITY;
    }
    match (one.to_f32(), other.to_f32()) {
        (Some(one), Some(other)) => {
            let pairs = one.iter().zip(&other);
            pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
        }
        _ if one.data == other.data => 0.0,
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests;
