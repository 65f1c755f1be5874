//! Gradients of native entries: that they reach the parameters, that they are right, and that none are made unasked.

use std::time::{Duration, Instant};

use anneal_torch::grad_mode;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use super::embedder::embed;
use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::models::normal;
use crate::subject::Subject;
use crate::trial::{Batch, Given, Trial, values};

/// Steps of the differences: the smaller are exact, the larger stand rounding inside the embedder better.
const STEPS: [f64; 5] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1];
/// How far a gradient may be from the difference, as a part of the largest gradient.
const TOLERANCE: f64 = 1e-4;
/// Time for differences; parameters that are not reached by then are not tried.
const TIME: Duration = Duration::from_secs(12);
/// Numbers of each parameter that are tried.
const TRIED: usize = 6;

pub const CHECKS: &[Check] = &[
    Check::new(
        "E09",
        "gradients-reach-parameters",
        Level::L1,
        Scope::Native,
        "Each parameter gets a finite gradient, and for one of three batches one that is not zero.",
        reach,
    ),
    Check::new(
        "E10",
        "gradients-are-right",
        Level::L1,
        Scope::Native,
        "In 64 bits the gradients of parameters are central differences, to one part in 10,000 of the largest, or as near \
         as differences of several steps are to each other.",
        right,
    ),
    Check::new(
        "E11",
        "frozen-means-frozen",
        Level::L1,
        Scope::Native,
        "With parameters that are not trained, results ask for no gradient.",
        frozen,
    ),
    Check::new(
        "E12",
        "gradients-go-through",
        Level::L1,
        Scope::Native,
        "To inputs that the manifest calls differentiable go gradients, which in 64 bits are central differences.",
        through,
    ),
    Check::new(
        "E26",
        "grad-mode-is-obeyed",
        Level::L1,
        Scope::Native,
        "Where the host records nothing, results ask for no gradient.",
        obeyed,
    ),
];

fn trained(trial: &Trial) -> Result<Vec<usize>, Finding> {
    let params = trial.embedder.params();
    let trained: Vec<usize> = (0..params.len()).filter(|at| !params[*at].buffer).collect();
    if trained.is_empty() {
        return Err(Finding::NotDeclared("the entry has no parameters".to_owned()));
    }
    Ok(trained)
}

/// A number that depends on everything that comes out.
fn loss(subject: &Subject, trial: &Trial, batch: &Batch) -> Result<Tensor, Finding> {
    let outputs = embed(subject, trial, batch)?;
    let parts = outputs.iter().enumerate().map(|(i, output)| {
        let weights = normal(1000 + i as u64, &output.tensor.size()).to_kind(output.tensor.kind());
        (&output.tensor * weights).sum(output.tensor.kind())
    });
    parts.reduce(|sum, part| sum + part).ok_or_else(|| Finding::fail("nothing was emitted"))
}

fn backward(subject: &Subject, trial: &Trial, batch: &Batch) -> Found {
    let loss = loss(subject, trial, batch)?;
    demand!(loss.requires_grad(), "results do not depend on the parameters as autograd sees it");
    subject.trace("backward");
    loss.f_backward().map_err(|error| Finding::fail(format!("backward: {error}")))
}

fn reach(subject: &mut Subject) -> Found {
    let mut trial = subject.trial(Kind::Float, true)?;
    let trained = trained(&trial)?;
    let mut reached = vec![false; trained.len()];
    for first in [1, 20, 40] {
        trial.params.iter_mut().for_each(Tensor::zero_grad);
        backward(subject, &trial, &trial.batch(&[first, first + 1, first + 2]))?;
        for (reached, at) in reached.iter_mut().zip(&trained) {
            let grad = trial.params[*at].grad();
            if !grad.defined() {
                continue;
            }
            let grad = values(&grad);
            let name = &trial.embedder.params()[*at].name;
            demand!(grad.iter().all(|value| value.is_finite()), "the gradient of {name} is not finite");
            *reached |= grad.iter().any(|value| *value != 0.0);
        }
    }
    let missed: Vec<&str> = reached
        .iter()
        .zip(&trained)
        .filter(|(reached, _)| !**reached)
        .map(|(_, at)| trial.embedder.params()[*at].name.as_str())
        .collect();
    demand!(
        missed.is_empty(),
        "no gradient reaches {}; what is never trained is declared as a buffer",
        missed.join(", ")
    );
    Ok(())
}

