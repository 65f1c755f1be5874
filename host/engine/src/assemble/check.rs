//! What can only be said with plugins and data at hand: names, settings, batch entries, sizes.

use std::collections::{BTreeMap, BTreeSet};

use crate::conditioner::{Conditions, Slot};
use crate::config::{Loaded, NetworkConfig, Problem, RunKind};
use crate::data::Batch;
use crate::plugin::{PluginError, Registry};

/// Plugins that a config may name: each is checked against the whole config.
const PLUGINS_MAX: usize = 256;

/// All that is wrong with the plugins a config names, without executing anything of theirs. Where nothing is, their
/// settings' defaults are written into the config.
pub fn check_plugins<C: RunKind>(loaded: &mut Loaded<C>, registry: &Registry) -> Vec<Problem> {
    let named: Vec<_> =
        loaded.config.plugin_refs().into_iter().map(|used| (used.pointer, used.kind, used.name.to_owned())).collect();
    if named.len() > PLUGINS_MAX {
        let message = format!("the config names {} plugins, at most {PLUGINS_MAX} are taken", named.len());
        return vec![loaded.problem("", message, "take out those that are there again and again")];
    }
    let (mut problems, mut lacks) = (Vec::new(), false);
    for (pointer, kind, name) in named {
        match registry.find(kind, &name) {
            Ok(entry) => problems.extend(loaded.check_plugin(&pointer, entry.schema())),
            Err(error) => {
                lacks |= matches!(error, PluginError::NotFound { .. });
                problems.push(loaded.problem(&format!("{pointer}/plugin"), error.to_string(), error.help()));
            }
        }
    }
    // A directory that is not there is no fault by itself: plugins may be in another.
    let dirs = loaded.config.plugins().dirs.iter().enumerate();
    for (i, dir) in dirs.filter(|(_, dir)| lacks && !dir.is_dir()) {
        let help =
            "`cargo xtask plugins` builds the bundled plugins; relative paths start at the file that writes them";
        let message = format!("there is no folder {}, and plugins are missing", dir.display());
        problems.push(loaded.problem(&format!("/plugins/dirs/{i}"), message, help));
    }
    problems
}

/// Batch entries that the config names and the source does not give.
pub fn check_entries<C: RunKind>(loaded: &Loaded<C>, batch: &Batch) -> Vec<Problem> {
    let known: BTreeSet<&String> =
        batch.tensors.keys().chain(batch.texts.keys()).chain(batch.integers.keys()).collect();
    loaded
        .config
        .batch_entries()
        .into_iter()
        .filter(|(_, key)| !known.contains(key))
        .map(|(pointer, key)| {
            let list: Vec<&str> = known.iter().map(|key| key.as_str()).collect();
            loaded.problem(
                &pointer,
                format!("the data source gives no entry `{key}`"),
                format!("it gives {}", list.join(", ")),
            )
        })
        .collect()
}

/// Widths that a network is told in the config and that the data and the embedders must agree with.
pub(super) struct Widths {
    pub(super) in_channels: i64,
    pub(super) out_channels: i64,
    pub(super) vector: Option<i64>,
    pub(super) context: Option<i64>,
    /// Whether it takes a vector, of whatever width.
    takes_vector: bool,
}

/// The widths that `network` is told.
pub(super) fn widths(network: &NetworkConfig) -> Widths {
    match network {
        NetworkConfig::Unet(n) => Widths {
            in_channels: n.in_channels.into(),
            out_channels: n.out_channels.into(),
            vector: n.adm_in_channels.map(Into::into),
            takes_vector: n.num_classes.is_some(),
            context: n.context_dim.map(Into::into),
        },
        NetworkConfig::VideoUnet(n) => Widths {
            in_channels: n.in_channels.into(),
            out_channels: n.out_channels.into(),
            vector: n.adm_in_channels.map(Into::into),
            takes_vector: n.num_classes.is_some(),
            context: Some(n.context_dim.into()),
        },
        NetworkConfig::SpatialUnetWithTime(n) => Widths {
            in_channels: n.in_channels.into(),
            out_channels: n.out_channels.into(),
            vector: n.adm_in_channels.map(Into::into),
            takes_vector: n.num_classes.is_some(),
            context: Some(n.context_dim.into()),
        },
    }
}

/// What SV4D's network cannot do without: a context with a token for each time, and reference views; and whether their
/// channels are those it is told.
fn check_views(loaded: &Loaded, conditions: &Conditions) -> Vec<Problem> {
    let NetworkConfig::SpatialUnetWithTime(network) = &loaded.config.model.network else { return Vec::new() };
    let mut problems = Vec::new();
    for (slot, help) in [
        (Slot::Crossattn, "add an embedder that gives a token for each time, `[b, t, d]`"),
        (Slot::CondView, "add an embedder with input_key = \"cond_view\""),
    ] {
        if conditions.get(slot).is_none() {
            let message = format!("the network needs a condition `{}`, and no embedder gives it", slot.name());
            problems.push(loaded.problem("/model/embedders", message, help));
        }
    }
    if let (Some(told), Some(views)) = (network.motion_context_dim, conditions.get(Slot::CondView))
        && i64::from(told) != views.size()[1]
    {
        let needs = views.size()[1];
        let message = format!("is {told}, but the reference views have {needs} channels");
        problems.push(loaded.problem("/model/network/motion_context_dim", message, format!("set it to {needs}")));
    }
    problems
}

