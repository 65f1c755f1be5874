//! What it means for a run that goes on when a key of its config has changed.

use toml::{Table, Value};

/// What a changed key does to a run that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing, but for the last bits perhaps: where and how the run happens, what it writes, how long it goes on.
    Free,
    /// The run takes another course than it would have; only who says so goes on.
    Course,
    /// The state that is saved is of something else.
    Incompatible,
}

use Effect::{Course, Free, Incompatible};

/// Keys by path, `*` for any one part. The longest rule that fits counts, for what is below it, too.
const RULES: &[(&str, Effect)] = &[
    ("extends", Free),
    ("run.dir", Free),
    ("run.device", Free),
    ("run.threads", Free),
    ("run.precision", Course),
    ("run.seed", Incompatible),
    ("plugins", Free),
    ("data.source", Course),
    // Where the data lies; what it is has a sum of its own.
    ("data.source.path", Free),
    ("data.source.files", Free),
    ("data.source.images", Free),
    ("data.source.labels", Free),
    ("data.source.shards", Free),
    ("data.source.ffmpeg", Free),
    ("data.batch_size", Course),
    ("data.shuffle", Course),
    ("data.on_bad_sample", Free),
    ("data.bad_samples_max", Free),
    ("data.workers", Free),
    ("data.prefetch_batches", Free),
    ("model.network", Incompatible),
    ("model.network.dropout", Course),
    ("model.network.use_checkpoint", Free),
    ("model.network.spatial_transformer_attn_type", Free),
    ("model.network.max_ddpm_temb_period", Course),
    ("model.network.legacy", Course),
    ("model.network.replicate_time_mix_bug", Course),
    ("model.network.time_mix_legacy", Course),
    ("model.embedders", Incompatible),
    ("model.embedders.*.input_key", Course),
    ("model.embedders.*.input_keys", Course),
    ("model.embedders.*.ucg_rate", Course),
    ("model.embedders.*.ucg_group", Course),
    ("model.embedders.*.legacy_ucg_value", Course),
    ("model.embedders.*.weights", Free),
    ("model.embedders.*.weights_at", Free),
    ("model.embedders.*.weights_prefix", Free),
    ("model.first_stage", Incompatible),
    ("model.first_stage.weights", Free),
    ("model.first_stage.prefix", Free),
    ("model.first_stage.max_batch_size", Free),
    ("model.lora", Incompatible),
    ("model.lora.alpha", Course),
    ("model.lora.dropout", Course),
    ("model.lora.weights", Free),
    ("model.trainable", Incompatible),
    ("model.denoiser", Course),
    ("model.input_key", Course),
    ("model.extra_inputs", Course),
    ("model.scale_factor", Course),
    ("model.disable_first_stage_autocast", Course),
    ("model.en_and_decode_n_samples_a_time", Free),
    ("model.ucg_per", Course),
    ("model.cache", Free),
    ("model.frozen_encoders", Free),
    ("autoencoder.input_key", Course),
    ("autoencoder.network", Incompatible),
    ("autoencoder.network.weights", Free),
    ("autoencoder.network.prefix", Free),
    ("autoencoder.network.max_batch_size", Free),
    ("autoencoder.network.ddconfig.dropout", Course),
    ("autoencoder.network.encoder_config.dropout", Course),
    ("autoencoder.network.decoder_config.dropout", Course),
    ("autoencoder.network.regularizer_config.kl_weight", Course),
    ("autoencoder.network.regularizer_config.beta", Course),
    ("autoencoder.network.regularizer_config.log_perplexity", Course),
    ("autoencoder.trainable", Incompatible),
    ("loss.distance", Course),
    ("loss.lpips", Course),
    ("loss.weighted_lpips", Course),
    ("loss.sigma_per", Course),
    ("loss.offset_noise_level", Course),
    ("loss.sigma_sampling", Course),
    ("loss.weighting", Course),
    ("loss.perceptual_weight", Course),
    ("loss.regularization_weights", Course),
    ("loss.learn_logvar", Incompatible),
    ("loss.logvar_init", Free),
    ("loss.discriminator", Incompatible),
    ("loss.discriminator.loss", Course),
    ("loss.discriminator.start_step", Course),
    ("loss.discriminator.weight", Course),
    ("loss.discriminator.optimizer", Course),
    ("loss.discriminator.optimizer.kind", Incompatible),
    ("loss.discriminator.optimizer.amsgrad", Incompatible),
    ("loss.discriminator.optimizer.moments", Incompatible),
    ("optimizer.kind", Incompatible),
    ("optimizer.amsgrad", Incompatible),
    ("optimizer.moments", Incompatible),
    ("optimizer.learning_rate", Course),
    ("optimizer.schedule", Course),
    ("optimizer.weight_decay", Course),
    ("optimizer.betas", Course),
    ("optimizer.eps", Course),
    ("optimizer.momentum", Course),
    ("optimizer.dampening", Course),
    ("optimizer.nesterov", Course),
    ("optimizer.groups", Course),
    ("ema", Incompatible),
    ("ema.decay", Course),
    ("ema.warm_up", Course),
    ("train.steps", Free),
    ("train.accumulate_batches", Course),
    ("train.clip_grad_norm", Course),
    ("train.checkpoint_every_steps", Free),
    ("train.background_saves", Free),
    ("train.keep_last", Free),
    ("train.keep_every_steps", Free),
    ("train.keep_best", Free),
    ("train.guards", Free),
    ("train.init_from", Free),
    ("validation", Free),
    ("sampling", Free),
    ("logging", Free),
];

