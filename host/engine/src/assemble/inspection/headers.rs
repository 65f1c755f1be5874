//! Weights that a config names, compared with its model by their headers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::faults::{Area, Faults};
use crate::assemble::embedder_weights::{names_in_file, problem};
use crate::assemble::project::warn_of_start;
use crate::assemble::weights_file::{Lack, lack, shapes_at, shapes_of_lpips};
use crate::config::{EmbedderConfig, Loaded, LpipsConfig, RunKind};
use crate::trainer::check_start;
use crate::weights::Shaped;

/// What mends a header that does not fit.
const HELP: &str = "name other weights, or settings like theirs; `anneal checkpoint inspect` lists keys and shapes";

/// The headers of the files that a config names, each read once. Files that are not there are told of elsewhere.
pub(super) struct Headers<'a, C> {
    loaded: &'a Loaded<C>,
    read: HashMap<PathBuf, Result<Vec<Shaped>, String>>,
}

impl<'a, C: RunKind> Headers<'a, C> {
    pub(super) fn new(loaded: &'a Loaded<C>) -> Self {
        Self { loaded, read: HashMap::new() }
    }

    /// Keys and shapes at `path`, which is set at `pointer`; none where they cannot be had.
    fn of(&mut self, pointer: &str, path: &Path, faults: &mut Faults) -> Option<&[Shaped]> {
        if !path.exists() {
            return None;
        }
        let read = || shapes_at(path).map_err(|error| error.to_string());
        match self.read.entry(path.to_owned()).or_insert_with(read) {
            Ok(header) => Some(header),
            Err(reason) => {
                faults.add(Area::Config, self.loaded.problem(pointer, reason.as_str(), HELP));
                None
            }
        }
    }

    /// The file at `path` holds weights.
    pub(super) fn is_readable(&mut self, pointer: &str, path: &Path, faults: &mut Faults) {
        self.of(pointer, path, faults);
    }

    /// The weights of `what`, `own`, are in the file at `path`; `at` has the settings `weights` and `prefix`.
    pub(super) fn file(
        &mut self,
        at: &str,
        path: &Path,
        prefix: &str,
        own: &[Shaped],
        what: &str,
        faults: &mut Faults,
    ) {
        let Some(given) = self.of(&format!("{at}/weights"), path, faults) else { return };
        let Some(Lack { reason, is_prefix }) = lack(prefix, own, given, what) else { return };
        let key = if is_prefix && !prefix.is_empty() { "prefix" } else { "weights" };
        let problem = self.loaded.problem(&format!("{at}/{key}"), format!("{}: {reason}", path.display()), HELP);
        faults.add(Area::Config, problem);
    }

    /// The networks of the perceptual distance are in the file that is set at `at`.
    pub(super) fn lpips(&mut self, at: &str, networks: &LpipsConfig, faults: &mut Faults) {
        self.file(at, &networks.weights, &networks.prefix, &shapes_of_lpips(), "the perceptual distance", faults);
    }

    /// The parameters `own` of embedder `i` are in its file.
    pub(super) fn embedder(&mut self, i: usize, used: &EmbedderConfig, own: &[Shaped], faults: &mut Faults) {
        let at = format!("/model/embedders/{i}");
        let Some(path) = &used.weights else { return };
        let Some(given) = self.of(&format!("{at}/weights"), path, faults) else { return };
        let given = given.iter().map(|(key, shape)| (key.as_str(), shape.clone())).collect();
        if let Err((key, message)) = names_in_file(used, own, &given) {
            faults.add(Area::Config, problem(self.loaded, &format!("{at}/{key}"), path, &message));
        }
    }

    /// A run of the `model` can start from the weights at `path`, if any are named; what it does not find there is a warning, as
    /// in training.
    pub(super) fn start(&mut self, path: Option<&Path>, model: &[Shaped], network: &str, faults: &mut Faults) {
        let Some(path) = path else { return };
        let Some(given) = self.of("/train/init_from", path, faults) else { return };
        match check_start(model, given, network) {
            Ok(report) => warn_of_start(&report, path),
            Err(reason) => {
                let problem = self.loaded.problem("/train/init_from", format!("{}: {reason}", path.display()), HELP);
                faults.add(Area::Config, problem);
            }
        }
    }
}
