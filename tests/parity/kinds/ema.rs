//! `ema.*`: the moving average through its updates, and the weights it stands in for.

use std::collections::BTreeMap;

use anneal::trainer::{Ema, FlatParams};
use tch::Tensor;

use crate::case::{Case, Outputs};
use crate::options::Options;

/// Runs a case.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    let decay: f64 = config.or("decay", 0.9999)?;
    // Upstream's spelling.
    let warm_up: bool = config.or("use_num_upates", true)?;
    if config.kind()? != "lit_ema" {
        return Err("only LitEma is known".to_owned());
    }
    config.finish()?;
    let frozen: Vec<String> = case.call.or("frozen", Vec::new())?;
    let _shapes: BTreeMap<String, Vec<i64>> = case.call.get("shapes")?;
    let steps: usize = case.call.get("steps")?;

    let weights: BTreeMap<String, Tensor> = case.weights("").into_iter().map(|(k, t)| (k, t.copy())).collect();
    let trained: Vec<_> = weights
        .iter()
        .filter(|(key, _)| !frozen.contains(key))
        .map(|(key, t)| (key.clone(), t.shallow_clone().set_requires_grad(true)))
        .collect();
    let names: Vec<_> = trained.iter().map(|(key, t)| (key.clone(), t.shallow_clone())).collect();
    let count = trained.len();
    let params = FlatParams::new(trained);
    let mut ema = Ema::new(&params, count, decay, warm_up);
    let mut outputs = Outputs::new();
    for step in 0..steps {
        for (key, value) in case.below(&format!("step.{step}")) {
            let param = names.iter().find(|(name, _)| *name == key).map(|(_, t)| t).or_else(|| weights.get(&key));
            tch::no_grad(|| param.map(|param| param.shallow_clone().copy_(&value)));
        }
        ema.update();
        outputs.extend(buffers(&format!("out.step.{step}."), &ema, decay, warm_up));
    }
    let state = |prefix: &str| -> Outputs {
        let value = |key: &String| names.iter().find(|(name, _)| name == key).map(|(_, t)| t.detach().copy());
        weights.iter().map(|(key, t)| (format!("{prefix}.{key}"), value(key).unwrap_or_else(|| t.copy()))).collect()
    };
    outputs.extend(ema.with_averages(|| state("out.copied")));
    outputs.extend(state("out.restored"));
    Ok(outputs)
}

/// Upstream's buffers: averages by names without dots, the decay, and the number of updates, -1 without warm-up.
pub fn buffers(prefix: &str, ema: &Ema, decay: f64, warm_up: bool) -> Outputs {
    let updates = if warm_up { ema.num_updates() as i64 } else { -1 };
    let mut outputs: Outputs =
        ema.shadows().into_iter().map(|(key, t)| (format!("{prefix}{}", key.replace('.', "")), t.copy())).collect();
    outputs.insert(format!("{prefix}decay"), Tensor::from(decay as f32));
    outputs.insert(format!("{prefix}num_updates"), Tensor::from(updates));
    outputs
}

/// Upstream's EMA options of an engine: whether there is one, and its decay.
pub fn of_engine(config: &Options) -> Result<Option<f64>, String> {
    let decay = config.or("ema_decay_rate", 0.9999)?;
    Ok(config.or("use_ema", false)?.then_some(decay))
}
