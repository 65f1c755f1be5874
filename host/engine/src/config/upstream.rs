//! Where a stray key belongs: another section of the config, or another name in upstream's.

use serde_json::Value;

/// Upstream's names for what has another name here.
const RENAMED: [(&str, &str); 20] = [
    ("accumulate_grad_batches", "train.accumulate_batches"),
    ("base_learning_rate", "optimizer.learning_rate"),
    ("ckpt_path", "train.init_from"),
    ("conditioner_config", "model.embedders"),
    ("denoiser_config", "model.denoiser"),
    ("disc_start", "loss.discriminator.start_step"),
    ("disc_weight", "loss.discriminator.weight"),
    ("ema_decay_rate", "ema.decay"),
    ("first_stage_config", "model.first_stage"),
    ("gradient_clip_val", "train.clip_grad_norm"),
    ("loss_fn_config", "loss"),
    ("lossconfig", "loss"),
    ("lr", "optimizer.learning_rate"),
    ("max_steps", "train.steps"),
    ("network_config", "model.network"),
    ("optimizer_config", "optimizer"),
    ("sampler_config", "sampling"),
    ("scheduler_config", "optimizer.schedule"),
    ("trainable_ae_params", "autoencoder.trainable"),
    ("use_ema", "ema.decay"),
];

/// A sentence that says where `key` belongs, if that is known. `vocabulary` is the schema of the whole config.
pub(super) fn home_of(key: &str, vocabulary: &Value) -> Option<String> {
    if let Some((_, place)) = RENAMED.iter().find(|(name, place)| *name == key && exists(place, vocabulary)) {
        return Some(format!("upstream's `{key}` is `{place}` here"));
    }
    let mut places = Vec::new();
    find(key, vocabulary, &mut Vec::new(), &mut places);
    // What validation has of its own is a copy of another table; that one is meant.
    if places.iter().any(|place| !place.starts_with("[validation.")) {
        places.retain(|place| !place.starts_with("[validation."));
    }
    match &places[..] {
        [] => None,
        places => Some(format!("`{key}` belongs in {}", places.join(" or "))),
    }
}

/// Whether `schema` has a key at `place`, `a.b.c`.
fn exists(place: &str, schema: &Value) -> bool {
    let mut schema = schema;
    for segment in place.split('.') {
        let branches = schema.get("oneOf").and_then(Value::as_array);
        let here = branches.and_then(|branches| branches.first()).unwrap_or(schema);
        match here.get("properties").and_then(|properties| properties.get(segment)) {
            Some(inner) => schema = inner,
            None => return false,
        }
    }
    true
}

/// The tables of `schema` that have `key`, as `[a.b]`.
fn find(key: &str, schema: &Value, at: &mut Vec<String>, places: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        // These two are everywhere, so they have no home.
        if !["kind", "plugin"].contains(&key) && properties.contains_key(key) {
            let place = match at[..] {
                [] => "the top of the file".to_owned(),
                _ => format!("[{}]", at.join(".")),
            };
            if !places.contains(&place) {
                places.push(place);
            }
        }
        for (name, property) in properties {
            at.push(name.clone());
            find(key, property, at, places);
            at.pop();
        }
    }
    for keyword in ["oneOf", "anyOf"] {
        let branches = schema.get(keyword).and_then(Value::as_array);
        branches.into_iter().flatten().for_each(|branch| find(key, branch, at, places));
    }
    if let Some(items) = schema.get("items") {
        find(key, items, at, places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{AUTOENCODER_RUN_SCHEMA, RUN_SCHEMA};

    #[test]
    fn stray_keys_are_sent_home() {
        let home = |key: &str| home_of(key, &RUN_SCHEMA);
        assert_eq!(home("clip_grad_norm").unwrap(), "`clip_grad_norm` belongs in [train]");
        assert_eq!(home("gradient_clip_val").unwrap(), "upstream's `gradient_clip_val` is `train.clip_grad_norm` here");
        assert_eq!(home("num_views").unwrap(), "`num_views` belongs in [data.source]");
        assert_eq!(home("ucg_rate").unwrap(), "`ucg_rate` belongs in [model.embedders]");
        assert_eq!(home("plugin"), None);
        assert_eq!(home("velocity"), None);
    }

    #[test]
    fn renamed_keys_lead_to_keys_that_exist() {
        for (_, place) in RENAMED {
            assert!(exists(place, &RUN_SCHEMA) || exists(place, &AUTOENCODER_RUN_SCHEMA), "{place}");
        }
        assert_eq!(home_of("disc_start", &RUN_SCHEMA), None);
        let place = home_of("disc_start", &AUTOENCODER_RUN_SCHEMA).unwrap();
        assert!(place.contains("`loss.discriminator.start_step`"), "{place}");
    }
}