/// What a key does, by the longest rule that fits it; none if none does.
pub fn effect_of(key: &str) -> Option<Effect> {
    let parts: Vec<&str> = key.split('.').collect();
    let fits = |rule: &str| {
        let rule: Vec<&str> = rule.split('.').collect();
        rule.len() <= parts.len() && rule.iter().zip(&parts).all(|(rule, part)| *rule == "*" || rule == part)
    };
    let fitting = RULES.iter().filter(|(rule, _)| fits(rule));
    fitting.max_by_key(|(rule, _)| rule.split('.').count()).map(|(_, effect)| *effect)
}

/// A key whose value is another than it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// `optimizer.learning_rate`.
    pub key: String,
    /// Its value in the checkpoint.
    pub before: Option<String>,
    /// Its value now.
    pub now: Option<String>,
    /// What that does.
    pub effect: Effect,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: {} in the checkpoint, {} now", self.key, shown(&self.before), shown(&self.now))
    }
}

impl Drift {
    /// Whether one of the names that a person gave is this key, or a table that it is in.
    pub fn is_among(&self, allowed: &[String]) -> bool {
        allowed.iter().any(|name| {
            self.key.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

/// The keys whose values differ between two resolved configs.
pub fn drifts(before: &Table, now: &Table) -> Vec<Drift> {
    let mut found = Vec::new();
    differ("", &Value::Table(before.clone()), &Value::Table(now.clone()), &mut found);
    found
}

fn differ(key: &str, before: &Value, now: &Value, found: &mut Vec<Drift>) {
    let below = |part: &str| if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") };
    match (before, now) {
        (Value::Table(before), Value::Table(now)) => {
            let names = before.keys().chain(now.keys().filter(|name| !before.contains_key(*name)));
            for name in names {
                match (before.get(name), now.get(name)) {
                    (Some(before), Some(now)) => differ(&below(name), before, now, found),
                    (before, now) => add(&below(name), before, now, found),
                }
            }
        }
        (Value::Array(before), Value::Array(now))
            if before.len() == now.len() && before.iter().chain(now).all(Value::is_table) =>
        {
            for (i, (before, now)) in before.iter().zip(now).enumerate() {
                differ(&below(&i.to_string()), before, now, found);
            }
        }
        _ if same(before, now) => {}
        _ => add(key, Some(before), Some(now), found),
    }
}

/// Whether two values are the same; `1` is `1.0`.
fn same(one: &Value, other: &Value) -> bool {
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|integer| integer as f64));
    one == other || (number(one).is_some() && number(one) == number(other))
}

fn add(key: &str, before: Option<&Value>, now: Option<&Value>, found: &mut Vec<Drift>) {
    // A key that is not known to be free might change anything.
    let effect = effect_of(key).unwrap_or(Course);
    let shown = |value: Option<&Value>| value.map(ToString::to_string);
    found.push(Drift { key: key.to_owned(), before: shown(before), now: shown(now), effect });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value as Json;

    use super::*;
    use crate::config::{AutoencoderRunConfig, RunConfig, RunKind, schema_with_plugins};

    /// The paths of all keys of a schema, `*` for the places of a list.
    fn keys(schema: &Json, node: &Json, path: &str, depth: usize, found: &mut BTreeSet<String>) {
        let below = |part: &str| if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") };
        if depth > 12 {
            return;
        }
        if let Some(name) = node["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            keys(schema, &schema["$defs"][name], path, depth + 1, found);
        }
        for some in ["anyOf", "oneOf", "allOf"] {
            for node in node[some].as_array().into_iter().flatten() {
                keys(schema, node, path, depth + 1, found);
            }
        }
        for (name, node) in node["properties"].as_object().into_iter().flatten() {
            found.insert(below(name));
            keys(schema, node, &below(name), depth + 1, found);
        }
        if node["items"].is_object() {
            keys(schema, &node["items"], &below("*"), depth + 1, found);
        }
    }

    fn all_keys<C: RunKind>() -> BTreeSet<String> {
        let schema = schema_with_plugins::<C>(&[]);
        let mut found = BTreeSet::new();
        keys(&schema, &schema, "", 0, &mut found);
        found
    }

    /// A table with a value at a path.
    fn with(key: &str, value: i64) -> Table {
        let mut parts = key.split('.').rev().map(|part| if part == "*" { "0" } else { part });
        let last = parts.next().unwrap();
        let mut table = Table::from_iter([(last.to_owned(), Value::Integer(value))]);
        for part in parts {
            table = Table::from_iter([(part.to_owned(), Value::Table(table))]);
        }
        table
    }

    #[test]
    fn what_every_key_of_a_config_does_is_declared_and_its_change_is_seen() {
        let keys: BTreeSet<String> =
            all_keys::<RunConfig>().into_iter().chain(all_keys::<AutoencoderRunConfig>()).collect();
        assert!(keys.len() > 300, "{}", keys.len());
        // Tables that no rule is about hold keys that each have one.
        let is_table = |key: &String| keys.iter().any(|other| other.starts_with(&format!("{key}.")));
        let undeclared: Vec<&String> = keys.iter().filter(|key| effect_of(key).is_none() && !is_table(key)).collect();
        assert!(undeclared.is_empty(), "{undeclared:?}");
        for key in keys.iter().filter(|key| !is_table(key)) {
            let found = drifts(&with(key, 1), &with(key, 2));
            let wanted = effect_of(&key.replace('*', "0"));
            assert_eq!((found.len(), found[0].effect), (1, wanted.unwrap()), "{key}");
            assert_eq!(found[0].to_string(), format!("{}: 1 in the checkpoint, 2 now", key.replace('*', "0")));
            let gone = drifts(&with(key, 1), &Table::new());
            assert_eq!((gone.len(), gone[0].now.clone()), (1, None), "{key}");
        }
        for (rule, _) in RULES {
            assert!(keys.contains(*rule), "`{rule}` is no key of a config");
        }
    }

    #[test]
    fn a_table_that_is_named_allows_what_is_in_it() {
        let drift = &drifts(&with("optimizer.betas", 1), &with("optimizer.betas", 2))[0];
        let is_among = |name: &str| drift.is_among(&[name.to_owned()]);
        assert!(is_among("optimizer.betas") && is_among("optimizer"));
        assert!(!is_among("optimizer.beta") && !is_among("opt") && !is_among("") && !is_among("betas"));
    }

    #[test]
    fn numbers_are_compared_by_value_and_lists_as_wholes() {
        let table = |text: &str| text.parse::<Table>().unwrap();
        assert!(drifts(&table("a = 1\nb = [{ c = 1.0 }]"), &table("a = 1.0\nb = [{ c = 1 }]")).is_empty());
        let keys = |before: &str, now: &str| -> Vec<String> {
            drifts(&table(before), &table(now)).into_iter().map(|drift| drift.key).collect()
        };
        assert_eq!(keys("a = [1, 2]", "a = [1, 3]"), ["a"]);
        assert_eq!(keys("b = [{ c = 1 }, { c = 2 }]", "b = [{ c = 1 }, { c = 3 }]"), ["b.1.c"]);
        assert_eq!(keys("b = [{ c = 1 }]", "b = [{ c = 1 }, { c = 3 }]"), ["b"]);
    }
}