fn right(subject: &mut Subject) -> Found {
    let mut trial = subject.trial(Kind::Double, true)?;
    let trained = trained(&trial)?;
    let mut batch = trial.batch(&[1, 2, 3]);
    batch
        .map(|tensor| if tensor.kind() == Kind::Float { tensor.to_kind(Kind::Double) } else { tensor.shallow_clone() });
    subject.trace("forward in 64 bits");
    let is_double = trial.embed(&batch).is_ok_and(|outputs| outputs.iter().all(|o| o.tensor.kind() == Kind::Double));
    if !is_double {
        return Err(Finding::NotDeclared("the entry does not compute in 64 bits".to_owned()));
    }
    trial.params.iter_mut().for_each(Tensor::zero_grad);
    backward(subject, &trial, &batch)?;
    let mut random = subject.random();
    let (mut worst, mut largest, mut place) = (0.0_f64, 1e-9_f64, String::new());
    let start = Instant::now();
    for at in shuffled(trained, &mut random) {
        if start.elapsed() > TIME {
            break;
        }
        let grad = trial.params[at].grad();
        let grad = if grad.defined() { values(&grad) } else { vec![0.0; trial.params[at].numel()] };
        for _ in 0..TRIED.min(grad.len()) {
            // Where a gradient is, rather than in the rows of a table that are not looked up.
            let among: Vec<usize> = (0..grad.len()).filter(|i| grad[*i] != 0.0).collect();
            let i = match among.len() {
                0 => random.random_range(0..grad.len()),
                count => among[random.random_range(0..count)],
            };
            let (difference, uncertain) = difference(subject, &trial, &batch, &trial.params[at], i)?;
            largest = largest.max(difference.abs()).max(grad[i].abs());
            let apart = (difference - grad[i]).abs() - 3.0 * uncertain;
            if apart > worst {
                worst = apart;
                let name = &trial.embedder.params()[at].name;
                place = format!("number {i} of {name}: the gradient is {}, the difference {difference}", grad[i]);
            }
        }
    }
    demand!(worst <= TOLERANCE * largest, "{place}");
    Ok(())
}

fn through(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Double, false)?;
    let inputs = trial.example.inputs.iter().enumerate();
    let differentiable: Vec<usize> = inputs.filter(|(_, input)| input.differentiable).map(|(at, _)| at).collect();
    if differentiable.is_empty() {
        return Err(Finding::NotDeclared("no input is called differentiable".to_owned()));
    }
    let mut batch = trial.batch(&[1, 2, 3]);
    batch
        .map(|tensor| if tensor.kind() == Kind::Float { tensor.to_kind(Kind::Double) } else { tensor.shallow_clone() });
    let mut random = subject.random();
    for at in differentiable {
        let name = batch.inputs[at].0.clone();
        let Given::Tensor(value) = &mut batch.inputs[at].1 else { continue };
        *value = value.detach().copy().set_requires_grad(true);
        let value = value.shallow_clone();
        let got = loss(subject, &trial, &batch)?;
        demand!(got.requires_grad(), "results do not depend on {name} as autograd sees it");
        subject.trace("backward");
        got.f_backward().map_err(|error| Finding::fail(format!("backward: {error}")))?;
        let grad = value.grad();
        demand!(grad.defined(), "no gradient goes to {name}");
        let grad = values(&grad);
        let largest = grad.iter().fold(1e-9_f64, |largest, value| largest.max(value.abs()));
        for _ in 0..TRIED {
            let i = random.random_range(0..grad.len());
            let (difference, uncertain) = difference(subject, &trial, &batch, &value, i)?;
            let apart = (difference - grad[i]).abs() - 3.0 * uncertain;
            demand!(
                apart <= TOLERANCE * largest.max(difference.abs()),
                "number {i} of {name}: the gradient is {}, the difference {difference}",
                grad[i]
            );
        }
    }
    Ok(())
}

/// So that with little time not only the first are tried.
fn shuffled(mut list: Vec<usize>, random: &mut ChaCha8Rng) -> Vec<usize> {
    for end in (1..list.len()).rev() {
        list.swap(end, random.random_range(0..=end));
    }
    list
}

/// The central difference of the loss by a number of a tensor, and how sure it is: steps too small show the rounding,
/// steps too large the curvature, and where three neighbours agree there is neither.
fn difference(subject: &Subject, trial: &Trial, batch: &Batch, of: &Tensor, i: usize) -> Result<(f64, f64), Finding> {
    let _no_grad = grad_mode::no_grad();
    let mut number = of.view([-1]).get(i as i64);
    let here = number.double_value(&[]);
    let mut there = |value: f64| -> Result<f64, Finding> {
        let _ = number.fill_(value);
        Ok(loss(subject, trial, batch)?.double_value(&[]))
    };
    let mut differences = Vec::new();
    for step in STEPS {
        differences.push((there(here + step)? - there(here - step)?) / (2.0 * step));
    }
    there(here)?;
    let between = differences.windows(3).map(|three| {
        let apart = (three[1] - three[0]).abs().max((three[1] - three[2]).abs());
        // The smaller step of the two that are nearer.
        (if (three[1] - three[0]).abs() < (three[1] - three[2]).abs() { three[0] } else { three[1] }, apart)
    });
    let surest = between.min_by(|one, other| one.1.total_cmp(&other.1));
    surest.ok_or_else(|| Finding::fail("no difference was made"))
}

fn no_gradient(subject: &mut Subject, trial: &Trial) -> Found {
    for output in embed(subject, trial, &trial.batch(&[1, 2]))? {
        demand!(!output.tensor.requires_grad(), "a result asks for a gradient");
    }
    Ok(())
}

fn frozen(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, false)?;
    no_gradient(subject, &trial)
}

fn obeyed(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, true)?;
    let _no_grad = grad_mode::no_grad();
    no_gradient(subject, &trial)
}
