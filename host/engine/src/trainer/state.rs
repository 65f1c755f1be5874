//! The whole truth of a run: what is not in it may be lost in a restart.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anneal_nn::adapted_layer;
use tch::Tensor;

use super::assign::assign;
use super::checkpoint::{CheckpointError, Lineage, Position, Snapshot};
use super::{Ema, Optimizer};
use crate::weights::{KeyReport, Named, Shaped, other_prefix, shapes};

/// What the keys of the adversary's optimizer state begin with.
const ADVERSARY: &str = "adversary.";

/// Everything that a step changes.
pub struct TrainState {
    /// The counters.
    pub position: Position,
    /// All parameters and buffers by checkpoint key, in order of construction: those of the network
    /// (`model.diffusion_model.*`), of embedders (`conditioner.embedders.0.*`), of the first stage (`first_stage_model.*`);
    /// where an autoencoder is trained, its own without a prefix and those of its loss (`loss.*`).
    pub weights: Vec<Named>,
    /// The optimizer over the trained ones among them.
    pub optimizer: Optimizer,
    /// The optimizer over those of an autoencoder's adversary.
    pub adversary: Option<Optimizer>,
    /// The moving average of the network's.
    pub ema: Option<Ema>,
}

impl TrainState {
    /// The state for a checkpoint, as views: write them before the next step.
    pub fn snapshot(&self, seed: u64, config: &str, plugins: &[String], lineage: &Lineage) -> Snapshot {
        Snapshot {
            position: Position { ema_updates: self.ema.as_ref().map_or(0, Ema::num_updates), ..self.position },
            seed,
            config: config.to_owned(),
            plugins: plugins.to_vec(),
            model: self.weights.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect(),
            ema: self.ema.as_ref().map(Ema::shadows).unwrap_or_default(),
            optimizer: self.optimizer_state(),
            losses: Vec::new(),
            lineage: lineage.clone(),
        }
    }

    /// All optimizers.
    pub fn optimizers(&mut self) -> impl Iterator<Item = &mut Optimizer> {
        std::iter::once(&mut self.optimizer).chain(&mut self.adversary)
    }

    /// The state of all optimizers; the adversary's has a prefix.
    fn optimizer_state(&self) -> Vec<Named> {
        let of_adversary = self.adversary.iter().flat_map(Optimizer::state);
        let of_adversary = of_adversary.map(|(name, tensor)| (format!("{ADVERSARY}{name}"), tensor));
        self.optimizer.state().into_iter().chain(of_adversary).collect()
    }

    /// Takes over a checkpoint's state. Nothing is changed unless all of it fits.
    ///
    /// # Errors
    /// When a key is missing, left over or of another shape.
    pub fn restore(&mut self, snapshot: &Snapshot, from: &Path) -> Result<(), CheckpointError> {
        let misfit = |reason: String| CheckpointError::Misfit { path: from.to_owned(), reason };
        if self.ema.is_some() == snapshot.ema.is_empty() {
            let (run, file) = if self.ema.is_some() { ("with", "without") } else { ("without", "with") };
            return Err(misfit(format!("the run trains {run} an EMA, the checkpoint was written {file} one")));
        }
        let shadows = self.ema.as_ref().map(Ema::shadows).unwrap_or_default();
        let pairs = [(&self.weights, &snapshot.model), (&shadows, &snapshot.ema)];
        for (have, given) in pairs {
            check_keys(have, given).map_err(misfit)?;
        }
        check_keys(&self.optimizer_state(), &snapshot.optimizer)
            .map_err(|error| misfit(format!("optimizer state: {error}")))?;
        for (have, given) in pairs {
            copy_by_key(have, given);
        }
        let (of_adversary, of_model): (Vec<Named>, Vec<Named>) = snapshot
            .optimizer
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .partition(|(name, _)| name.starts_with(ADVERSARY));
        self.optimizer.load_state(&of_model).map_err(misfit)?;
        if let Some(adversary) = &mut self.adversary {
            let bare = |(name, tensor): Named| (name[ADVERSARY.len()..].to_owned(), tensor);
            adversary.load_state(&of_adversary.into_iter().map(bare).collect::<Vec<_>>()).map_err(misfit)?;
        }
        if let Some(ema) = &mut self.ema {
            ema.set_num_updates(snapshot.position.ema_updates);
        }
        self.position = snapshot.position;
        Ok(())
    }

