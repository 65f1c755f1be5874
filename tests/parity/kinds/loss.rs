//! `loss.*`: the training objective, from a batch to the loss of each row and its gradients.

use anneal::conditioner::{Conditioner, Pass};
use anneal::config::{PluginUse, SigmaPer};
use anneal::diffusion::{Denoiser, Loss, RowDistance, Wrapper, add_noise, add_offset};
use anneal_nn::{Lpips, Params};
use tch::{Kind, Tensor};

use super::model::{self, Named};
use super::recorded::Recorded;
use super::schedule;
use crate::case::{Case, Outputs};
use crate::options::Options;
use crate::plugins;

/// Upstream's `StandardDiffusionLoss` as ours.
pub struct Objective {
    loss: Loss,
    sigma_sampling: PluginUse,
    extra_inputs: Vec<String>,
}

/// A model as the loss sees it.
pub struct Parts {
    /// The network.
    pub network: Wrapper,
    /// The scaling around it.
    pub denoiser: Denoiser,
    /// The conditions.
    pub conditioner: Conditioner,
    /// Trained parameters by key, the network's first.
    pub trained: Vec<Named>,
    /// How many are the network's.
    pub num_network: usize,
    /// What is drawn in a pass: see [`Recorded::load`].
    pub recorded: Recorded,
}

/// What one evaluation of the loss gives.
pub struct Evaluated {
    /// The noised input, the denoised one, and the loss of each row.
    pub noised: Tensor,
    /// Denoised.
    pub denoised: Tensor,
    /// Loss of each row, `[n]`.
    pub of_rows: Tensor,
}

impl Parts {
    /// The parts of upstream's `loss_setup` or engine, weights by upstream's prefixes.
    pub fn new(case: &Case, config: &Options) -> Result<Self, String> {
        let prefix = "model.diffusion_model.";
        let (network, mut trained) = model::wrapper(case, &config.table("network_config")?, prefix)?;
        let denoiser = model::denoiser(&config.table("denoiser_config")?)?;
        let num_network = trained.len();
        let recorded = Recorded::default();
        let (conditioner, of_embedders) = match config.maybe_table("conditioner_config")? {
            Some(table) => model::conditioner(case, &table, "conditioner.", &recorded)?,
            None => (Conditioner::new(Vec::new(), true), Vec::new()),
        };
        trained.extend(of_embedders);
        check_table(case, &denoiser)?;
        Ok(Self { network, denoiser, conditioner, trained, num_network, recorded })
    }
}

/// The denoiser's table is a buffer of upstream's checkpoints; ours is made, and has to be the same.
fn check_table(case: &Case, denoiser: &Denoiser) -> Result<(), String> {
    let Some(sigmas) = case.weights("denoiser.").remove("sigmas") else { return Ok(()) };
    let ours = denoiser.table.as_ref().ok_or("a table of sigmas for a denoiser without one")?;
    let same = schedule::row(&ours.sigmas).allclose(&sigmas, 1e-5, 1e-6, false);
    if same { Ok(()) } else { Err("denoiser.sigmas differ from the denoiser's own".to_owned()) }
}

/// The perceptual distance with the case's weights; its shift and scale of colours are constants of ours.
fn lpips(case: &Case) -> Result<Lpips, String> {
    let mut weights = case.weights("lpips.");
    weights.append(&mut case.weights("loss_fn.lpips."));
    weights.retain(|name, _| !name.starts_with("scaling_layer."));
    let meta = Params::meta();
    Lpips::new(&meta.root());
    if let Some(missing) = meta.entries().iter().find(|param| !weights.contains_key(&param.path)) {
        return Err(format!("the case has no weight `lpips.{}`", missing.path));
    }
    Ok(Lpips::new(&Params::given(weights).root()))
}

impl Objective {
    /// Upstream's loss.
    pub fn new(case: &Case, config: &Options) -> Result<Self, String> {
        if config.kind()? != "standard" {
            return Err("only the standard loss is known".to_owned());
        }
        let distance = match config.or("loss_type", "l2".to_owned())?.as_str() {
            "l2" => RowDistance::L2,
            "l1" => RowDistance::L1,
            "lpips" => RowDistance::Lpips { lpips: Box::new(lpips(case)?), is_weighted: false },
            other => return Err(format!("no distance is called `{other}`")),
        };
        let weighting = schedule::weighting(&config.table("loss_weighting_config")?)?;
        let sigma_sampling = schedule::sigma_sampling(&config.table("sigma_sampler_config")?)?;
        let offset_noise_level = config.or("offset_noise_level", 0.0)?;
        let extra_inputs = match config.raw("batch2model_keys") {
            Some(serde_json::Value::String(key)) => vec![key.clone()],
            _ => config.or("batch2model_keys", None::<Vec<String>>)?.unwrap_or_default(),
        };
        config.finish()?;
        let loss = plugins::with(|registry| {
            let sigma_sampler = registry.sigma_sampler(&sigma_sampling).map_err(|error| error.to_string())?;
            let weighting = registry.weighting(&weighting).map_err(|error| error.to_string())?;
            Ok(Loss { distance, sigma_per: SigmaPer::Row, offset_noise_level, sigma_sampler, weighting })
        })?;
        Ok(Self { loss, sigma_sampling, extra_inputs })
    }

