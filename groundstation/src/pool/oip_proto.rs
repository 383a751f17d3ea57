//! Messages of the Open Inference Protocol (version 2) over gRPC, for both sides.
//!
//! The protocol's `GRPCInferenceService` is six unary methods; their messages are written out here
//! with the numbers that its specification gives the fields, so that building needs no compiler of
//! another language. Raw contents stay slices of what was received. Typed contents are read too:
//! some servers answer with them whatever was asked.

use super::oip::{OipError, TENSORS_MAX};
use super::{ModelMetadata, PortMetadata};
use bytes::Bytes;
use codecs::tensor::{DType, Tensor};
use std::collections::BTreeMap;

/// The service's name, before a slash and a method's.
pub const SERVICE: &str = "inference.GRPCInferenceService";

/// Most bytes of a message, either way.
pub const MESSAGE_BYTES_MAX: usize = super::oip::BODY_BYTES_MAX + (64 << 10);

/// `ServerLiveRequest`, `ServerReadyRequest` and `ServerMetadataRequest`: questions without words.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Empty {}

/// `ServerLiveResponse`, `ServerReadyResponse` and `ModelReadyResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Yes {
    /// The answer.
    #[prost(bool, tag = "1")]
    pub yes: bool,
}

/// `ModelReadyRequest` and `ModelMetadataRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ModelRequest {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version; empty for the server's choice.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// `ServerMetadataResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ServerMetadataResponse {
    /// Name of the server.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Names of extensions.
    #[prost(string, repeated, tag = "3")]
    pub extensions: Vec<String>,
}

/// `ModelMetadataResponse.TensorMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TensorMetadata {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type, such as `FP32`.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Extents; -1 is any.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
}

/// `ModelMetadataResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ModelMetadataResponse {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its versions.
    #[prost(string, repeated, tag = "2")]
    pub versions: Vec<String>,
    /// What runs it.
    #[prost(string, tag = "3")]
    pub platform: String,
    /// What goes in.
    #[prost(message, repeated, tag = "4")]
    pub inputs: Vec<TensorMetadata>,
    /// What comes out.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<TensorMetadata>,
}

/// `InferParameter`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferParameter {
    /// Its value.
    #[prost(oneof = "Parameter", tags = "1, 2, 3, 4, 5")]
    pub value: Option<Parameter>,
}

impl InferParameter {
    /// Whether it asks for anything; nothing, false, 0 and an empty text don't.
    pub fn asks(&self) -> bool {
        use Parameter::{Bool, Int64, String, Uint64};
        match &self.value {
            None | Some(Bool(false) | Int64(0) | Uint64(0)) => false,
            Some(String(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }
}

/// Value of an [`InferParameter`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Parameter {
    /// A truth value.
    #[prost(bool, tag = "1")]
    Bool(bool),
    /// A whole number.
    #[prost(int64, tag = "2")]
    Int64(i64),
    /// A text.
    #[prost(string, tag = "3")]
    String(String),
    /// A number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// A whole number that is never negative.
    #[prost(uint64, tag = "5")]
    Uint64(u64),
}

/// `InferTensorContents`: elements by the field that fits their type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Contents {
    /// `BOOL`.
    #[prost(bool, repeated, tag = "1")]
    pub bools: Vec<bool>,
    /// `INT8`, `INT16` and `INT32`.
    #[prost(int32, repeated, tag = "2")]
    pub ints: Vec<i32>,
    /// `INT64`.
    #[prost(int64, repeated, tag = "3")]
    pub int64s: Vec<i64>,
    /// `UINT8`, `UINT16` and `UINT32`.
    #[prost(uint32, repeated, tag = "4")]
    pub uints: Vec<u32>,
    /// `UINT64`.
    #[prost(uint64, repeated, tag = "5")]
    pub uint64s: Vec<u64>,
    /// `FP32`.
    #[prost(float, repeated, tag = "6")]
    pub floats: Vec<f32>,
    /// `FP64`.
    #[prost(double, repeated, tag = "7")]
    pub doubles: Vec<f64>,
    /// `BYTES`, which no contract of ours has.
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub bytes: Vec<Bytes>,
}

/// `ModelInferRequest.InferInputTensor` and `ModelInferResponse.InferOutputTensor`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferTensor {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type, such as `FP32`.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Extents.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// Extensions' words.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    /// Elements, where they are not raw.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<Contents>,
}

/// `ModelInferRequest.InferRequestedOutputTensor`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestedOutput {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Extensions' words.
    #[prost(btree_map = "string, message", tag = "2")]
    pub parameters: BTreeMap<String, InferParameter>,
}

/// `ModelInferRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferRequest {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// Its version; empty for the server's choice.
    #[prost(string, tag = "2")]
    pub model_version: String,
    /// The client's name for the question.
    #[prost(string, tag = "3")]
    pub id: String,
    /// Extensions' words.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    /// What goes in.
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<InferTensor>,
    /// What should come out; empty for all.
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<RequestedOutput>,
    /// Elements of each input, raw; empty where inputs hold theirs.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub raw_input_contents: Vec<Bytes>,
}

