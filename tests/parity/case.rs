//! One golden case: tensors by name, the config it is built from, its tolerances; and what of it was used.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::options::Options;

/// A case.
pub struct Case {
    /// `block.resblock`, from which follows how it is run.
    pub kind: String,
    /// What the call is given besides tensors.
    pub call: Options,
    /// How far results may be off.
    pub tolerances: Tolerances,
    config: Value,
    tensors: BTreeMap<String, Tensor>,
    used: RefCell<BTreeSet<String>>,
}

/// How far results may be off.
pub struct Tolerances {
    /// Of outputs, relative to each element.
    pub rtol: f64,
    /// Of outputs, absolute.
    pub atol: f64,
    /// Of gradients, relative to the largest element of the tensor.
    pub grad_rtol: f64,
    /// Of gradients, absolute.
    pub grad_atol: f64,
    /// Absolute ones of single outputs, in place of the others.
    pub loose: BTreeMap<String, f64>,
    /// Prefixes of outputs that were left out of the file to keep it small.
    pub trimmed: Vec<String>,
}

/// Results by the names of the case: `out.y`, `grad.weight`.
pub type Outputs = BTreeMap<String, Tensor>;

impl Case {
    /// Reads a case.
    pub fn load(path: &Path) -> Result<Self, String> {
        let mut bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        if path.extension().is_some_and(|extension| extension == "gz") {
            let packed = std::mem::take(&mut bytes);
            flate2::read::GzDecoder::new(packed.as_slice())
                .read_to_end(&mut bytes)
                .map_err(|error| error.to_string())?;
        }
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| error.to_string())?;
        let meta: HashMap<String, String> = header.metadata().clone().unwrap_or_default();
        let file = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string())?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::I64 => Kind::Int64,
                other => return Err(format!("{name} is of {other:?}")),
            };
            let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
            tensors.insert(name, Tensor::from_data_size(view.data(), &shape, kind));
        }
        let json = |key: &str| -> Result<Value, String> {
            let text = meta.get(key).map_or("{}", String::as_str);
            serde_json::from_str(text).map_err(|error| format!("{key}: {error}"))
        };
        let number = |key: &str, default: f64| -> Result<f64, String> {
            meta.get(key).map_or(Ok(default), |text| text.parse().map_err(|_| format!("{key} is no number: {text}")))
        };
        let rtol = number("rtol", 1e-5)?;
        let atol = number("atol", 1e-6)?;
        let tolerances = Tolerances {
            rtol,
            atol,
            grad_rtol: number("grad_rtol", rtol)?,
            grad_atol: number("grad_atol", atol)?,
            trimmed: meta.get("trimmed").map_or_else(Vec::new, |text| text.split(',').map(str::to_owned).collect()),
            loose: serde_json::from_value(json("loose_keys")?).map_err(|error| format!("loose_keys: {error}"))?,
        };
        Ok(Self {
            kind: meta.get("kind").cloned().ok_or("the case has no kind")?,
            call: Options::new("call", &json("call")?)?,
            tolerances,
            config: json("config")?,
            tensors,
            used: RefCell::default(),
        })
    }

    /// The options it is built from; a fresh reader each time.
    pub fn config(&self) -> Result<Options, String> {
        Options::new("config", &self.config)
    }

    /// An input.
    pub fn input(&self, name: &str) -> Result<Tensor, String> {
        self.optional(name).ok_or_else(|| format!("the case has no in.{name}"))
    }

    /// An input if there is one.
    pub fn optional(&self, name: &str) -> Option<Tensor> {
        self.get(&format!("in.{name}"))
    }

    /// Whether there is an input.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&format!("in.{name}"))
    }

    /// Inputs below a prefix, by the rest of their names: `below("batch")` gives `in.batch.x` as `x`.
    pub fn below(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        self.with_prefix(&format!("in.{prefix}."))
    }

    /// Numbered inputs `in.PREFIX.0`, `in.PREFIX.1` and so on.
    pub fn numbered(&self, prefix: &str) -> Vec<Tensor> {
        (0..).map_while(|i| self.optional(&format!("{prefix}.{i}"))).collect()
    }

    /// An input as numbers.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, String> {
        Vec::<f64>::try_from(self.input(name)?.to_kind(Kind::Double).flatten(0, -1)).map_err(|error| error.to_string())
    }

    /// Weights and buffers below a prefix (all for an empty one), by the rest of their keys.
    pub fn weights(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        self.with_prefix(&format!("w.{prefix}"))
    }

    /// What is to come out: names of `out.*` and `grad.*` with their values.
    pub fn wanted(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.tensors.iter().filter(|(name, _)| name.starts_with("out.") || name.starts_with("grad."))
    }

    /// Whether an output is to come out, and how it looks.
    pub fn want(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Whether all inputs, weights and call arguments were used: what nobody reads, nobody has tested.
    pub fn all_used(&self) -> Result<(), String> {
        self.call.finish()?;
        let used = self.used.borrow();
        let given = self.tensors.keys().filter(|name| name.starts_with("in.") || name.starts_with("w."));
        let unused: Vec<&str> = given.filter(|name| !used.contains(*name)).map(String::as_str).collect();
        if unused.is_empty() { Ok(()) } else { Err(format!("unused: {}", unused.join(", "))) }
    }

    fn get(&self, name: &str) -> Option<Tensor> {
        let tensor = self.tensors.get(name)?;
        self.used.borrow_mut().insert(name.to_owned());
        Some(tensor.shallow_clone())
    }

    fn with_prefix(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let names: Vec<&String> = self.tensors.keys().filter(|name| name.starts_with(prefix)).collect();
        names.into_iter().filter_map(|name| Some((name[prefix.len()..].to_owned(), self.get(name)?))).collect()
    }
}
