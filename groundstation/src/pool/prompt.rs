//! Tasks of tensors before language models: what goes in as pictures and numbers, what comes out
//! as numbers by a schema, and the tensors of the contract again.
//!
//! ```text
//! contract + tensors ─► document (PNG, JSON) ─► any pool of messages ─► form ─► tensors ─► contract
//! ```
//!
//! Nothing is lost on the way in: each band of a picture goes as it is. What comes back is held to
//! the contract's shapes here and to its ranges by the router, like any pool's answer.

use super::task::Contracts;
use super::{
    Document, ImageFormat, Input, Message, ModelMetadata, Output, Part, Pool, PoolError, PoolInfo,
    Request, Response, Role, Schema,
};
use bytes::Bytes;
use codecs::mission::task::{Contract, Kind, Port};
use codecs::tensor::{DType, Tensor};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Most numbers of one question that go as text.
const NUMBERS_IN_MAX: usize = 16_384;

/// Most numbers of one answer: a model would have to write each.
const NUMBERS_OUT_MAX: usize = 4_096;

/// Most pictures of one question.
const PICTURES_MAX: usize = 32;

/// Tokens that a number with its comma may take, and those around all of them.
const TOKENS_A_NUMBER: usize = 8;
const TOKENS_AROUND: usize = 512;

/// A pool of messages that takes tasks of tensors too.
pub struct Prompted {
    inner: Arc<dyn Pool>,
    contracts: Contracts,
}

impl Prompted {
    /// Puts tasks of tensors to a pool as the contracts describe them.
    pub fn new(inner: Arc<dyn Pool>, contracts: Contracts) -> Self {
        Self { inner, contracts }
    }

    async fn answer(&self, request: &Request) -> Result<Response, PoolError> {
        let Input::Tensors(given) = &request.input else { return self.inner.infer(request).await };
        let refused = |error: String| PoolError::bad_request(error);
        let contract = self.contracts.of(&request.task).map_err(|e| refused(e.to_string()))?;
        let batch = contract.check_inputs(given).map_err(|e| refused(e.to_string()))?;
        let input = Input::Document(document(contract, given, batch).map_err(refused)?);
        let asked = Request { input, ..request.clone() };
        let Response { model, output, usage } = self.inner.infer(&asked).await?;
        let wrong = |error| PoolError::contract(error).with_usage(usage);
        let Output::Document(said) = output else {
            return Err(wrong("tensors in answer to words".to_owned()));
        };
        let value = said.value.unwrap_or_default();
        let output = Output::Tensors(tensors(contract, &value, batch).map_err(wrong)?);
        Ok(Response { model, output, usage })
    }
}

impl Pool for Prompted {
    fn describe(&self) -> PoolInfo {
        self.inner.describe()
    }

    fn metadata<'a>(
        &'a self,
        task: &'a str,
    ) -> BoxFuture<'a, Result<Option<ModelMetadata>, PoolError>> {
        self.inner.metadata(task)
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(self.answer(request))
    }
}

/// The question that asks a contract's outputs about tensors that fulfil its inputs.
fn document(contract: &Contract, given: &[Tensor], batch: u64) -> Result<Document, String> {
    let Kind::Tensors { inputs, outputs } = &contract.kind else {
        return Err(contract.takes("words, not tensors").to_string());
    };
    let numbers = outputs
        .iter()
        .try_fold(0, |sum: usize, port| sum.checked_add(count(&extents(port, batch))?));
    let numbers = numbers.filter(|numbers| *numbers <= NUMBERS_OUT_MAX).ok_or_else(|| {
        format!(
            "{} of {batch} items answers more than {NUMBERS_OUT_MAX} numbers: too many for a \
             model of words",
            contract.task
        )
    })?;
    let mut parts = Vec::new();
    let (mut pictures_left, mut numbers_left) = (PICTURES_MAX, NUMBERS_IN_MAX);
    for port in inputs {
        let Some(tensor) = given.iter().find(|tensor| tensor.name == port.name) else { continue };
        let told = told(port, batch);
        match pictures(tensor, &mut pictures_left) {
            Some(shown) => {
                parts.push(Part::Text(format!("{told} Each picture is named before it.")));
                parts.extend(shown);
            }
            None => {
                numbers_left = count(&tensor.shape)
                    .and_then(|numbers| numbers_left.checked_sub(numbers))
                    .ok_or_else(|| {
                        format!(
                            "tensor {:?} is neither pictures, {PICTURES_MAX} at most, nor at most \
                             {NUMBERS_IN_MAX} numbers: too much for a model of words",
                            port.name
                        )
                    })?;
                let value = nested(tensor).ok_or("a tensor that is shorter than its shape")?;
                parts.push(Part::Text(format!("{told} {value}")));
            }
        }
    }
    let wanted: Vec<String> = outputs.iter().map(|port| told(port, batch)).collect();
    let system = format!(
        "{}. You are given arrays and answer with arrays: numbers only, no words. Arrays are \
         nested, the outermost dimension first; what is asked for is {}",
        contract.about.trim_end_matches('.'),
        wanted.join(" ")
    );
    let tokens = numbers * TOKENS_A_NUMBER + TOKENS_AROUND;
    Ok(Document {
        system,
        messages: vec![Message { role: Role::User, parts }],
        schema: Some(schema(contract, outputs, batch)),
        tokens_out_max: u32::try_from(tokens).unwrap_or(u32::MAX),
    })
}