/// `ModelInferResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferResponse {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub model_version: String,
    /// The client's name for the question.
    #[prost(string, tag = "3")]
    pub id: String,
    /// Extensions' words.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    /// What came out.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<InferTensor>,
    /// Elements of each output, raw; empty where outputs hold theirs.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub raw_output_contents: Vec<Bytes>,
}

impl InferResponse {
    /// Who answered, with the version where it is told.
    pub fn model(&self) -> String {
        match self.model_version.as_str() {
            "" => self.model_name.clone(),
            version => format!("{} {version}", self.model_name),
        }
    }
}

/// Tensors as descriptions and raw contents, which share their elements.
pub fn write_tensors(tensors: &[Tensor]) -> (Vec<InferTensor>, Vec<Bytes>) {
    let describe = |tensor: &Tensor| InferTensor {
        name: tensor.name.clone(),
        datatype: tensor.dtype.name().to_owned(),
        shape: tensor.shape.iter().map(|extent| extent.cast_signed()).collect(),
        ..InferTensor::default()
    };
    let described = tensors.iter().map(describe).collect();
    (described, tensors.iter().map(|tensor| tensor.data.clone()).collect())
}

/// Reads tensors, raw or typed.
pub fn read_tensors(heads: Vec<InferTensor>, raw: Vec<Bytes>) -> Result<Vec<Tensor>, OipError> {
    if heads.len() > TENSORS_MAX {
        return Err(OipError(format!("{} tensors; at most {TENSORS_MAX} are read", heads.len())));
    }
    if !raw.is_empty() && raw.len() != heads.len() {
        return Err(OipError(format!("{} tensors, {} raw contents", heads.len(), raw.len())));
    }
    let mut raw = raw.into_iter();
    let read = |head: InferTensor| {
        let wrong = |what: &str| OipError(format!("tensor {:?}: {what}", head.name));
        let dtype = DType::from_name(&head.datatype)
            .ok_or_else(|| wrong(&format!("datatype {:?}", head.datatype)))?;
        let shape: Result<Vec<u64>, _> = head.shape.iter().copied().map(u64::try_from).collect();
        let shape = shape.map_err(|_| wrong(&format!("shape {:?}", head.shape)))?;
        let raw = raw.next();
        // MLServer leaves empty contents beside raw ones.
        let empty = Contents::default();
        let contents = head.contents.filter(|contents| raw.is_none() || *contents != empty);
        let data = match (raw, contents) {
            (Some(data), None) => data,
            (None, Some(contents)) => typed(&contents, dtype)
                .ok_or_else(|| OipError(format!("tensor {:?}: a bad element", head.name)))?,
            (None, None) if shape.contains(&0) => Bytes::new(),
            _ => {
                let name = &head.name;
                return Err(OipError(format!("tensor {name:?}: needs contents, raw or typed")));
            }
        };
        Tensor::new(head.name, dtype, shape, data).map_err(|error| OipError(error.to_string()))
    };
    heads.into_iter().map(read).collect()
}

/// Elements of the field that fits a type; none where one does not fit into the type.
fn typed(contents: &Contents, dtype: DType) -> Option<Bytes> {
    fn cut<const N: usize>(
        words: impl Iterator<Item = Option<[u8; N]>>,
        count: usize,
    ) -> Option<Bytes> {
        let mut out = Vec::with_capacity(count * N);
        for word in words {
            out.extend_from_slice(&word?);
        }
        Some(out.into())
    }
    let (ints, uints) = (&contents.ints, &contents.uints);
    match dtype {
        DType::Bool => {
            cut(contents.bools.iter().map(|it| Some([u8::from(*it)])), contents.bools.len())
        }
        DType::I8 => {
            cut(ints.iter().map(|it| Some(i8::try_from(*it).ok()?.to_le_bytes())), ints.len())
        }
        DType::I16 => {
            cut(ints.iter().map(|it| Some(i16::try_from(*it).ok()?.to_le_bytes())), ints.len())
        }
        DType::I32 => cut(ints.iter().map(|it| Some(it.to_le_bytes())), ints.len()),
        DType::I64 => {
            cut(contents.int64s.iter().map(|it| Some(it.to_le_bytes())), contents.int64s.len())
        }
        DType::U8 => cut(uints.iter().map(|it| Some([u8::try_from(*it).ok()?])), uints.len()),
        DType::U16 => {
            cut(uints.iter().map(|it| Some(u16::try_from(*it).ok()?.to_le_bytes())), uints.len())
        }
        DType::U32 => cut(uints.iter().map(|it| Some(it.to_le_bytes())), uints.len()),
        DType::U64 => {
            cut(contents.uint64s.iter().map(|it| Some(it.to_le_bytes())), contents.uint64s.len())
        }
        DType::F32 => {
            cut(contents.floats.iter().map(|it| Some(it.to_le_bytes())), contents.floats.len())
        }
        DType::F64 => {
            cut(contents.doubles.iter().map(|it| Some(it.to_le_bytes())), contents.doubles.len())
        }
    }
}

