//! Messages of the Open Inference Protocol (version 2) over REST, for both sides.
//!
//! A body is JSON; with the binary extension (advertised as `binary_tensor_data`, after the
//! server that brought it) raw little-endian tensors follow the JSON, and a header tells its
//! length. Both forms are read whatever was asked for: servers differ.

mod elements;

use super::apart::apart;
use bytes::Bytes;
use codecs::tensor::{DType, Tensor};
use elements::{Elements, read_elements};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Header that tells the length of the JSON before raw tensors.
pub const JSON_LENGTH_HEADER: &str = "inference-header-content-length";

/// Name of the extension that allows raw tensors.
pub const BINARY_EXTENSION: &str = "binary_tensor_data";

/// Most bytes of a body, either way: 4000 tiles of the demonstration mission.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Most bytes of a body's JSON: in it tensors take several times their length.
pub const JSON_BYTES_MAX: usize = 16 << 20;

/// Bytes of the longest element; raw tensors begin at a multiple of it.
const ELEMENT_BYTES_MAX: usize = 8;

/// Bytes that most heads take.
const HEAD_BYTES: usize = 512;

/// Most tensors of a message.
pub const TENSORS_MAX: usize = 64;

/// Why a message can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OipError(pub String);

fn wrong<T>(message: impl Into<String>) -> Result<T, OipError> {
    Err(OipError(message.into()))
}

/// One tensor's description, and its elements where they stand in the JSON.
#[derive(Debug, Deserialize)]
#[serde(expecting = "a tensor's JSON")]
struct TensorJson<'a> {
    name: String,
    shape: Vec<u64>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    #[serde(borrow, default)]
    parameters: Option<Size<'a>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// What is understood of a tensor's parameters.
#[derive(Debug, Default, Deserialize)]
struct Size<'a> {
    #[serde(borrow, default)]
    binary_data_size: Option<&'a RawValue>,
    #[serde(borrow, default)]
    shared_memory_region: Option<Cow<'a, str>>,
    #[serde(default)]
    shared_memory_offset: u64,
    #[serde(default)]
    shared_memory_byte_size: u64,
}

/// The same, written.
#[derive(Debug, Serialize)]
struct TensorOut<'a> {
    name: &'a str,
    shape: &'a [u64],
    datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<SizeOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Elements<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum SizeOut<'a> {
    Raw {
        binary_data_size: usize,
    },
    Shared {
        shared_memory_region: &'a str,
        shared_memory_offset: u64,
        shared_memory_byte_size: usize,
    },
}

/// A question.
#[derive(Debug, Deserialize)]
#[serde(expecting = "a question's JSON")]
struct RequestJson<'a> {
    #[serde(default)]
    id: String,
    #[serde(borrow, default)]
    parameters: Asked<'a>,
    #[serde(borrow)]
    inputs: Vec<TensorJson<'a>>,
    #[serde(borrow, default)]
    outputs: Vec<OutputJson<'a>>,
}

#[derive(Debug, Serialize)]
struct RequestOut<'a> {
    id: &'a str,
    parameters: RawOut,
    inputs: Vec<TensorOut<'a>>,
}

#[derive(Debug, Serialize)]
struct RawOut {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    binary_data_output: bool,
}

/// What is understood of a question's parameters, each as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked<'a> {
    #[serde(borrow)]
    binary_data_output: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_id: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_start: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_end: Option<&'a RawValue>,
}

/// An output that a question names.
#[derive(Debug, Deserialize)]
struct OutputJson<'a> {
    name: String,
    #[serde(borrow, default)]
    parameters: AskedOf<'a>,
}

/// What is understood of its parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AskedOf<'a> {
    #[serde(borrow)]
    binary_data: Option<&'a RawValue>,
    #[serde(borrow)]
    classification: Option<&'a RawValue>,
    #[serde(borrow)]
    shared_memory_region: Option<&'a RawValue>,
}

/// An answer.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an answer's JSON")]
struct ResponseJson<'a> {
    model_name: String,
    #[serde(default)]
    model_version: Option<String>,
    #[serde(borrow)]
    outputs: Vec<TensorJson<'a>>,
}

#[derive(Debug, Serialize)]
struct ResponseOut<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    outputs: Vec<TensorOut<'a>>,
}

/// A body and, where raw tensors follow the JSON, the JSON's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The bytes.
    pub bytes: Bytes,
    /// Value of [`JSON_LENGTH_HEADER`].
    pub json_length: Option<usize>,
}

