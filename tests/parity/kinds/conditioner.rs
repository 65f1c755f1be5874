//! `conditioner.*`: embedders together, dropping, zeroing, and the unconditional pair.

use anneal::conditioner::Pass;
use tch::Kind;

use super::recorded::Recorded;
use super::{model, schedule};
use crate::case::{Case, Outputs};

/// Runs a case.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let recorded = Recorded::default();
    let (conditioner, trained) = model::conditioner(case, &case.config()?, "", &recorded)?;
    recorded.load(case, "");
    let rates: Vec<f64> = conditioner.uses().iter().map(|used| used.drop.rate).collect();
    let rows = case.below("batch").values().map(|t| t.size()[0]).max().unwrap_or(1);
    let choices = recorded.has_choices();
    let batch = model::batch(case, "batch", rows, choices)?;
    let is_pair = case.call.optional::<String>("mode")?.is_some_and(|mode| mode == "uncond");
    let list = |key: &str| -> Result<Vec<String>, String> { case.call.or(key, Vec::new()) };
    if is_pair {
        let outputs = pair(case, &conditioner, &batch, &rates)?;
        recorded.finish()?;
        return Ok(outputs);
    }
    let force_zero = list("force_zero_embeddings")?;
    let pass = Pass { seed: 0, training: recorded.drops(), force_zero: &force_zero };
    let (conditions, replaced) = conditioner.embed_and_replace(&batch, pass).map_err(|error| error.to_string())?;
    recorded.finish()?;
    let mut outputs = model::conditions("out.c", &conditions);
    if choices {
        let after = batch.tensors.iter().map(|(key, value)| (key, replaced.get(key).unwrap_or(value)));
        outputs.extend(after.map(|(key, value)| (format!("out.batch_after.{key}"), value.shallow_clone())));
    }
    let cotangents = case.below("cotangent");
    if !cotangents.is_empty() {
        let parts = conditions
            .iter()
            .filter_map(|(slot, value)| Some((value * cotangents.get(slot.name())?).mean(Kind::Float)));
        let loss = parts.reduce(|a, b| a + b).ok_or("no condition has a cotangent")?;
        loss.backward();
        outputs.insert("out.L".to_owned(), loss.detach());
        outputs.extend(model::gradients(&trained));
    }
    Ok(outputs)
}

fn pair(
    case: &Case,
    conditioner: &anneal::conditioner::Conditioner,
    batch: &anneal::data::Batch,
    rates: &[f64],
) -> Result<Outputs, String> {
    let force_uc_zero: Vec<String> = case.call.or("force_uc_zero_embeddings", Vec::new())?;
    let force_cond_zero: Vec<String> = case.call.or("force_cond_zero_embeddings", Vec::new())?;
    let embed = |prefix: &str, batch: &anneal::data::Batch, force_zero: &[String]| {
        let pass = Pass { seed: 0, training: false, force_zero };
        let conditions = conditioner.embed(batch, pass).map_err(|error| error.to_string())?;
        Ok::<Outputs, String>(model::conditions(prefix, &conditions))
    };
    let mut outputs = embed("out.c", batch, &force_cond_zero)?;
    if case.below("batch_uc").is_empty() {
        outputs.extend(embed("out.uc", batch, &force_uc_zero)?);
    } else {
        let rows = batch.sample_ids.len() as i64 * batch.frames_per_scene;
        outputs.extend(embed("out.uc", &model::batch(case, "batch_uc", rows, false)?, &force_uc_zero)?);
    }
    // Upstream sets the rates to 0 around the two passes and must put them back; ours are never written to.
    outputs.insert("out.ucg_rates_after".to_owned(), schedule::row(rates));
    Ok(outputs)
}
