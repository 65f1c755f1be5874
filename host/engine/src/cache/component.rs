//! A component whose results are kept: what its results depend on beside its inputs, and the store they are in.

use std::sync::{Arc, OnceLock};

use tch::{Device, Tensor};

use super::{Key, Store};

/// What tells a component's results from those of others.
#[derive(Debug)]
pub struct Component {
    /// Its settings, and the kind it computes in.
    pub settings: String,
    /// Its parameters, by name.
    pub params: Vec<(String, Tensor)>,
}

/// A component's place in a store.
#[derive(Debug)]
pub struct Cached {
    store: Arc<Store>,
    component: Component,
    /// The key of the component, made when it is first asked for: parameters may be loaded until then.
    key: OnceLock<Key>,
}

impl Cached {
    /// The place of `component` in `store`.
    pub fn new(store: Arc<Store>, component: Component) -> Self {
        Self { store, component, key: OnceLock::new() }
    }

    /// Whether what is missing is written.
    pub fn fills(&self) -> bool {
        self.store.fills()
    }

    /// The key that results for some inputs go on from.
    pub fn key(&self) -> Key {
        let first = || {
            // Other versions may compute otherwise.
            let mut key = Key::new(env!("CARGO_PKG_VERSION")).text(&self.component.settings);
            for (name, param) in &self.component.params {
                key = key.text(name).tensor(param);
            }
            key
        };
        self.key.get_or_init(first).clone()
    }

    /// As [`Store::has`].
    pub fn has(&self, key: &Key) -> bool {
        self.store.has(key)
    }

    /// As [`Store::get`].
    pub fn get(&self, key: &Key, device: Device) -> Option<Vec<(String, Tensor)>> {
        self.store.get(key, device)
    }

    /// As [`Store::put`].
    pub fn put(&self, key: &Key, tensors: &[(String, Tensor)]) {
        self.store.put(key, tensors);
    }
}
