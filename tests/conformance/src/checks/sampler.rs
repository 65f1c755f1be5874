//! Solvers, against models whose answer is known.

use anneal::config::PluginKind;
use anneal::diffusion::Sampler;
use anneal::error::ErrorCode;
use tch::{Device, Kind, Tensor};

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::models::{Constant, Estimate, Gaussian, Model, normal};
use crate::subject::Subject;

const OF: Scope = Scope::Kind(PluginKind::Sampler);

pub const CHECKS: &[Check] = &[
    Check::new(
        "M08",
        "short-runs",
        Level::L1,
        OF,
        "Runs of one, two and twenty steps end with a finite sample, within the limits of fuel, memory and time.",
        short_runs,
    )
    .gate(),
    Check::new(
        "M01",
        "constant-model",
        Level::L1,
        OF,
        "Where the model always says the same, that is the sample.",
        constant_model,
    ),
    Check::new(
        "M02",
        "gaussian-data",
        Level::L1,
        OF,
        "For Gaussian data the result nears the exact one: twice the steps, less error, if no noise is drawn.",
        gaussian_data,
    ),
    Check::new(
        "M03",
        "order",
        Level::L1,
        OF,
        "The error falls with at least the order that the manifest gives, less 0.4.",
        order,
    ),
    Check::new("M04", "linear", Level::L1, OF, "A linear model without noise makes a linear solver.", linear),
    Check::new(
        "M05",
        "denoise-arguments",
        Level::L1,
        OF,
        "The model is asked at finite sigmas above zero, none of them above the first by more than half.",
        arguments,
    ),
    Check::new(
        "M09",
        "right-amount-of-noise",
        Level::L1,
        OF,
        "Where noise is drawn, samples of Gaussian data have those data's variance, to 6 percent in 320 steps.",
        noise_amount,
    ),
    Check::new(
        "M11",
        "reproducible",
        Level::L2,
        OF,
        "The same noise gives the same bits, again and in another instance.",
        reproducible,
    ),
    Check::new(
        "M12",
        "model-errors-pass-through",
        Level::L3,
        OF,
        "An error of the model, at whichever call, ends the run with that error.",
        model_errors,
    ),
    Check::new(
        "M13",
        "stops-when-told",
        Level::L3,
        OF,
        "A run that the user stops ends as stopped, with at most one more call of the model.",
        stops,
    ),
    Check::new(
        "M16",
        "shapes",
        Level::L1,
        OF,
        "Pictures, clips and batches come out in the shape they went in.",
        shapes,
    ),
    Check::new(
        "M18",
        "tells-progress",
        Level::L1,
        OF,
        "Progress is told at least once in a run of several steps, with a step that is not above the total.",
        progress,
    ),
];

const SHAPE: [i64; 4] = [1, 4, 4, 4];

/// Karras' grid with rho = 7, and its zero.
fn grid(steps: u32) -> Vec<f64> {
    let (high, low) = (80f64.powf(1.0 / 7.0), 0.02f64.powf(1.0 / 7.0));
    let last = f64::from(steps.max(2) - 1);
    let sigmas = (0..steps).map(|i| (high + f64::from(i) / last * (low - high)).powi(7));
    sigmas.chain([0.0]).collect()
}

/// The start of a run of these sigmas, and what is there for it.
fn start(sigmas: &[f64], shape: &[i64]) -> Tensor {
    normal(0, shape) * (1.0 + sigmas[0] * sigmas[0]).sqrt()
}

fn solver(subject: &mut Subject) -> Result<Box<dyn Sampler>, Finding> {
    let (config, name) = (subject.config()?, subject.name());
    subject.trace("init");
    subject.component()?.sampler(&name, &config).map_err(|error| Finding::fail(error.to_string()))
}

fn run<E: Estimate>(
    subject: &Subject,
    solver: &mut dyn Sampler,
    model: &mut Model<E>,
    steps: u32,
) -> Result<Tensor, Finding> {
    subject.trace(format!("a run of {steps} steps on {:?}", model.shape));
    let sigmas = grid(steps);
    let x = start(&sigmas, &model.shape);
    solver.sample(x, &sigmas, model).map_err(|error| Finding::fail(format!("{steps} steps: {error}")))
}

fn short_runs(subject: &mut Subject) -> Found {
    let mut solver = solver(subject)?;
    for steps in [1, 2, 20] {
        let _ = run(subject, solver.as_mut(), &mut Model::new(Gaussian(0.5), &SHAPE), steps)?;
    }
    Ok(())
}

