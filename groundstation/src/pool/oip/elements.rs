//! A tensor's elements as numbers of a JSON, written and read one by one: a tree of values takes
//! sixteen times the memory of what it is written in.

use crate::pool::http::cut;
use codecs::tensor::{DType, Tensor};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use serde_json::value::RawValue;
use std::fmt;

/// The elements of a tensor, flat in row-major order. What JSON can't hold becomes null.
#[derive(Debug)]
pub struct Elements<'a>(pub &'a Tensor);

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(tensor) = self;
        let words = tensor.data.chunks_exact(tensor.dtype.size());
        let mut all = serializer.serialize_seq(Some(words.len()))?;
        for word in words {
            let mut wide = [0u8; 8];
            wide[..word.len()].copy_from_slice(word);
            let unsigned = u64::from_le_bytes(wide);
            let bits = 8 * word.len() as u32;
            match tensor.dtype {
                DType::Bool => all.serialize_element(&(unsigned != 0)),
                DType::U8 | DType::U16 | DType::U32 | DType::U64 => {
                    all.serialize_element(&unsigned)
                }
                DType::I8 | DType::I16 | DType::I32 | DType::I64 => {
                    all.serialize_element(&(((unsigned << (64 - bits)) as i64) >> (64 - bits)))
                }
                DType::F32 => all.serialize_element(&f64::from(f32::from_bits(unsigned as u32))),
                DType::F64 => all.serialize_element(&f64::from_bits(unsigned)),
            }?;
        }
        all.end()
    }
}

/// Reads so many elements at most as little-endian bytes; arrays may be nested or flat (both are
/// allowed). An error names the first that is no such element.
pub fn read_elements(data: &RawValue, dtype: DType, most: usize) -> Result<Vec<u8>, String> {
    let text = data.get();
    // Each has a comma or a bracket beside it.
    let out = Vec::with_capacity(most.min(text.len() / 2 + 1) * dtype.size());
    let mut reader = Reader { dtype, out, left: most, over: false, other: None };
    match reader.deserialize(&mut serde_json::Deserializer::from_str(text)) {
        Ok(()) => Ok(reader.out),
        Err(_) if reader.over => Err(format!("more than the {most} elements of its shape")),
        Err(error) => Err(match reader.other {
            Some(other) => format!("{other} is no {}", dtype.name()),
            None => error.to_string(),
        }),
    }
}

struct Reader {
    dtype: DType,
    out: Vec<u8>,
    /// Elements that may still come, and whether more came.
    left: usize,
    over: bool,
    /// What is no element of the type.
    other: Option<String>,
}

impl Reader {
    fn push<E: Error>(&mut self, wide: Option<[u8; 8]>, what: &dyn fmt::Display) -> Result<(), E> {
        let word = wide.as_ref().and_then(|wide| wide.get(..self.dtype.size()));
        if let Some(word) = word {
            let Some(left) = self.left.checked_sub(1) else {
                self.over = true;
                return Err(E::custom("too many elements"));
            };
            self.left = left;
            self.out.extend_from_slice(word);
            return Ok(());
        }
        self.other = Some(cut(&what.to_string()));
        Err(E::custom("no element of the type"))
    }