/// Extents of a port for a batch.
fn extents(port: &Port, batch: u64) -> Vec<u64> {
    port.shape.iter().map(|extent| if *extent == 0 { batch } else { *extent }).collect()
}

fn count(shape: &[u64]) -> Option<usize> {
    let product = shape.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent))?;
    usize::try_from(product).ok()
}

/// A port in words.
fn told(port: &Port, batch: u64) -> String {
    let mut text = format!("{:?}: {} {:?}", port.name, port.dtype.name(), extents(port, batch));
    if let Some((low, high)) = port.range {
        text.push_str(&format!(", each from {low} to {high}"));
    }
    if !port.unit.is_empty() {
        text.push_str(&format!(", in {}", port.unit));
    }
    text.push('.');
    text
}

/// The schema of a contract's outputs: strict modes take it, since every field is required. How
/// long arrays are stands in words as well, for those that leave out such bounds.
fn schema(contract: &Contract, outputs: &[Port], batch: u64) -> Schema {
    let property = |port: &Port| {
        let element = match port.dtype {
            DType::Bool => json!({ "type": "boolean" }),
            DType::F32 | DType::F64 => json!({ "type": "number" }),
            _ => json!({ "type": "integer" }),
        };
        let inside = extents(port, batch).into_iter().rev().fold(element, |items, extent| {
            json!({ "type": "array", "items": items, "minItems": extent, "maxItems": extent })
        });
        let mut value = inside;
        value["description"] = Value::from(told(port, batch));
        (port.name.clone(), value)
    };
    let properties: Map<String, Value> = outputs.iter().map(property).collect();
    let required: Vec<&str> = outputs.iter().map(|port| port.name.as_str()).collect();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    Schema {
        name: contract.task.chars().take(64).map(plain).collect(),
        value: json!({ "type": "object", "properties": properties, "required": required,
            "additionalProperties": false }),
    }
}

/// A tensor of bytes, batch by channel by row by column, as pictures: three channels in colour,
/// others one by one, so that none is taken for transparency. None where it is no picture.
fn pictures(tensor: &Tensor, left: &mut usize) -> Option<Vec<Part>> {
    let [batch, channels, height, width] = *tensor.shape.as_slice() else { return None };
    let picture = tensor.dtype == DType::U8 && height.min(width) >= 8;
    let [batch, channels] = [batch, channels].map(|it| usize::try_from(it).unwrap_or(usize::MAX));
    let each = if channels == 3 { 1 } else { channels };
    *left = left.checked_sub(batch.checked_mul(each).filter(|_| picture)?)?;
    let plane = count(&[height, width])?;
    let mut parts = Vec::new();
    for (item, bands) in tensor.data.chunks_exact(plane.checked_mul(channels)?).enumerate() {
        let mut show = |what: String, colour: png::ColorType, pixels: &[u8]| {
            let data = png_of(width, height, colour, pixels)?;
            parts.push(Part::Text(format!("{}[{item}]{what}", tensor.name)));
            parts.push(Part::Image { format: ImageFormat::Png, data });
            Some(())
        };
        if channels == 3 {
            let pixels: Vec<u8> =
                (0..plane).flat_map(|at| bands.iter().skip(at).step_by(plane)).copied().collect();
            show(String::new(), png::ColorType::Rgb, &pixels)?;
        } else {
            for (channel, band) in bands.chunks_exact(plane).enumerate() {
                show(format!("[{channel}]"), png::ColorType::Grayscale, band)?;
            }
        }
    }
    Some(parts)
}

fn png_of(width: u64, height: u64, colour: png::ColorType, pixels: &[u8]) -> Option<Bytes> {
    let mut out = Vec::new();
    let [width, height] = [width, height].map(u32::try_from);
    let mut encoder = png::Encoder::new(&mut out, width.ok()?, height.ok()?);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(out.into())
}

/// A tensor as nested arrays.
fn nested(tensor: &Tensor) -> Option<Value> {
    let elements = tensor.data.chunks_exact(tensor.dtype.size());
    let mut level: Vec<Value> =
        elements.map(|bytes| element(tensor.dtype, bytes)).collect::<Option<_>>()?;
    for extent in tensor.shape.iter().rev() {
        let extent = usize::try_from(*extent).ok().filter(|extent| *extent > 0)?;
        level = level.chunks_exact(extent).map(|row| Value::from(row.to_vec())).collect();
    }
    level.pop()
}