fn distance(one: &Tensor, other: &Tensor) -> f64 {
    (one - other).abs().max().double_value(&[])
}

fn constant_model(subject: &mut Subject) -> Found {
    let mut solver = solver(subject)?;
    let constant = normal(9, &SHAPE);
    let got = run(subject, solver.as_mut(), &mut Model::new(Constant(constant.shallow_clone()), &SHAPE), 20)?;
    let apart = distance(&got, &constant);
    demand!(apart <= 1e-3, "the sample is {apart:.2e} from what the model always says");
    Ok(())
}

/// The error of a run of so many steps on Gaussian data, and whether noise was drawn.
fn gaussian_error(subject: &mut Subject, steps: u32) -> Result<(f64, bool), Finding> {
    let mut solver = solver(subject)?;
    let mut model = Model::new(Gaussian(0.5), &SHAPE);
    let got = run(subject, solver.as_mut(), &mut model, steps)?;
    let sigmas = grid(steps);
    // The flow keeps x / sqrt(s^2 + sigma^2); at the last sigma the model's own answer is taken.
    let exact = start(&sigmas, &SHAPE) * (0.5 / (0.25 + sigmas[0] * sigmas[0]).sqrt());
    Ok((distance(&got, &exact), model.noise > 0))
}

fn gaussian_data(subject: &mut Subject) -> Found {
    let (coarse, is_noisy) = gaussian_error(subject, 20)?;
    if is_noisy {
        return Err(Finding::NotDeclared("the solver draws noise".to_owned()));
    }
    let (fine, _) = gaussian_error(subject, 80)?;
    demand!(coarse < 0.5, "20 steps end {coarse:.3} from the exact result");
    demand!(fine < 0.7 * coarse || fine < 2e-3, "20 steps end {coarse:.4} from the exact result, 80 steps {fine:.4}");
    Ok(())
}

/// Many numbers, so that their variance is known to a percent.
const MANY: [i64; 4] = [2, 4, 64, 64];

fn noise_amount(subject: &mut Subject) -> Found {
    let mut solver = solver(subject)?;
    let (steps, deviation) = (320, 0.5);
    let mut model = Model::new(Gaussian(deviation), &MANY);
    let sigmas = grid(steps);
    // What a run starts with is of the data and the noise.
    let x = normal(0, &MANY) * (deviation * deviation + sigmas[0] * sigmas[0]).sqrt();
    subject.trace(format!("a run of {steps} steps on {MANY:?}"));
    let got = solver.sample(x, &sigmas, &mut model).map_err(|error| Finding::fail(error.to_string()))?;
    if model.noise == 0 {
        return Err(Finding::NotDeclared("the solver draws no noise".to_owned()));
    }
    let share = got.to_kind(Kind::Double).var(true).double_value(&[]) / (deviation * deviation);
    demand!((share - 1.0).abs() <= 0.06, "the variance of samples is {share:.3} of the data's");
    Ok(())
}

fn order(subject: &mut Subject) -> Found {
    let Some(declared) = subject.entry()?.order() else {
        return Err(Finding::NotDeclared("the manifest gives no order".to_owned()));
    };
    let (coarse, is_noisy) = gaussian_error(subject, 40)?;
    demand!(!is_noisy, "the manifest gives an order, and noise is drawn");
    let (fine, _) = gaussian_error(subject, 160)?;
    let got = (coarse / fine).ln() / 4f64.ln();
    // Below this the last step and 32 bits are all that is left.
    demand!(got >= declared - 0.4 || fine < 1e-3, "the order is {got:.2}, where the manifest says {declared}");
    Ok(())
}

fn linear(subject: &mut Subject) -> Found {
    let mut solver = solver(subject)?;
    let sigmas = grid(10);
    let (one, other) = (start(&sigmas, &SHAPE), normal(5, &SHAPE) * sigmas[0]);
    let mut sample = |x: Tensor| {
        let mut model = Model::new(Gaussian(0.5), &SHAPE);
        let got = solver.sample(x, &sigmas, &mut model).map_err(|error| Finding::fail(error.to_string()))?;
        Ok((got, model.noise > 0))
    };
    let (first, is_noisy) = sample(one.shallow_clone())?;
    if is_noisy {
        return Err(Finding::NotDeclared("the solver draws noise".to_owned()));
    }
    let (second, sum) = (sample(other.shallow_clone())?.0, sample(&one * 2.0 + &other)?.0);
    let apart = distance(&sum, &(first * 2.0 + second));
    demand!(apart < 1e-3, "the result of a sum is {apart:.2e} from the sum of the results");
    Ok(())
}