/// Conditions that the network is made for and that no embedder gives, or the other way round.
fn check_presence(loaded: &Loaded, conditions: &Conditions) -> Vec<Problem> {
    let (network, told) = (&loaded.config.model.network, widths(&loaded.config.model.network));
    let is_sv4d = matches!(network, NetworkConfig::SpatialUnetWithTime(_));
    let width = |slot: Slot| conditions.get(slot).and_then(|value| value.size().last().copied());
    let (vector, context) = (width(Slot::Vector), width(Slot::Crossattn));
    let mut problems = Vec::new();
    let mut wrong = |key: &str, message: String, help: String| {
        problems.push(loaded.problem(&format!("/model/{key}"), message, help))
    };
    if told.takes_vector && vector.is_none() {
        let message = "is set, but no embedder gives a vector".to_owned();
        wrong("network/num_classes", message, "take it out, or add an embedder of numbers or classes".to_owned());
    }
    if let (false, Some(width)) = (told.takes_vector, vector) {
        let message = format!("the embedders give a vector of {width}, which the network does not take");
        let help = format!("set model.network.num_classes = \"sequential\" and adm_in_channels = {width}");
        wrong("embedders", message, help);
    }
    match (told.context, context) {
        // What SV4D's network needs is told apart.
        (Some(told), None) if !is_sv4d => {
            let help = "add an embedder that gives tokens, `[n, s, d]`, such as the class, a text or a picture";
            wrong("network/context_dim", format!("is {told}, but no embedder gives a context"), help.to_owned());
        }
        (None, Some(width)) => {
            let message = format!("the embedders give a context of width {width}, which the network does not take");
            wrong("embedders", message, format!("set model.network.context_dim = {width}"));
        }
        _ => {}
    }
    problems
}

/// Embedders that are told of other numbers of frames than a scene of the data has in the entry that they read.
pub fn check_frames(loaded: &Loaded, batch: &Batch) -> Vec<Problem> {
    let scenes = batch.num_scenes().max(1);
    let embedders = loaded.config.model.embedders.iter().enumerate();
    let wrong = embedders.filter_map(|(i, used)| {
        let told = used.params.get("n_cond_frames")?.as_i64()?;
        let (key, entry) = used.keys().find_map(|key| Some((key, batch.tensors.get(key)?)))?;
        let has = entry.size().first()? / scenes;
        if told == has {
            return None;
        }
        let message = format!("is {told}, but a scene has {has} frames of `{key}`");
        Some(loaded.problem(&format!("/model/embedders/{i}/n_cond_frames"), message, format!("write {has}")))
    });
    wrong.collect()
}

/// Settings of the network that do not fit its latents and conditions. `parts` says which embedders the conditions are of, each
/// with the width of its own; where that is not known, they are not named.
pub fn check_widths(
    loaded: &Loaded,
    latent: [i64; 3],
    conditions: &Conditions,
    parts: &BTreeMap<Slot, Vec<(usize, i64)>>,
) -> Vec<Problem> {
    let of = |slot: Slot| match parts.get(&slot).map_or(&[][..], Vec::as_slice) {
        [] => String::new(),
        parts => {
            let parts: Vec<String> = parts.iter().map(|(i, width)| format!("{width} of model.embedders.{i}")).collect();
            format!(" ({})", parts.join(", "))
        }
    };
    let widths = widths(&loaded.config.model.network);
    let width = |slot: Slot| conditions.get(slot).map(|value| value.size()[slot.join_axis() as usize]);
    let concat = width(Slot::Concat).unwrap_or(0);
    let mut problems = check_views(loaded, conditions);
    problems.extend(check_presence(loaded, conditions));
    if let Some(concat) = conditions.get(Slot::Concat).filter(|concat| concat.size()[2..] != latent[1..]) {
        let (size, wanted) = (&concat.size()[2..], &latent[1..]);
        let message = format!("the concatenated conditions have {size:?} rows and columns, the latents {wanted:?}");
        let help = "concatenate conditions of the latents' size: encoded ones, or pictures scaled down";
        problems.push(loaded.problem("/model/embedders", message, help));
    }
    let mut differ = |key: &str, has: i64, needs: i64, because: String| {
        if has != needs {
            let message = format!("is {has}, but {because}");
            problems.push(loaded.problem(&format!("/model/network/{key}"), message, format!("set it to {needs}")));
        }
    };
    let because =
        format!("the latents have {} channels and the concatenated conditions {concat}{}", latent[0], of(Slot::Concat));
    differ("in_channels", widths.in_channels, latent[0] + concat, because);
    differ("out_channels", widths.out_channels, latent[0], format!("the latents have {} channels", latent[0]));
    if let (Some(has), Some(needs)) = (widths.vector, width(Slot::Vector)) {
        differ("adm_in_channels", has, needs, format!("the embedders give a vector of {needs}{}", of(Slot::Vector)));
    }
    if let (Some(has), Some(needs)) = (widths.context, width(Slot::Crossattn)) {
        differ(
            "context_dim",
            has,
            needs,
            format!("the embedders give a context of width {needs}{}", of(Slot::Crossattn)),
        );
    }
    problems
}
