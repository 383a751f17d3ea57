//! Several questions as one: inputs joined along the batch, outputs cut apart again.

use crate::pool::{Input, Output};
use bytes::{Bytes, BytesMut};
use codecs::tensor::Tensor;

/// Whether tensors differ in nothing but the batch and the elements.
pub(super) fn same_shape(one: &[Tensor], other: &[Tensor]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            one.name == other.name
                && one.dtype == other.dtype
                && one.shape.len() == other.shape.len()
                && one.shape.get(1..) == other.shape.get(1..)
        })
}

/// Joins inputs of the same shape; one alone is not copied.
pub(super) fn join(inputs: &[&Input]) -> Input {
    match inputs {
        [] => Input::Tensors(Vec::new()),
        [one] => (*one).clone(),
        [first, ..] => {
            let joined = first.tensors().iter().enumerate().filter_map(|(at, tensor)| {
                let parts: Vec<&Tensor> =
                    inputs.iter().filter_map(|input| input.tensors().get(at)).collect();
                let mut shape = tensor.shape.clone();
                if let Some(batch) = shape.first_mut() {
                    *batch = parts.iter().filter_map(|part| part.shape.first()).sum();
                }
                let length = parts.iter().map(|part| part.data.len()).sum();
                let mut data = BytesMut::with_capacity(length);
                parts.iter().for_each(|part| data.extend_from_slice(&part.data));
                Tensor::new(tensor.name.clone(), tensor.dtype, shape, data.freeze()).ok()
            });
            Input::Tensors(joined.collect())
        }
    }
}

/// Cuts an answer apart, by the items of each question; the contract was checked before. Parts share
/// the answer's memory.
pub(super) fn split(output: &Output, items: &[u64]) -> Vec<Output> {
    let Output::Tensors(tensors) = output else { return vec![output.clone()] };
    if items.len() == 1 {
        return vec![output.clone()];
    }
    let all: u64 = items.iter().sum();
    let mut from = 0;
    let parts = items.iter().map(|count| {
        let cut = |tensor: &Tensor| {
            let item = tensor.data.len() / usize::try_from(all).ok()?.max(1);
            let (start, end) = (from as usize * item, (from + count) as usize * item);
            let data: Bytes = (end <= tensor.data.len()).then(|| tensor.data.slice(start..end))?;
            let mut shape = tensor.shape.clone();
            *shape.first_mut()? = *count;
            Tensor::new(tensor.name.clone(), tensor.dtype, shape, data).ok()
        };
        let part = Output::Tensors(tensors.iter().filter_map(cut).collect());
        from += count;
        part
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[u64], values: &[f32]) -> Tensor {
        Tensor::from_f32("x", shape.to_vec(), values).unwrap()
    }

    #[test]
    fn what_is_joined_comes_apart_again() {
        let one = Input::Tensors(vec![floats(&[1, 2], &[1.0, 2.0])]);
        let two = Input::Tensors(vec![floats(&[2, 2], &[3.0, 4.0, 5.0, 6.0])]);
        assert!(same_shape(one.tensors(), two.tensors()));
        let joined = join(&[&one, &two]);
        assert_eq!(joined.tensors()[0].shape, [3, 2]);
        let output = Output::Tensors(joined.tensors().to_vec());
        let parts = split(&output, &[1, 2]);
        assert_eq!(parts[0].tensors(), one.tensors());
        assert_eq!(parts[1].tensors(), two.tensors());
        assert!(!same_shape(one.tensors(), &[floats(&[1, 3], &[0.0; 3])]));
    }
}