/// A body to be sent: the JSON, then raw tensors, which share their elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Its parts, in order.
    pub parts: Vec<Bytes>,
    /// Value of [`JSON_LENGTH_HEADER`].
    pub json_length: Option<usize>,
}

impl Written {
    /// The parts in one piece.
    pub fn whole(self) -> Body {
        let bytes = match <[Bytes; 1]>::try_from(self.parts) {
            Ok([one]) => one,
            Err(parts) => parts.concat().into(),
        };
        Body { bytes, json_length: self.json_length }
    }

    /// Its type.
    pub const fn content_type(&self) -> &'static str {
        match self.json_length {
            Some(_) => "application/octet-stream",
            None => "application/json",
        }
    }
}

/// A question as a server understands it.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The client's name for it.
    pub id: String,
    /// Inputs.
    pub inputs: Vec<Tensor>,
    /// Outputs that are wanted.
    pub wanted: Wanted,
}

/// Which outputs a question wants, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether they may be raw, where an output does not say it of itself.
    pub binary: bool,
    /// Names, each with its own word on being raw; none named wants all.
    pub named: Vec<(String, Option<bool>)>,
}

impl Wanted {
    /// Every output, raw or typed.
    pub const fn all(binary: bool) -> Self {
        Self { binary, named: Vec::new() }
    }

    /// Takes what is wanted out of what a model gave, each with whether it may be raw.
    pub fn of(&self, outputs: Vec<Tensor>) -> Result<Vec<(Tensor, bool)>, OipError> {
        if self.named.is_empty() {
            return Ok(outputs.into_iter().map(|tensor| (tensor, self.binary)).collect());
        }
        let row = |(name, binary): &(String, Option<bool>)| {
            let found = outputs.iter().find(|tensor| tensor.name == *name);
            let found = found.ok_or_else(|| {
                let known: Vec<&str> = outputs.iter().map(|tensor| &*tensor.name).collect();
                OipError(format!("no output {name:?}; there are {}", known.join(", ")))
            })?;
            // Cheap: elements are shared.
            Ok((found.clone(), binary.unwrap_or(self.binary)))
        };
        self.named.iter().map(row).collect()
    }
}

/// An answer as a client understands it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Model that answered, with its version where told.
    pub model: String,
    /// Outputs.
    pub outputs: Vec<Tensor>,
}

/// Writes a question; `binary` where the server advertises the extension.
pub fn write_question(id: &str, inputs: &[Tensor], binary: bool) -> Written {
    let head = RequestOut {
        id,
        parameters: RawOut { binary_data_output: binary },
        inputs: inputs.iter().map(|tensor| describe(tensor, binary)).collect(),
    };
    let raw = inputs.iter().filter(|_| binary).map(|tensor| tensor.data.clone());
    join(to_json(&head), raw.collect())
}

/// Writes a question whose inputs lie in a region of shared memory, each from its offset on.
pub fn write_shared(id: &str, inputs: &[Tensor], region: &str, offsets: &[u64]) -> Written {
    let described = inputs.iter().zip(offsets).map(|(tensor, offset)| TensorOut {
        parameters: Some(SizeOut::Shared {
            shared_memory_region: region,
            shared_memory_offset: *offset,
            shared_memory_byte_size: tensor.data.len(),
        }),
        ..describe(tensor, true)
    });
    let parameters = RawOut { binary_data_output: true };
    let head = RequestOut { id, parameters, inputs: described.collect() };
    join(to_json(&head), Vec::new())
}

/// Reads a part of a region of shared memory: its name, an offset and a length.
pub type ReadShared<'a> = &'a dyn Fn(&str, u64, u64) -> Result<Bytes, OipError>;

/// Reads a question; inputs in shared memory are refused.
pub fn read_question(body: &Body) -> Result<Question, OipError> {
    read_question_with(body, &|region, _, _| wrong(format!("no shared memory region {region:?}")))
}