impl From<ModelMetadataResponse> for ModelMetadata {
    fn from(from: ModelMetadataResponse) -> Self {
        let ports = |ports: Vec<TensorMetadata>| {
            let port =
                |TensorMetadata { name, datatype, shape }| PortMetadata { name, datatype, shape };
            ports.into_iter().map(port).collect()
        };
        Self {
            name: from.name,
            versions: from.versions,
            inputs: ports(from.inputs),
            outputs: ports(from.outputs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn raw_contents_are_slices_of_what_was_received() {
        let tensor = Tensor::from_f32("x", vec![1, 3], &[1.0, -2.0, 0.1]).unwrap();
        let (inputs, raw_input_contents) = write_tensors(std::slice::from_ref(&tensor));
        let request = InferRequest {
            model_name: "m".into(),
            id: "7".into(),
            inputs,
            raw_input_contents,
            ..InferRequest::default()
        };
        let wire = Bytes::from(request.encode_to_vec());
        let read = InferRequest::decode(wire.clone()).unwrap();
        let span = wire.as_ptr_range();
        assert!(span.contains(&read.raw_input_contents[0].as_ptr()), "copied");
        assert_eq!(read_tensors(read.inputs, read.raw_input_contents).unwrap(), [tensor]);
    }

    #[test]
    fn the_wire_is_the_specification_s() {
        // Field 5 (inputs) holds name (1), datatype (2), shape (3, packed); field 7 is raw.
        let wire = b"\x0a\x01m\x2a\x0e\x0a\x01x\x12\x05UINT8\x1a\x02\x01\x02\x3a\x02\x05\x06";
        let request = InferRequest::decode(&wire[..]).unwrap();
        assert_eq!(request.encode_to_vec(), wire);
        let tensors = read_tensors(request.inputs, request.raw_input_contents).unwrap();
        let wanted = Tensor::new("x", DType::U8, vec![1, 2], Bytes::from_static(&[5, 6])).unwrap();
        assert_eq!(tensors, [wanted]);
    }

    fn head(datatype: &str, shape: &[i64], contents: Option<Contents>) -> Vec<InferTensor> {
        let (datatype, shape) = (datatype.to_owned(), shape.to_vec());
        vec![InferTensor { name: "x".into(), datatype, shape, contents, ..InferTensor::default() }]
    }

    #[test]
    fn typed_contents_are_read_by_their_type() {
        let contents = Contents {
            bools: vec![true],
            ints: vec![-1],
            int64s: vec![-2],
            uints: vec![200],
            uint64s: vec![u64::MAX],
            floats: vec![0.5],
            doubles: vec![-0.25],
            bytes: vec![],
        };
        for (datatype, wanted) in [
            ("BOOL", &[1u8][..]),
            ("INT8", &[255]),
            ("INT16", &[255, 255]),
            ("INT32", &[255; 4]),
            ("INT64", &(-2i64).to_le_bytes()),
            ("UINT8", &[200]),
            ("UINT16", &[200, 0]),
            ("UINT32", &[200, 0, 0, 0]),
            ("UINT64", &[255; 8]),
            ("FP32", &0.5f32.to_le_bytes()),
            ("FP64", &(-0.25f64).to_le_bytes()),
        ] {
            let read = read_tensors(head(datatype, &[1], Some(contents.clone())), vec![]).unwrap();
            assert_eq!(&read[0].data[..], wanted, "{datatype}");
        }
    }

    #[test]
    fn empty_contents_beside_raw_ones_say_nothing() {
        let heads = head("UINT8", &[1], Some(Contents::default()));
        let read = read_tensors(heads, vec![Bytes::from_static(&[7])]).unwrap();
        assert_eq!(read[0].data[..], [7]);
    }

    #[test]
    fn contradictions_are_named() {
        let ints = |ints: &[i32]| Some(Contents { ints: ints.to_vec(), ..Contents::default() });
        for (heads, raw, words) in [
            (head("INT8", &[1], ints(&[128])), vec![], "bad element"),
            (head("INT8", &[2], ints(&[1])), vec![], "want 2 bytes, the data has 1"),
            (head("INT8", &[-1], ints(&[1])), vec![], "shape [-1]"),
            (head("BYTES", &[1], None), vec![], "datatype \"BYTES\""),
            (head("INT8", &[1], None), vec![], "raw or typed"),
            (head("INT8", &[1], ints(&[1])), vec![Bytes::from_static(b"1")], "raw or typed"),
            (head("INT8", &[1], None), vec![Bytes::new(); 2], "1 tensors, 2 raw"),
            (vec![InferTensor::default(); 65], vec![], "65 tensors"),
        ] {
            let error = read_tensors(heads, raw).unwrap_err().0;
            assert!(error.contains(words), "{error}");
        }
    }
}
