//! What a plugin that learns declares: its parameters, and how each starts.

/// How the host fills a parameter before training, from the run's seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// Gaussian of mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in `[-bound, bound]`.
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
}

impl Init {
    pub(super) fn to_json(self) -> String {
        match self {
            Self::Zeros => serde_json::json!({ "zeros": {} }),
            Self::Ones => serde_json::json!({ "ones": {} }),
            Self::Normal { std } => serde_json::json!({ "normal": { "std": std } }),
            Self::Uniform { bound } => serde_json::json!({ "uniform": { "bound": bound } }),
        }
        .to_string()
    }
}

/// A parameter as the host is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamDecl {
    /// Its name within the embedder, `embedding.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// How it starts.
    pub init: Init,
    /// Saved, never trained.
    pub buffer: bool,
}

/// A declared parameter; [`Call::param`](super::Call::param) gives its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param(pub(super) usize);

/// The parameters an embedder declares. The host owns them: it initialises, trains, averages and saves them.
#[derive(Debug, Default)]
pub struct Params {
    pub(crate) decls: Vec<ParamDecl>,
}

impl Params {
    /// A parameter that is trained where the run says `is_trainable`.
    pub fn declare(&mut self, name: &str, shape: &[i64], init: Init) -> Param {
        self.add(name, shape, init, false)
    }

    /// A tensor that is saved and never trained.
    pub fn buffer(&mut self, name: &str, shape: &[i64], init: Init) -> Param {
        self.add(name, shape, init, true)
    }

    fn add(&mut self, name: &str, shape: &[i64], init: Init, buffer: bool) -> Param {
        self.decls.push(ParamDecl { name: name.to_owned(), shape: shape.to_vec(), init, buffer });
        Param(self.decls.len() - 1)
    }
}