/// Reads a question, and its inputs from where they are.
pub fn read_question_with(body: &Body, shared: ReadShared<'_>) -> Result<Question, OipError> {
    let (head, tail) = split(body)?;
    let head: RequestJson<'_> = from_json(&head)?;
    let asked = &head.parameters;
    let asks = |value: &RawValue| !["null", "false", "0", "\"\""].contains(&value.get());
    let sequence = [
        ("sequence_id", asked.sequence_id),
        ("sequence_start", asked.sequence_start),
        ("sequence_end", asked.sequence_end),
    ];
    let sequence = sequence.into_iter().filter(|(_, value)| value.is_some_and(asks));
    refuse_sequence(sequence.map(|(key, _)| key))?;
    if head.outputs.len() > TENSORS_MAX {
        return wrong(format!("{} outputs; at most {TENSORS_MAX} are given", head.outputs.len()));
    }
    let mut named = Vec::with_capacity(head.outputs.len());
    for OutputJson { name, parameters } in head.outputs {
        let unknown = [
            ("classification", parameters.classification),
            ("shared_memory_region", parameters.shared_memory_region),
        ];
        if let Some((key, _)) = unknown.into_iter().find(|(_, value)| value.is_some()) {
            return wrong(format!("output {name:?}: this server has no {key}"));
        }
        named.push((name, truth(parameters.binary_data)));
    }
    let binary = truth(head.parameters.binary_data_output) == Some(true);
    let wanted = Wanted { binary, named };
    Ok(Question {
        id: head.id,
        inputs: read_tensors(head.inputs, tail, BODY_BYTES_MAX, shared)?,
        wanted,
    })
}

/// A parameter that is `true` or `false`.
fn truth(parameter: Option<&RawValue>) -> Option<bool> {
    parameter?.get().parse().ok()
}

/// Refuses parameters of a question that is one of a sequence: answered alone it would get numbers
/// that mean something else.
pub fn refuse_sequence<'a>(mut keys: impl Iterator<Item = &'a str>) -> Result<(), OipError> {
    let sequence = ["sequence_id", "sequence_start", "sequence_end"];
    match keys.find(|key| sequence.contains(key)) {
        None => Ok(()),
        Some(key) => {
            wrong(format!("{key}: this server has no sequences, each question stands alone"))
        }
    }
}

/// Writes an answer, each output raw or typed.
pub fn write_answer(name: &str, version: &str, id: &str, outputs: &[(Tensor, bool)]) -> Written {
    let head = ResponseOut {
        model_name: name,
        model_version: version,
        id,
        outputs: outputs.iter().map(|(tensor, raw)| describe(tensor, *raw)).collect(),
    };
    let raw = outputs.iter().filter(|(_, raw)| *raw).map(|(tensor, _)| tensor.data.clone());
    join(to_json(&head), raw.collect())
}

/// Reads an answer whose outputs have so many bytes at most.
pub fn read_answer(body: &Body, most: usize) -> Result<Answer, OipError> {
    let (head, tail) = split(body)?;
    let head: ResponseJson<'_> = from_json(&head)?;
    let model = match head.model_version.filter(|version| !version.is_empty()) {
        Some(version) => format!("{} {version}", head.model_name),
        None => head.model_name,
    };
    let shared = |_: &str, _, _| wrong("an output in shared memory, which nobody asked for");
    Ok(Answer { model, outputs: read_tensors(head.outputs, tail, most, &shared)? })
}

/// The same, apart from what else goes on where its JSON is long.
pub async fn read_answer_apart(body: Body, most: usize) -> Result<Answer, OipError> {
    let json_bytes = body.json_length.unwrap_or(body.bytes.len());
    apart(json_bytes, move || read_answer(&body, most)).await
}

fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, OipError> {
    serde_json::from_slice(bytes).map_err(|error| OipError(no_json(bytes, &error)))
}

/// A head as it travels; those of a few tensors fit what is taken for them.
fn to_json(head: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    match serde_json::to_writer(&mut out, head) {
        Ok(()) => out,
        Err(_) => Vec::new(),
    }
}

/// Why bytes are not the JSON that they should be, as a person would say it.
pub fn no_json(bytes: &[u8], error: &serde_json::Error) -> String {
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return "the body is empty".to_owned();
    }
    match error.classify() {
        Category::Eof => return "the JSON is cut short".to_owned(),
        Category::Syntax => {}
        Category::Data | Category::Io => return error.to_string(),
    }
    if text.starts_with(b"<") {
        return "it is no JSON, but HTML or the like: is the address right?".to_owned();
    }
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1));
    let line = line.unwrap_or_default();
    // The place is that of the first letter that can't be, or of one soon after it.
    let from = error.column().saturating_sub(LONGEST_WORD).min(line.len());
    let near = &line[from..line.len().min(error.column() + LONGEST_WORD)];
    let mut words = near.split(|byte| !byte.is_ascii_alphabetic());
    let found = words.find_map(|word| NO_NUMBERS.into_iter().find(|no| no.as_bytes() == word));
    match found {
        Some(word) => {
            format!("it is no JSON: {word} stands in it, and JSON has only finite numbers")
        }
        None => format!("it is no JSON: {error}"),
    }
}

