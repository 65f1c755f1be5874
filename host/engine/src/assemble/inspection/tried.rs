//! What embedders give, found by calling each once before the model is built.

use std::collections::BTreeMap;

use anneal_torch::count::count;
use tch::{Device, Tensor};

use super::faults::{Area, Faults, of_component};
use crate::assemble::dry_run::{meta, without_values};
use crate::conditioner::{Conditioner, Conditions, EmbedderUse, Pass, Slot};
use crate::config::{Loaded, PluginKind, RunConfig};
use crate::data::Batch;
use crate::error::{ComponentError, ErrorCode};
use crate::plugin::{Registry, TorchLink};

/// Values in the parameters of an embedder up to which it is called with values: 16 MiB.
const VALUES_MAX: i64 = 1 << 22;

/// What the embedders give for a batch, as shapes.
pub(super) struct Tried {
    /// All of it, joined; without values.
    pub(super) conditions: Conditions,
    /// How wide each embedder's part is, by slot.
    pub(super) parts: BTreeMap<Slot, Vec<(usize, i64)>>,
    /// Whether every embedder could be asked.
    pub(super) is_whole: bool,
}

/// Calls each embedder of `uses`, whose parameters have no values, on `batch`, which has. Those with few parameters get values:
/// they may look at them. Others compute on shapes alone, and where they cannot, nothing is known of them.
pub(super) fn tried(
    loaded: &Loaded<RunConfig>,
    registry: &Registry,
    uses: Vec<EmbedderUse>,
    batch: &Batch,
    faults: &mut Faults,
) -> Tried {
    let mut tried = Tried { conditions: Conditions::default(), parts: BTreeMap::new(), is_whole: true };
    for (i, used) in uses.into_iter().enumerate() {
        let name = used.embedder.name().to_owned();
        let is_small = used.params.iter().map(|param| param.numel() as i64).sum::<i64>() <= VALUES_MAX;
        let alone = if is_small { on_values(used, loaded, batch) } else { on_shapes(used, loaded, batch) };
        let joined = alone.and_then(|given| {
            for (slot, value) in given.iter() {
                let width = value.size()[slot.join_axis() as usize];
                tried.parts.entry(slot).or_default().push((i, width));
                tried.conditions.append(slot, meta(&value.size(), value.kind())?, &name)?;
            }
            Ok(())
        });
        let Err(error) = joined else { continue };
        tried.is_whole = false;
        if is_small || tells(&error, i, loaded, registry) {
            let pointer = format!("/model/embedders/{i}");
            let help = "`anneal plugin info` shows what the embedder takes, `anneal data preview` what the data gives";
            faults.add_following(Area::Config, of_component(loaded, &pointer, &error, help));
        }
    }
    tried
}

/// Whether an error of a call on shapes is about the settings and not about the missing values.
fn tells(error: &ComponentError, i: usize, loaded: &Loaded<RunConfig>, registry: &Registry) -> bool {
    let plugin = &loaded.config.model.embedders[i].plugin;
    let over_host =
        registry.find(PluginKind::Embedder, plugin).is_ok_and(|entry| *entry.plugin().torch() == TorchLink::None);
    match error.code {
        ErrorCode::InvalidConfig | ErrorCode::InvalidArgument => true,
        ErrorCode::Unsupported => false,
        // The host's operations know what has no shapes; a libtorch of the plugin's own fails as if something were wrong.
        _ => over_host,
    }
}

fn on_values(mut used: EmbedderUse, loaded: &Loaded<RunConfig>, batch: &Batch) -> Result<Conditions, ComponentError> {
    let zeros = |param: &Tensor| Tensor::zeros(param.size(), (param.kind(), Device::Cpu));
    used.params = used.params.iter().map(zeros).collect();
    embed(used, loaded, batch)
}

fn on_shapes(used: EmbedderUse, loaded: &Loaded<RunConfig>, batch: &Batch) -> Result<Conditions, ComponentError> {
    let batch = without_values(batch)?;
    // Counting brings the shapes of operations that libtorch has in Python alone.
    let counted = count(|| embed(used, loaded, &batch));
    let failed =
        |error: anneal_torch::TorchError| ComponentError::new("libtorch", ErrorCode::Unsupported, error.to_string());
    counted.map_err(failed)?.0
}

fn embed(used: EmbedderUse, loaded: &Loaded<RunConfig>, batch: &Batch) -> Result<Conditions, ComponentError> {
    let pass = Pass { seed: loaded.config.run.seed, training: false, force_zero: &[] };
    Conditioner::new(vec![used], false).embed(batch, pass)
}
