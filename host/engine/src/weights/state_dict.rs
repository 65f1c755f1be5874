//! What a pickle of a model holds: its tensors by key, and what it says about itself.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::pickle::{self, Id, Made, Object, TensorRef};

/// What a pickle holds for us.
#[derive(Debug, Default)]
pub(super) struct StateDict {
    /// The tensors of its state dict, in order.
    pub tensors: Vec<(String, TensorRef)>,
    /// Texts and numbers at its top: `epoch`, `global_step`.
    pub facts: BTreeMap<String, String>,
    /// The class of each storage, by its name.
    pub storages: HashMap<Rc<str>, Rc<str>>,
    /// Bytes of the pickle.
    pub length: usize,
}

/// Most objects that are visited below the top: shared dicts could otherwise unfold without end.
const VISITED_MAX: usize = 1_000_000;

/// Deepest nesting of dicts.
const DEPTH_MAX: usize = 32;

/// Bytes of keys and shapes that are kept of tensors: the same ones may be named many times.
const KEPT_MAX: usize = 64 << 20;

/// Longest key of a tensor, in bytes, those of the dicts around it included.
const KEY_MAX: usize = 1024;

/// Longest text at the top that is told.
const FACT_MAX: usize = 200;

/// Reads the pickle that `bytes` begin with.
///
/// The tensors are those of `state_dict` where the top is a dict that has one, else all in it and in the dicts within,
/// their keys joined by dots.
///
/// # Errors
/// What is wrong and at which byte, or which tensor is of a kind that cannot be read.
pub(super) fn read(bytes: &[u8]) -> Result<StateDict, String> {
    let Made { objects, top, length } = pickle::read(bytes)?;
    let mut found = StateDict { length, ..StateDict::default() };
    let Object::Dict(items) = &objects[top] else {
        return Err(format!("it holds {} where a dict of tensors is wanted", objects[top].name()));
    };
    for (key, value) in items {
        if let (Object::Text(key), Some(fact)) = (&objects[*key], fact(&objects[*value]))
            && key.len() <= KEY_MAX
        {
            found.facts.insert(key.to_string(), fact);
        }
    }
    for object in &objects {
        if let Object::Storage { class, key } = object {
            found.storages.insert(key.clone(), class.clone());
        }
    }
    let named = |id: Id| matches!(&objects[id], Object::Text(key) if **key == *"state_dict");
    let inner = items.iter().find(|(key, value)| named(*key) && matches!(objects[*value], Object::Dict(_)));
    let mut search = Search { objects: &objects, left: VISITED_MAX, kept: 0, found: Vec::new() };
    search.collect(inner.map_or(top, |(_, dict)| *dict), "", 0)?;
    found.tensors = search.found;
    Ok(found)
}

/// Reads the pickle of a list of texts that `bytes` begin with, and says how long it is.
///
/// # Errors
/// What is wrong and at which byte.
pub(super) fn texts(bytes: &[u8]) -> Result<(Vec<Rc<str>>, usize), String> {
    let Made { objects, top, length } = pickle::read(bytes)?;
    let Object::List(items) = &objects[top] else {
        return Err(format!("it holds {} where a list of texts is wanted", objects[top].name()));
    };
    let text = |id: &Id| match &objects[*id] {
        Object::Text(text) => Ok(text.clone()),
        other => Err(format!("it holds {} where a text is wanted", other.name())),
    };
    Ok((items.iter().map(text).collect::<Result<_, _>>()?, length))
}

fn fact(object: &Object) -> Option<String> {
    match object {
        Object::Bool(value) => Some(value.to_string()),
        Object::Int(value) => Some(value.to_string()),
        Object::Float(value) => Some(value.to_string()),
        Object::Text(value) if value.len() <= FACT_MAX => Some(value.to_string()),
        _ => None,
    }
}

/// A search for tensors.
struct Search<'a> {
    objects: &'a [Object],
    left: usize,
    /// Bytes of keys and shapes so far.
    kept: usize,
    found: Vec<(String, TensorRef)>,
}

impl Search<'_> {
    /// Collects the tensors of a dict and of the dicts within.
    fn collect(&mut self, dict: Id, prefix: &str, depth: usize) -> Result<(), String> {
        let objects = self.objects;
        let Object::Dict(items) = &objects[dict] else { return Ok(()) };
        if depth > DEPTH_MAX {
            return Err(format!("dicts are nested more than {DEPTH_MAX} deep"));
        }
        for (key, value) in items {
            self.left = self.left.checked_sub(1).ok_or("it holds more objects than any model")?;
            let key = match &objects[*key] {
                Object::Text(key) if prefix.len() + key.len() > KEY_MAX => {
                    return Err("a key is longer than any name".to_owned());
                }
                Object::Text(key) => format!("{prefix}{key}"),
                Object::Int(key) => format!("{prefix}{key}"),
                _ => continue,
            };
            match &objects[*value] {
                Object::Tensor(tensor) => {
                    self.kept += key.len() + 16 * tensor.shape.len();
                    if self.kept > KEPT_MAX {
                        return Err("its tensors have more keys and axes than those of any model".to_owned());
                    }
                    self.found.push((key, tensor.clone()));
                }
                Object::Unreadable(builder) => return Err(format!("`{key}` is built by {builder}, which is not read")),
                Object::Dict(_) => self.collect(*value, &format!("{key}."), depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "state_dict_tests.rs"]
mod tests;
