//! Parameters by path: how a layer declares what the host owns.

use std::fmt::Display;

use plugin_api::tch::prelude::*;

/// A place in the tree of an encoder's parameters; paths are upstream's state-dict keys.
pub struct Tree<'a> {
    params: &'a mut Params,
    prefix: String,
}

impl<'a> Tree<'a> {
    /// The root of the tree.
    pub fn new(params: &'a mut Params) -> Self {
        Self { params, prefix: String::new() }
    }

    /// The place one step down: a name, or an index in a sequence.
    pub fn sub(&mut self, name: impl Display) -> Tree<'_> {
        let prefix = self.join(name);
        Tree { params: self.params, prefix }
    }

    /// As [`Tree::sub`], for a caller that is done with this place.
    pub fn into_sub(self, name: impl Display) -> Self {
        let prefix = self.join(name);
        Self { params: self.params, prefix }
    }

    /// Declares a parameter at this place.
    pub fn param(&mut self, name: &str, shape: &[i64], init: Init) -> Param {
        let path = self.join(name);
        self.params.declare(&path, shape, init)
    }

    /// Declares a tensor that is saved and never trained.
    pub fn buffer(&mut self, name: &str, shape: &[i64], init: Init) -> Param {
        let path = self.join(name);
        self.params.buffer(&path, shape, init)
    }

    fn join(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}
