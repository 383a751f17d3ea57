//! The neutral tensor that requests and answers are made of, whatever runs the model.

use alloc::{format, string::String, vec::Vec};
use bytes::Bytes;

/// Type of one element, named as the Open Inference Protocol names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DType {
    /// One byte a truth value.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 64 bits.
    F64,
}

/// Every type with its protocol name and size in bytes.
const TYPES: [(DType, &str, usize); 11] = [
    (DType::Bool, "BOOL", 1),
    (DType::U8, "UINT8", 1),
    (DType::U16, "UINT16", 2),
    (DType::U32, "UINT32", 4),
    (DType::U64, "UINT64", 8),
    (DType::I8, "INT8", 1),
    (DType::I16, "INT16", 2),
    (DType::I32, "INT32", 4),
    (DType::I64, "INT64", 8),
    (DType::F32, "FP32", 4),
    (DType::F64, "FP64", 8),
];

impl DType {
    /// Name on the wire.
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        TYPES.iter().find(|row| row.0 == self).map_or(1, |row| row.2)
    }

    /// Reads the name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        TYPES.iter().find(|row| row.1 == name).map(|row| row.0)
    }
}

/// A named, shaped run of little-endian elements in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Name of the input or output.
    pub name: String,
    /// Type of the elements.
    pub dtype: DType,
    /// Extent of each dimension, outermost first.
    pub shape: Vec<u64>,
    /// The elements, little-endian.
    pub data: Bytes,
}

/// Why a tensor's parts contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor {name:?}: {}, the data has {found}", wants(.wanted))]
pub struct TensorError {
    /// The tensor's name.
    pub name: String,
    /// Bytes that shape and type ask for, if that is a number at all.
    pub wanted: Option<usize>,
    /// Bytes found.
    pub found: usize,
}

fn wants(bytes: &Option<usize>) -> String {
    match bytes {
        Some(bytes) => format!("shape and type want {bytes} bytes"),
        None => String::from("shape and type want more bytes than can be counted"),
    }
}

impl Tensor {
    /// A tensor whose data has exactly the length that shape and type ask for.
    pub fn new(
        name: impl Into<String>,
        dtype: DType,
        shape: Vec<u64>,
        data: Bytes,
    ) -> Result<Self, TensorError> {
        let elements = shape.iter().try_fold(1usize, |product, extent| {
            product.checked_mul(usize::try_from(*extent).ok()?)
        });
        let wanted = elements.and_then(|count| count.checked_mul(dtype.size()));
        let name = name.into();
        if wanted != Some(data.len()) {
            return Err(TensorError { name, wanted, found: data.len() });
        }
        Ok(Self { name, dtype, shape, data })
    }

    /// A tensor of 32-bit floats.
    pub fn from_f32(
        name: impl Into<String>,
        shape: Vec<u64>,
        values: &[f32],
    ) -> Result<Self, TensorError> {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        Self::new(name, DType::F32, shape, data.into())
    }

    /// The elements as 32-bit floats, if that is what they are.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        if self.dtype != DType::F32 {
            return None;
        }
        let (words, _) = self.data.as_chunks::<4>();
        Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_that_lies_is_refused() {
        assert!(Tensor::from_f32("x", alloc::vec![2, 2], &[0.0; 4]).is_ok());
        assert!(Tensor::from_f32("x", alloc::vec![2, 3], &[0.0; 4]).is_err());
        assert!(Tensor::from_f32("x", alloc::vec![u64::MAX, u64::MAX], &[]).is_err());
        assert!(Tensor::from_f32("x", alloc::vec![0], &[]).is_ok());
    }

    #[test]
    fn every_type_reads_its_own_name() {
        for (dtype, name, size) in TYPES {
            assert_eq!(DType::from_name(name), Some(dtype));
            assert_eq!((dtype.name(), dtype.size()), (name, size));
        }
        assert_eq!(DType::from_name("BYTES"), None);
    }
}