fn arguments(subject: &mut Subject) -> Found {
    let mut solver = solver(subject)?;
    for steps in [2, 20] {
        let mut model = Model::new(Gaussian(0.5), &SHAPE);
        let _ = run(subject, solver.as_mut(), &mut model, steps)?;
        demand!(!model.sigmas.is_empty(), "the model is never asked");
        let highest = 1.5 * grid(steps)[0];
        let odd = model.sigmas.iter().find(|sigma| !(sigma.is_finite() && **sigma > 0.0 && **sigma <= highest));
        demand!(odd.is_none(), "the model is asked at sigma = {odd:?}");
    }
    Ok(())
}

fn reproducible(subject: &mut Subject) -> Found {
    let (mut solver, mut other) = (solver(subject)?, solver(subject)?);
    let sample = |solver: &mut dyn Sampler| run(subject, solver, &mut Model::new(Gaussian(0.5), &SHAPE), 12);
    let first = sample(solver.as_mut())?;
    let (again, elsewhere) = (sample(solver.as_mut())?, sample(other.as_mut())?);
    demand!(first.equal(&again), "a second run differs by {:.2e}", distance(&first, &again));
    demand!(first.equal(&elsewhere), "another instance differs by {:.2e}", distance(&first, &elsewhere));
    Ok(())
}

fn model_errors(subject: &mut Subject) -> Found {
    let mut solver = solver(subject)?;
    let mut whole = Model::new(Gaussian(0.5), &SHAPE);
    let _ = run(subject, solver.as_mut(), &mut whole, 8)?;
    for call in [1, 2, 5].into_iter().filter(|call| *call <= whole.sigmas.len()) {
        let mut model = Model::new(Gaussian(0.5), &SHAPE);
        model.fails_at = Some(call);
        subject.trace(format!("the model fails at call {call}"));
        let sigmas = grid(8);
        match solver.sample(start(&sigmas, &SHAPE), &sigmas, &mut model) {
            Err(error) if error.component == "the model" => {}
            Err(error) => return Err(Finding::fail(format!("an error at call {call} comes back as: {error}"))),
            Ok(_) => return Err(Finding::fail(format!("an error of the model at call {call} is swallowed"))),
        }
        demand!(model.sigmas.len() == call, "the model is asked again after its error at call {call}");
    }
    Ok(())
}

fn stops(subject: &mut Subject) -> Found {
    let mut solver = solver(subject)?;
    let mut model = Model::new(Gaussian(0.5), &SHAPE);
    model.stops_at = Some(2);
    let sigmas = grid(20);
    subject.trace("a run that is stopped at its third step");
    match solver.sample(start(&sigmas, &SHAPE), &sigmas, &mut model) {
        Err(error) if error.code == ErrorCode::Cancelled => {}
        Err(error) => return Err(Finding::fail(format!("a stopped run ends with: {error}"))),
        Ok(_) => return Err(Finding::fail("a run that is stopped at its third step goes on to its end")),
    }
    demand!(model.calls_after_stop <= 1, "{} calls of the model after the stop", model.calls_after_stop);
    Ok(())
}

fn shapes(subject: &mut Subject) -> Found {
    let mut solver = solver(subject)?;
    for shape in [[1, 4, 8, 8], [3, 4, 4, 6], [14, 4, 4, 4]] {
        let got = run(subject, solver.as_mut(), &mut Model::new(Gaussian(0.5), &shape), 4)?;
        demand!(got.size() == shape, "{shape:?} comes out as {:?}", got.size());
        demand!(got.kind() == Kind::Float && got.device() == Device::Cpu, "the sample's kind or device is another");
    }
    Ok(())
}

fn progress(subject: &mut Subject) -> Found {
    let mut solver = solver(subject)?;
    let mut model = Model::new(Gaussian(0.5), &SHAPE);
    let _ = run(subject, solver.as_mut(), &mut model, 10)?;
    demand!(!model.progress.is_empty(), "no progress is told in 10 steps");
    let odd = model.progress.iter().find(|(step, total)| step > total);
    demand!(odd.is_none(), "progress is told as {odd:?}");
    Ok(())
}