    /// Starts from published weights. Keys that the file lacks keep their initial values.
    ///
    /// Returns the keys that were missing and those that were not used.
    ///
    /// # Errors
    /// When no key that begins with `network` is in the file (a wrong prefix would otherwise train from scratch), or a
    /// shape differs.
    pub fn start_from(&mut self, given: &[Named], network: &str, from: &Path) -> Result<KeyReport, CheckpointError> {
        let report = check_start(&shapes(&self.weights), &shapes(given), network)
            .map_err(|reason| CheckpointError::Misfit { path: from.to_owned(), reason })?;
        copy_by_key(&self.weights, given);
        if let Some(ema) = &mut self.ema {
            ema.reset();
        }
        Ok(report)
    }
}

/// Whether a model of the keys and shapes `ours` can start from weights of those of `theirs`, as [`TrainState::start_from`]
/// does: the keys that were missing and those that are not used.
///
/// # Errors
/// Why it cannot.
pub fn check_start(ours: &[Shaped], theirs: &[Shaped], network: &str) -> Result<KeyReport, String> {
    let mut report = KeyReport::new(
        ours.iter().map(|(name, shape)| (name.as_str(), shape.clone())),
        theirs.iter().map(|(name, shape)| (name.as_str(), shape.clone())),
    );
    let adapters = |named: &[Shaped]| named.iter().filter(|(name, _)| adapted_layer(name).is_some()).count();
    match (adapters(ours), adapters(theirs)) {
        // Adapters start as nothing over the weights of any model.
        (1.., 0) => report.missing.retain(|name| adapted_layer(name).is_none()),
        (0, 1..) => {
            let help = "merge them into its weights with `anneal checkpoint merge-lora`, or add a [model.lora]";
            return Err(format!("it has low-rank adapters, which this model has not; {help}"));
        }
        _ => {}
    }
    let known: HashSet<&str> = ours.iter().map(|(name, _)| name.as_str()).collect();
    if !theirs.iter().any(|(name, _)| name.starts_with(network) && known.contains(name.as_str())) {
        let given: Vec<&str> = theirs.iter().map(|(name, _)| name.as_str()).collect();
        return Err(no_network(network, known, &given));
    }
    match report.misshapen.is_empty() {
        true => Ok(report),
        false => Err(format!("it is of another model\n{report}")),
    }
}

/// Why a file without a key of the network is none to start from.
fn no_network<'a>(network: &str, ours: impl IntoIterator<Item = &'a str>, theirs: &[&'a str]) -> String {
    let convert = "`anneal checkpoint convert FILE OUT";
    let why = match other_prefix(network, ours, theirs.iter().copied()).as_deref() {
        Some("") => format!("they stand there without it; {convert} --add {network}` puts it there"),
        Some(found) => format!("they stand behind `{found}`; {convert} --strip {found} --add {network}` changes it"),
        None => format!("its first key is {}", theirs.first().unwrap_or(&"none at all")),
    };
    format!("no key of the network begins with `{network}`: {why}")
}

pub(super) fn check_keys(have: &[Named], given: &[Named]) -> Result<(), String> {
    let given: HashMap<&str, &Tensor> = given.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    for (name, tensor) in have {
        match given.get(name.as_str()) {
            None => return Err(format!("`{name}` is missing")),
            Some(other) if other.size() != tensor.size() || other.kind() != tensor.kind() => {
                let (got, want) = (other.size(), tensor.size());
                return Err(format!(
                    "`{name}` is {:?} {got:?}; the run's is {:?} {want:?}",
                    other.kind(),
                    tensor.kind()
                ));
            }
            Some(_) => {}
        }
    }
    let known: std::collections::HashSet<&str> = have.iter().map(|(name, _)| name.as_str()).collect();
    match given.keys().filter(|name| !known.contains(*name)).min() {
        Some(extra) => Err(format!("`{extra}` is not part of this run")),
        None => Ok(()),
    }
}

pub(super) fn copy_by_key(have: &[Named], given: &[Named]) {
    let given: HashMap<&str, &Tensor> = given.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    assign(have, |name| given.get(name).copied());
}
