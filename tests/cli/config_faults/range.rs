//! Numbers that no setting of their name takes.

use toml_edit::Value;

use super::mutations::{Kind, Mutation, Shipped};

/// Counts and sizes of which there has to be one at least: neither none nor fewer are.
const AT_LEAST_ONE: [&str; 34] = [
    "batch_size",
    "prefetch_batches",
    "num_views",
    "num_times",
    "num_frames",
    "size",
    "in_channels",
    "out_channels",
    "model_channels",
    "context_dim",
    "motion_context_dim",
    "embed_dim",
    "z_channels",
    "ch",
    "out_ch",
    "dim",
    "n_classes",
    "n_cond_frames",
    "sigma_dim",
    "num_idx",
    "num_steps",
    "steps",
    "checkpoint_every_steps",
    "keep_last",
    "every_steps",
    "scenes",
    "metrics_every_steps",
    "preview_every_steps",
    "preview_scenes",
    "en_and_decode_n_samples_a_time",
    "pool",
    "ndf",
    "n_layers",
    "max_decay_steps",
];

/// Counts, of which there may be none.
const AT_LEAST_ZERO: [&str; 6] = ["seed", "workers", "n_copies", "num_res_blocks", "warm_up_steps", "start_step"];

/// Factors, rates and lengths that are above zero or nothing would move or be left.
const ABOVE_ZERO: [&str; 11] = [
    "scale_factor",
    "learning_rate",
    "clip_grad_norm",
    "seconds_per_time",
    "sigma_data",
    "sigma_min",
    "sigma_max",
    "rho",
    "clip_fps",
    "images_fps",
    "max_period",
];

/// Spreads, weights and scales of the learning rate, below zero in no case.
const NEVER_NEGATIVE: [&str; 10] = [
    "weight_decay",
    "noise_p_std",
    "p_std",
    "noise_sigma",
    "perceptual_weight",
    "lr_start",
    "lr_max",
    "lr_min",
    "offset_noise_level",
    "kl_loss",
];

/// Parts of a whole, which are from 0 to 1.
const PARTS: [&str; 2] = ["ucg_rate", "reverse_rate"];

/// Rates below 1: at 1 nothing would ever be forgotten, or everything.
const BELOW_ONE: [&str; 3] = ["decay", "dropout", "betas"];

/// See [`Kind::OutOfRange`].
pub fn out_of_range(shipped: &Shipped<'_>) -> Vec<Mutation> {
    let mut all = Vec::new();
    for site in &shipped.sites {
        let name = site.bare();
        let wrong: Vec<String> = match &site.value {
            Value::Integer(_) | Value::Float(_) => numbers(name).iter().map(|text| (*text).to_owned()).collect(),
            Value::Array(pair) if pair.len() == 2 => {
                let texts: Vec<String> = pair.iter().map(|value| value.to_string().trim().to_owned()).collect();
                match name {
                    // A range from its end to its start is none; ranges with one value in them are turned into two.
                    "stride" | "time_stride" => vec!["[3, 2]".to_owned()],
                    "elevation_deg" => vec!["[20.0, 10.0]".to_owned(), "[0.0, 91.0]".to_owned()],
                    "within" => vec![format!("[{}, {}]", texts[1], texts[0]), "[0.0, 1.5]".to_owned()],
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        for wrong in wrong {
            let mutation = shipped.value(Kind::OutOfRange, site, &wrong);
            // A range as a whole may be blamed by its wrong end.
            let ends = [0, 1].map(|end| format!("{}.{end}", site.key));
            all.push(mutation.or(ends.into_iter().filter(|_| matches!(site.value, Value::Array(_)))));
        }
        // A grid from its end to its start.
        if name == "sigma_min" {
            let end = format!("{}.sigma_max", &site.key[..site.key.len() - ".sigma_min".len()]);
            let table = site.key[..site.key.len() - ".sigma_min".len()].to_owned();
            all.push(shipped.value(Kind::OutOfRange, site, "1000000.0").or([end, table]));
        }
    }
    all
}

fn numbers(name: &str) -> &'static [&'static str] {
    let is_of = |names: &[&str]| names.contains(&name);
    if is_of(&AT_LEAST_ONE) {
        &["0", "-1"]
    } else if is_of(&AT_LEAST_ZERO) {
        &["-1", "-1000000"]
    } else if is_of(&ABOVE_ZERO) {
        &["0.0", "-0.5"]
    } else if is_of(&NEVER_NEGATIVE) {
        &["-0.5"]
    } else if is_of(&PARTS) {
        &["1.1", "-0.1"]
    } else if is_of(&BELOW_ONE) {
        &["1.0", "-0.1"]
    } else {
        &[]
    }
}