    /// The loss of `clean` with the draws that the parts have on record, the batch below `prefix` + `batch`.
    pub fn evaluate(&mut self, case: &Case, parts: &Parts, prefix: &str, clean: &Tensor) -> Result<Evaluated, String> {
        let text = |error: anneal::error::ComponentError| error.to_string();
        let recorded = &parts.recorded;
        let batch = model::batch(case, &format!("{prefix}batch"), clean.size()[0], recorded.has_choices())?;
        let pass = Pass { seed: 0, training: recorded.drops(), force_zero: &[] };
        let conditions = parts.conditioner.embed(&batch, pass).map_err(text)?;

        // All of one function's draws are recorded together where there is an offset; it comes last.
        let with_offset = self.loss.offset_noise_level > 0.0;
        let offset = with_offset.then(|| recorded.take_last("randn").ok_or("the case has no offset")).transpose()?;
        let sigmas = self.sigmas(&case.numbers(&format!("{prefix}sigmas"))?, recorded)?;
        let weighed = self.loss.weighting.weigh(&sigmas, clean.device(), true).map_err(text)?;
        let mut noise = recorded.take_last("noise").ok_or("the case has no noise")?;
        if let Some(offset) = offset {
            noise = add_offset(&noise, &offset, self.loss.offset_noise_level);
        }
        recorded.finish()?;
        let noised = add_noise(clean, &noise, &sigmas);
        let extra = model::extra(&batch, &self.extra_inputs)?;
        let denoised =
            parts.denoiser.denoise(&parts.network, &noised, &sigmas, &conditions, &extra, true).map_err(text)?;
        let of_rows = self.loss.of_rows(&denoised, clean, &weighed);
        Ok(Evaluated { noised, denoised, of_rows })
    }

    /// The sigmas of the case's draws, which have to be those that the reference made of them.
    fn sigmas(&self, of_reference: &[f64], recorded: &Recorded) -> Result<Vec<f64>, String> {
        let names = match self.sigma_sampling.plugin.as_str() {
            "discrete" => ["rand_idx", "rand", "randn"],
            _ => ["rand", "randn", "rand_idx"],
        };
        let draws = names.iter().find_map(|name| recorded.take_last(name)).ok_or("the case has no draw of sigma")?;
        let draws = Vec::<f64>::try_from(draws.to_kind(Kind::Double)).map_err(|error| error.to_string())?;
        let drawn = schedule::sigmas_of(&draws, &self.sigma_sampling)?;
        let off = drawn.iter().zip(of_reference).map(|(a, b)| (a - b).abs() / b.max(1e-12)).fold(0.0, f64::max);
        if off < 1e-4 { Ok(of_reference.to_vec()) } else { Err(format!("sigmas are off by {off:.1e} of their values")) }
    }
}

/// Runs a case.
pub fn run(case: &Case) -> Result<Outputs, String> {
    let config = case.config()?;
    if config.kind()? != "loss_setup" {
        return Err("only a loss setup is known".to_owned());
    }
    let parts = Parts::new(case, &config)?;
    let mut objective = Objective::new(case, &config.table("loss_fn_config")?)?;
    config.finish()?;
    // Upstream's attribute behind the shape of the offset, which the recorded draw has already.
    let _: Option<i64> = case.call.optional("n_frames")?;
    let clean = case.input("input")?;
    parts.recorded.load(case, "");
    let Evaluated { noised, denoised, of_rows } = objective.evaluate(case, &parts, "", &clean)?;
    let mut outputs = Outputs::from([
        ("out.noised_input".to_owned(), noised.detach()),
        ("out.denoised".to_owned(), denoised.detach()),
        ("out.loss".to_owned(), of_rows.detach()),
    ]);
    if case.wanted().any(|(name, _)| name.starts_with("grad.")) {
        of_rows.mean(Kind::Float).backward();
        outputs.extend(model::gradients(&parts.trained));
    }
    Ok(outputs)
}