    fn real(&self, value: f64) -> Option<[u8; 8]> {
        match self.dtype {
            DType::F32 => Some(u64::from((value as f32).to_bits()).to_le_bytes()),
            DType::F64 => Some(value.to_le_bytes()),
            _ => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Reader {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dtype.name())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut inner: A) -> Result<(), A::Error> {
        while inner.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        let is_bool = self.dtype == DType::Bool;
        self.push(is_bool.then_some(u64::from(truth).to_le_bytes()), &truth)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let most = match self.dtype {
            DType::Bool => 1,
            DType::U8 => u8::MAX.into(),
            DType::U16 => u16::MAX.into(),
            DType::U32 => u32::MAX.into(),
            DType::U64 => u64::MAX,
            DType::I8 => i8::MAX as u64,
            DType::I16 => i16::MAX as u64,
            DType::I32 => i32::MAX as u64,
            DType::I64 => i64::MAX as u64,
            DType::F32 | DType::F64 => return self.push(self.real(value as f64), &value),
        };
        self.push((value <= most).then_some(value.to_le_bytes()), &value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        let least = match self.dtype {
            DType::I8 => i8::MIN.into(),
            DType::I16 => i16::MIN.into(),
            DType::I32 => i32::MIN.into(),
            DType::I64 => i64::MIN,
            // Of what is above, JSON's reader makes the other kind.
            _ => return self.push(self.real(value as f64), &value),
        };
        self.push((value >= least).then_some(value.to_le_bytes()), &value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.push(self.real(value), &value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.push(None, &format_args!("{text:?}"))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.push(None, &"null")
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.push(None, &"an object")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, dtype: DType) -> Result<Vec<u8>, String> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        read_elements(raw, dtype, 1_000)
    }

    #[test]
    fn what_is_no_element_is_named_and_bounds_hold_on_both_sides() {
        for (dtype, good, bad) in [
            (DType::Bool, "[true, 0, 1, false]", ["2", "-1", "1.0", "\"true\""]),
            (DType::U8, "[0, [255]]", ["256", "-1", "true", "1.5"]),
            (DType::I8, "[-128, 127]", ["-129", "128", "false", "{\"a\":1}"]),
            (DType::U64, "[18446744073709551615]", ["-1", "18446744073709551616", "1e3", "null"]),
            (
                DType::I64,
                "[-9223372036854775808]",
                ["9223372036854775808", "0.0", "[\"\"]", "\"1\""],
            ),
            (
                DType::F32,
                "[1, -1, 1e39, -0.0, 18446744073709551616]",
                ["true", "null", "\"1\"", "{}"],
            ),
        ] {
            assert!(read(good, dtype).is_ok(), "{dtype:?}");
            for bad in bad {
                let told = read(bad, dtype).unwrap_err();
                assert!(told.ends_with(&format!(" is no {}", dtype.name())), "{bad}: {told}");
            }
        }
        assert_eq!(read("[[1, 2], 3]", DType::U16).unwrap(), [1, 0, 2, 0, 3, 0]);
        let raw: &RawValue = serde_json::from_str("[[1, 2], 3]").unwrap();
        assert_eq!(read_elements(raw, DType::U8, 3).unwrap(), [1, 2, 3]);
        let told = read_elements(raw, DType::U8, 2).unwrap_err();
        assert!(told.contains("more than the 2 elements"), "{told}");
        assert_eq!(read_elements(raw, DType::U64, usize::MAX).unwrap().len(), 24, "on its word");
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(read(&deep, DType::F32).unwrap_err().contains("recursion limit"));
        let long = format!("\"{}\"", "x".repeat(100_000));
        assert!(read(&long, DType::F32).unwrap_err().len() < 1_000, "words are cut");
    }

    proptest! {
        #[test]
        fn elements_come_back_as_they_were_written(
            words in prop::collection::vec(any::<u64>(), 0..40),
            dtype in prop::sample::select(vec![
                DType::Bool, DType::U8, DType::U16, DType::U32, DType::U64,
                DType::I8, DType::I16, DType::I32, DType::I64, DType::F32, DType::F64,
            ]),
        ) {
            let word = |of: u64| -> Vec<u8> {
                let whole = match dtype {
                    DType::Bool => u64::from(of.is_multiple_of(2)).to_le_bytes(),
                    DType::F32 => u64::from((of as i64 as f32 / 7.0).to_bits()).to_le_bytes(),
                    DType::F64 => (of as i64 as f64 / 7.0).to_le_bytes(),
                    _ => of.to_le_bytes(),
                };
                whole[..dtype.size()].to_vec()
            };
            let data: Vec<u8> = words.iter().flat_map(|of| word(*of)).collect();
            let shape = vec![words.len() as u64];
            let tensor = Tensor::new("x", dtype, shape, data.clone().into()).unwrap();
            let text = serde_json::to_string(&Elements(&tensor)).unwrap();
            prop_assert_eq!(read(&text, dtype).unwrap(), data);
        }
    }
}
