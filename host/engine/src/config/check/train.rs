//! Which checkpoints are kept.

use serde_json::Value;

use super::{Finding, finding, section};
use crate::config::TrainConfig;

/// Rules of what is kept that nothing follows from.
pub(super) fn kept(config: &Value, found: &mut Vec<Finding>) {
    let Some(train) = section::<TrainConfig>(config, "train") else { return };
    for (key, is_given) in
        [("keep_every_steps", train.keep_every_steps.is_some()), ("keep_best", train.keep_best.is_some())]
    {
        if is_given && train.keep_last.is_none() {
            let help = "add `keep_last`, of how many of the latest stay; or take this out";
            found.push(finding(format!("/train/{key}"), "without `keep_last` all are kept", help));
        }
    }
    if train.keep_every_steps.is_some_and(|every| !every.is_multiple_of(train.checkpoint_every_steps)) {
        let message =
            format!("no checkpoint falls on most of these steps: there is one every {}", train.checkpoint_every_steps);
        found.push(finding("/train/keep_every_steps", message, "make it a multiple of `checkpoint_every_steps`"));
    }
    if train.keep_best.is_none() {
        return;
    }
    match config.pointer("/validation/every_steps").and_then(Value::as_u64) {
        None if config.get("validation").is_none() => {
            found.push(finding(
                "/train/keep_best",
                "nothing is scored without [validation]",
                "add a table [validation]",
            ));
        }
        Some(every) if every > 0 && !train.checkpoint_every_steps.is_multiple_of(every) => {
            let message = format!("most checkpoints have no score: validation is every {every} steps");
            let help = "make `checkpoint_every_steps` a multiple of validation's `every_steps`";
            found.push(finding("/train/keep_best", message, help));
        }
        _ => {}
    }
}