fn element(dtype: DType, bytes: &[u8]) -> Option<Value> {
    Some(match dtype {
        DType::Bool => json!(bytes.first() != Some(&0)),
        DType::U8 => json!(u8::from_le_bytes(bytes.try_into().ok()?)),
        DType::U16 => json!(u16::from_le_bytes(bytes.try_into().ok()?)),
        DType::U32 => json!(u32::from_le_bytes(bytes.try_into().ok()?)),
        DType::U64 => json!(u64::from_le_bytes(bytes.try_into().ok()?)),
        DType::I8 => json!(i8::from_le_bytes(bytes.try_into().ok()?)),
        DType::I16 => json!(i16::from_le_bytes(bytes.try_into().ok()?)),
        DType::I32 => json!(i32::from_le_bytes(bytes.try_into().ok()?)),
        DType::I64 => json!(i64::from_le_bytes(bytes.try_into().ok()?)),
        DType::F32 => json!(f32::from_le_bytes(bytes.try_into().ok()?)),
        DType::F64 => json!(f64::from_le_bytes(bytes.try_into().ok()?)),
    })
}

/// The contract's outputs out of a model's answer; only what has exactly their shape.
fn tensors(contract: &Contract, value: &Value, batch: u64) -> Result<Vec<Tensor>, String> {
    let Kind::Tensors { outputs, .. } = &contract.kind else {
        return Err(contract.takes("words, not tensors").to_string());
    };
    let Value::Object(said) = value else { return Err("the answer is no object".to_owned()) };
    if let Some(name) = said.keys().find(|name| !outputs.iter().any(|of| of.name == **name)) {
        return Err(format!("field {name:?} is no output of {}", contract.task));
    }
    let tensor = |port: &Port| {
        let value =
            said.get(&port.name).ok_or_else(|| format!("field {:?}: missing", port.name))?;
        let shape = extents(port, batch);
        let mut data = Vec::new();
        fill(value, &shape, port.dtype, &mut data).map_err(|what| {
            format!("field {:?}: {what}; wanted {}", port.name, told(port, batch))
        })?;
        Tensor::new(&port.name, port.dtype, shape, data.into()).map_err(|error| error.to_string())
    };
    outputs.iter().map(tensor).collect()
}

/// Appends an array's elements; the depth is that of the contract, whatever the answer's.
fn fill(value: &Value, shape: &[u64], dtype: DType, out: &mut Vec<u8>) -> Result<(), String> {
    let Some((extent, inner)) = shape.split_first() else {
        return push(value, dtype, out).ok_or_else(|| format!("{} for a number", short(value)));
    };
    match value {
        Value::Array(items) if items.len() as u64 == *extent => {
            items.iter().try_for_each(|item| fill(item, inner, dtype, out))
        }
        Value::Array(items) => Err(format!("{} items where {extent} belong", items.len())),
        other => Err(format!("{} for {extent} items", short(other))),
    }
}

/// What stands in an answer, as far as it may be told.
fn short(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(_) => "a text".to_owned(),
        other => other.to_string(),
    }
}

fn push(value: &Value, dtype: DType, out: &mut Vec<u8>) -> Option<()> {
    // Models write whole numbers as 3 and as 3.0; what has a fraction is no whole number.
    let whole = || {
        let real = value.as_f64().filter(|it| it.fract() == 0.0 && it.abs() < 9e15);
        let exact = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
        exact.or(real.map(|real| real as i128))
    };
    match dtype {
        DType::Bool => out.push(u8::from(value.as_bool()?)),
        DType::U8 => out.extend(u8::try_from(whole()?).ok()?.to_le_bytes()),
        DType::U16 => out.extend(u16::try_from(whole()?).ok()?.to_le_bytes()),
        DType::U32 => out.extend(u32::try_from(whole()?).ok()?.to_le_bytes()),
        DType::U64 => out.extend(u64::try_from(whole()?).ok()?.to_le_bytes()),
        DType::I8 => out.extend(i8::try_from(whole()?).ok()?.to_le_bytes()),
        DType::I16 => out.extend(i16::try_from(whole()?).ok()?.to_le_bytes()),
        DType::I32 => out.extend(i32::try_from(whole()?).ok()?.to_le_bytes()),
        DType::I64 => out.extend(i64::try_from(whole()?).ok()?.to_le_bytes()),
        DType::F32 => out.extend((value.as_f64()? as f32).to_le_bytes()),
        DType::F64 => out.extend(value.as_f64()?.to_le_bytes()),
    }
    Some(())
}

#[cfg(test)]
mod tests;
