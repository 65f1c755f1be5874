//! Values into tensors by key, of which some may share memory.

use std::collections::HashMap;

use anneal_torch::grad_mode;
use tch::Tensor;

use crate::weights::Named;

/// Copies into each tensor of `have` the value that `value_of` gives for its key; the others stay as they are.
///
/// Tensors that share memory go on doing so if all of them get the same value, and part otherwise.
///
/// # Panics
/// When a value has another shape than its tensor: check that first.
pub fn assign<'a>(have: &[Named], value_of: impl Fn(&str) -> Option<&'a Tensor>) {
    let _no_grad = grad_mode::no_grad();
    for sharing in by_memory(have).into_values().filter(|sharing| sharing.len() > 1) {
        let mut values = sharing.iter().map(|(name, _)| value_of(name));
        let first = values.next().flatten();
        let alike = values.all(|value| match (value, first) {
            (Some(value), Some(first)) => value.equal(first),
            (None, None) => true,
            _ => false,
        });
        if !alike {
            for (_, tensor) in &sharing[1..] {
                tensor.shallow_clone().set_data(&tensor.copy());
            }
        }
    }
    for (name, tensor) in have {
        if let Some(value) = value_of(name) {
            tensor.shallow_clone().copy_(value);
        }
    }
}

/// Tensors by the address of their values; those without any values are left out.
fn by_memory(named: &[Named]) -> HashMap<usize, Vec<&Named>> {
    let mut by_memory: HashMap<usize, Vec<&Named>> = HashMap::new();
    for entry in named.iter().filter(|(_, tensor)| tensor.numel() > 0) {
        by_memory.entry(entry.1.data_ptr() as usize).or_default().push(entry);
    }
    by_memory
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tensors that share memory, and one of its own.
    fn three() -> Vec<Named> {
        let a = Tensor::from_slice(&[1.0_f32, 2.0]);
        let b = a.detach();
        let named = [("a", a), ("b", b), ("c", Tensor::from_slice(&[3.0_f32, 4.0]))];
        named.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect()
    }

    fn given(values: &[(&str, f32)]) -> HashMap<String, Tensor> {
        values.iter().map(|(name, value)| ((*name).to_owned(), Tensor::from_slice(&[*value, *value]))).collect()
    }

    fn firsts(named: &[Named]) -> Vec<f64> {
        named.iter().map(|(_, tensor)| tensor.double_value(&[0])).collect()
    }

    fn share(named: &[Named]) -> bool {
        named[0].1.data_ptr() == named[1].1.data_ptr()
    }

    #[test]
    fn equal_values_keep_one_copy() {
        let have = three();
        let given = given(&[("a", 7.0), ("b", 7.0)]);
        assign(&have, |name| given.get(name));
        assert!(share(&have) && firsts(&have) == [7.0, 7.0, 3.0]);
        assign(&have, |_| None);
        assert!(share(&have) && firsts(&have) == [7.0, 7.0, 3.0]);
    }

    #[test]
    fn other_values_part_them() {
        for (values, expected) in [
            (&[("a", 7.0), ("b", 8.0), ("c", 9.0)][..], [7.0, 8.0, 9.0]),
            (&[("a", 7.0)], [7.0, 1.0, 3.0]),
            (&[("b", 8.0)], [1.0, 8.0, 3.0]),
        ] {
            let have = three();
            // Who holds the tensor elsewhere sees the same.
            let held: Vec<Tensor> = have.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
            let given = given(values);
            assign(&have, |name| given.get(name));
            assert!(!share(&have));
            assert_eq!(firsts(&have), expected);
            assert_eq!(held.iter().map(|tensor| tensor.double_value(&[0])).collect::<Vec<_>>(), expected);
        }
    }
}
