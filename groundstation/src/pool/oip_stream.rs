//! Answers of decoupled models, which come in any number of parts (Triton's `ModelStreamInfer`).
//!
//! What a contract asks for is one answer: parts that name the same output are rows of it, in the
//! order in which they came.

use super::oip::BODY_BYTES_MAX;
use super::oip_proto::{InferResponse, Parameter, read_tensors};
use bytes::{Bytes, BytesMut};
use codecs::tensor::{DType, Tensor};
use prost::Message as _;

/// Most parts of an answer, empty ones and all.
pub const PARTS_MAX: usize = 1 << 16;

/// Asks for a last part that says so, though it be empty.
pub const WANT_FINAL: &str = "triton_enable_empty_final_response";

/// Says that a part is the last.
const IS_FINAL: &str = "triton_final_response";

/// `ModelStreamInferResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamResponse {
    /// Why there is no answer; empty where there is one.
    #[prost(string, tag = "1")]
    pub error_message: String,
    /// A part of it.
    #[prost(message, optional, tag = "2")]
    pub infer_response: Option<InferResponse>,
}

/// `ModelConfigResponse`, as far as it is needed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ModelConfigResponse {
    /// How the model is run.
    #[prost(message, optional, tag = "1")]
    pub config: Option<ModelConfig>,
}

/// `ModelConfig`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ModelConfig {
    /// How answers belong to questions.
    #[prost(message, optional, tag = "19")]
    pub model_transaction_policy: Option<TransactionPolicy>,
}

/// `ModelTransactionPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct TransactionPolicy {
    /// A question may have any number of answers.
    #[prost(bool, tag = "1")]
    pub decoupled: bool,
}

impl ModelConfigResponse {
    /// Whether the model is asked by stream alone.
    pub fn is_decoupled(&self) -> bool {
        let policy = self.config.and_then(|config| config.model_transaction_policy);
        policy.is_some_and(|policy| policy.decoupled)
    }
}

/// An output as far as it has come.
#[derive(Debug)]
struct Rows {
    name: String,
    dtype: DType,
    shape: Vec<u64>,
    parts: Vec<Bytes>,
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub struct Parts {
    outputs: Vec<Rows>,
    count: usize,
    bytes: usize,
    /// Who answers, with the version.
    pub model: String,
}

impl Parts {
    /// Takes a part; whether it was the last. What does not fit what came before is an error.
    pub fn take(&mut self, part: InferResponse) -> Result<bool, String> {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(part.encoded_len());
        if self.count > PARTS_MAX || self.bytes > BODY_BYTES_MAX {
            return Err(format!("more than {PARTS_MAX} parts, or {BODY_BYTES_MAX} bytes of them"));
        }
        if self.model.is_empty() {
            self.model = part.model();
        }
        let last = part.parameters.get(IS_FINAL).and_then(|told| told.value.as_ref());
        let last = last == Some(&Parameter::Bool(true));
        let tensors = read_tensors(part.outputs, part.raw_output_contents);
        for tensor in tensors.map_err(|error| error.to_string())? {
            self.add(tensor)?;
        }
        Ok(last)
    }

    fn add(&mut self, tensor: Tensor) -> Result<(), String> {
        let Some(rows) = self.outputs.iter_mut().find(|rows| rows.name == tensor.name) else {
            let Tensor { name, dtype, shape, data } = tensor;
            self.outputs.push(Rows { name, dtype, shape, parts: vec![data] });
            return Ok(());
        };
        let fits = rows.dtype == tensor.dtype
            && rows.shape.get(1..).is_some_and(|rest| tensor.shape.get(1..) == Some(rest));
        let (true, [sum, ..], Some(more)) = (fits, &mut rows.shape[..], tensor.shape.first())
        else {
            return Err(format!(
                "output {:?}: a part of {} {:?} after one of {} {:?}",
                tensor.name,
                tensor.dtype.name(),
                tensor.shape,
                rows.dtype.name(),
                rows.shape
            ));
        };
        *sum = sum.checked_add(*more).ok_or("more rows than a shape can say")?;
        rows.parts.push(tensor.data);
        Ok(())
    }

    /// The answer, once nothing more comes.
    pub fn whole(self) -> Result<Vec<Tensor>, String> {
        let join = |rows: Rows| {
            let data = match &rows.parts[..] {
                [one] => one.clone(),
                many => {
                    let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
                    many.iter().for_each(|part| all.extend_from_slice(part));
                    all.freeze()
                }
            };
            let tensor = Tensor::new(&rows.name, rows.dtype, rows.shape, data);
            tensor.map_err(|error| format!("output {:?}: {error}", rows.name))
        };
        self.outputs.into_iter().map(join).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::oip_proto::{InferParameter, write_tensors};

    fn part(shape: &[u64], values: &[f32], last: bool) -> InferResponse {
        let tensor = Tensor::from_f32("y", shape.to_vec(), values).unwrap();
        let (outputs, raw_output_contents) = write_tensors(&[tensor]);
        let mut part = InferResponse {
            model_name: "m".into(),
            model_version: "1".into(),
            outputs,
            raw_output_contents,
            ..InferResponse::default()
        };
        let value = Some(Parameter::Bool(last));
        part.parameters.insert(IS_FINAL.into(), InferParameter { value });
        part
    }

    #[test]
    fn parts_are_rows_of_one_answer_in_their_order() {
        let mut parts = Parts::default();
        assert!(!parts.take(part(&[1, 2], &[1.0, 2.0], false)).unwrap());
        assert!(!parts.take(part(&[2, 2], &[3.0, 4.0, 5.0, 6.0], false)).unwrap());
        let mut end = part(&[0, 2], &[], true);
        (end.outputs, end.raw_output_contents) = (Vec::new(), Vec::new());
        assert!(parts.take(end).unwrap());
        assert_eq!(parts.model, "m 1");
        let wanted = Tensor::from_f32("y", vec![3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(parts.whole().unwrap(), [wanted.unwrap()]);
    }

    #[test]
    fn parts_that_do_not_fit_and_answers_without_an_end_are_refused() {
        for wrong in [part(&[1, 3], &[0.0; 3], false), part(&[], &[0.0], false)] {
            let mut parts = Parts::default();
            parts.take(part(&[1, 2], &[1.0, 2.0], false)).unwrap();
            assert!(parts.take(wrong).unwrap_err().contains("\"y\""));
        }
        let mut parts = Parts::default();
        let refused = (0..=PARTS_MAX).find_map(|_| parts.take(InferResponse::default()).err());
        assert!(refused.unwrap().contains("parts"));
        let mut parts = Parts::default();
        let long = part(&[1, 1 << 20], &vec![0.0; 1 << 20], false);
        assert!((0..100).any(|_| parts.take(long.clone()).is_err()));
    }
}