/// How servers write numbers that are none, though JSON has no word for them.
const NO_NUMBERS: [&str; 6] = ["NaN", "nan", "Infinity", "infinity", "Inf", "inf"];

/// Letters of the longest of them.
const LONGEST_WORD: usize = 8;

/// Puts raw tensors behind the JSON, which blanks fill up to where elements of any type begin: who
/// reads the body in one piece need not copy them.
fn join(mut head: Vec<u8>, raw: Vec<Bytes>) -> Written {
    if raw.is_empty() {
        return Written { parts: vec![head.into()], json_length: None };
    }
    head.resize(head.len().next_multiple_of(ELEMENT_BYTES_MAX), b' ');
    let json_length = Some(head.len());
    let parts = std::iter::once(Bytes::from(head)).chain(raw).collect();
    Written { parts, json_length }
}

fn split(body: &Body) -> Result<(Bytes, Bytes), OipError> {
    let length = body.json_length.unwrap_or(body.bytes.len());
    if length > JSON_BYTES_MAX {
        return wrong(format!(
            "{length} bytes of JSON; at most {JSON_BYTES_MAX} are read: send tensors raw"
        ));
    }
    match body.json_length {
        None => Ok((body.bytes.clone(), Bytes::new())),
        Some(length) if length <= body.bytes.len() => {
            Ok((body.bytes.slice(..length), body.bytes.slice(length..)))
        }
        Some(length) => wrong(format!(
            "{JSON_LENGTH_HEADER} says {length}, the body has {} bytes",
            body.bytes.len()
        )),
    }
}

fn describe<'a>(tensor: &'a Tensor, binary: bool) -> TensorOut<'a> {
    TensorOut {
        name: &tensor.name,
        shape: &tensor.shape,
        datatype: tensor.dtype.name(),
        parameters: binary.then_some(SizeOut::Raw { binary_data_size: tensor.data.len() }),
        data: (!binary).then_some(Elements(tensor)),
    }
}

fn read_tensors(
    heads: Vec<TensorJson<'_>>,
    mut tail: Bytes,
    most: usize,
    shared: ReadShared<'_>,
) -> Result<Vec<Tensor>, OipError> {
    if heads.len() > TENSORS_MAX {
        return wrong(format!("{} tensors; at most {TENSORS_MAX} are read", heads.len()));
    }
    let too_long = || OipError(format!("tensors of more than {most} bytes"));
    let mut tensors = Vec::with_capacity(heads.len());
    let mut left = most as u64;
    for head in heads {
        let Some(dtype) = DType::from_name(&head.datatype) else {
            return wrong(format!("tensor {:?}: datatype {:?}", head.name, head.datatype));
        };
        let parameters = head.parameters.unwrap_or_default();
        let raw = parameters.binary_data_size;
        let data = match (raw.map(|size| size.get().parse::<u64>().ok()), head.data) {
            (None, None) if parameters.shared_memory_region.is_some() => {
                let size = parameters.shared_memory_byte_size;
                left = left.checked_sub(size).ok_or_else(too_long)?;
                let region = parameters.shared_memory_region.unwrap_or_default();
                shared(&region, parameters.shared_memory_offset, size)?
            }
            (Some(Some(size)), None) if size <= tail.len() as u64 => tail.split_to(size as usize),
            (Some(_), None) => return wrong(format!("tensor {:?}: raw bytes missing", head.name)),
            (None, Some(data)) => {
                // Of what is shorter than its shape says the shape's check tells.
                let elements = head.shape.iter().copied().fold(1, u64::saturating_mul);
                let size = elements.saturating_mul(dtype.size() as u64);
                left = left.checked_sub(size).ok_or_else(too_long)?;
                let read = read_elements(data, dtype, elements as usize);
                read.map_err(|error| OipError(format!("tensor {:?}: {error}", head.name)))?.into()
            }
            _ => return wrong(format!("tensor {:?}: needs data, raw or typed", head.name)),
        };
        let tensor = Tensor::new(head.name, dtype, head.shape, data);
        tensors.push(tensor.map_err(|error| OipError(error.to_string()))?);
    }
    if tail.is_empty() { Ok(tensors) } else { wrong("raw bytes that belong to no tensor") }
}

#[cfg(test)]
mod tests;
