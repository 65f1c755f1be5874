//! Native entries: what comes out of a call, for which batches, and what is left of what went in.

use anneal::conditioner::Embedded;
use anneal::error::{ComponentError, ErrorCode};
use anneal::plugin::{InputKind, TorchLink};
use anneal_torch::tensor::{empty_meta, is_meta};
use tch::{Kind, Tensor};

use crate::check::{Check, Finding, Found, Level, Scope, demand};
use crate::subject::{Subject, shown};
use crate::trial::{Batch, Given, Trial, distance, rows_of, values};

/// How far results may be apart that are computed in batches of different sizes, as a part of the largest.
const BATCH_TOLERANCE: f64 = 1e-4;

pub const CHECKS: &[Check] = &[
    Check::new(
        "E00",
        "starts",
        Level::L1,
        Scope::Native,
        "The entry starts with the first example's settings, or with none, and declares its parameters, the same ones \
         each time.",
        starts,
    )
    .gate(),
    Check::new(
        "E02",
        "embeds",
        Level::L1,
        Scope::Native,
        "The manifest's example says what the entry is given; given that, in training and in sampling, it emits floating \
         point whose rank fits its slot and whose rows are a multiple of the scenes.",
        embeds,
    )
    .gate(),
    Check::new(
        "E01",
        "dry-run",
        Level::L1,
        Scope::Native,
        "On meta tensors, which have no values, an entry over the host's operations gives the shapes and kinds that it \
         gives on others.",
        dry_run,
    ),
    Check::new(
        "E03",
        "kinds",
        Level::L1,
        Scope::Native,
        "Parameters and numbers of 32 bits give results of 32 bits.",
        kinds,
    ),
    Check::new(
        "E05",
        "finite",
        Level::L1,
        Scope::Native,
        "Results are finite for ordinary inputs, and for those at the ends of their range.",
        finite,
    ),
    Check::new(
        "E06",
        "batch-sizes",
        Level::L1,
        Scope::Native,
        "Batches of 1, 2, 5 and 17 scenes give as many rows a scene.",
        batch_sizes,
    ),
    Check::new(
        "E07",
        "scenes-are-independent",
        Level::L1,
        Scope::Native,
        "A scene's result is the same alone, among others, and in another order.",
        independent,
    ),
    Check::new(
        "E08",
        "inputs-are-left-alone",
        Level::L1,
        Scope::Native,
        "Inputs and parameters have the same bits after a call.",
        untouched,
    ),
    Check::new(
        "E17",
        "any-text",
        Level::L1,
        Scope::Native,
        "Empty texts, texts of 10,000 characters, emoji and controls are taken or refused.",
        any_text,
    ),
    Check::new(
        "E19",
        "misfits-are-refused",
        Level::L3,
        Scope::Native,
        "Inputs of another rank, another kind or without rows are taken or refused, and the next ordinary call gives \
         what it gave before.",
        misfits,
    ),
    Check::new(
        "E21",
        "failures-are-passed-on",
        Level::L3,
        Scope::Native,
        "Where an operation of the host fails, the call fails with its error, leaves no handle behind, and the next call \
         gives what it gave before.",
        failures,
    ),
];

/// Embeds what has to be embedded.
pub fn embed(subject: &Subject, trial: &Trial, batch: &Batch) -> Result<Vec<Embedded>, Finding> {
    subject.trace(format!("forward of {} scenes", batch.scenes.len()));
    trial.embed(batch).map_err(|error| Finding::fail(format!("forward of {} scenes: {error}", batch.scenes.len())))
}

/// The outputs of two calls are the same to a tolerance, a part of the largest number.
pub fn same(what: &str, one: &[Embedded], other: &[Embedded], tolerance: f64) -> Found {
    demand!(one.len() == other.len(), "{what}: {} results once and {} then", one.len(), other.len());
    for (i, (one, other)) in one.iter().zip(other).enumerate() {
        demand!(one.slot == other.slot, "{what}: result {i} goes to {:?} once and to {:?} then", one.slot, other.slot);
        let apart = distance(&one.tensor, &other.tensor);
        demand!(
            apart <= tolerance,
            "{what}: result {i} of {:?} and {:?} differ by {apart:.1e} of the largest number",
            one.tensor.size(),
            other.tensor.size()
        );
    }
    Ok(())
}

fn starts(subject: &mut Subject) -> Found {
    let config = subject.config()?;
    let failed = |error: ComponentError| Finding::fail(format!("with {}: {error}", shown(&config)));
    let (one, other) = (subject.embedder(&config)?.map_err(failed)?, subject.embedder(&config)?.map_err(failed)?);
    demand!(one.params() == other.params(), "two instances declare {:?} and {:?}", one.params(), other.params());
    Ok(())
}

fn embeds(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, true)?;
    let batch = trial.batch(&[1, 2]);
    for training in [false, true] {
        subject.trace(format!("forward, training: {training}"));
        let outputs = trial.embed_with(&batch, &trial.params, training);
        outputs.map_err(|error| Finding::fail(format!("forward, training: {training}: {error}")))?;
    }
    Ok(())
}

fn dry_run(subject: &mut Subject) -> Found {
    if *subject.plugin()?.torch() != TorchLink::None {
        return Err(Finding::NotDeclared("the entry computes with a libtorch of its own".to_owned()));
    }
    let trial = subject.trial(Kind::Float, false)?;
    let mut batch = trial.batch(&[1, 2, 3]);
    let wanted = embed(subject, &trial, &batch)?;
    let meta = |tensor: &Tensor| empty_meta(&tensor.size(), tensor.kind()).unwrap_or_else(|_| tensor.shallow_clone());
    batch.map(meta);
    let params: Vec<Tensor> = trial.params.iter().map(meta).collect();
    if params.is_empty() && batch.tensors().next().is_none() {
        return Err(Finding::NotDeclared("there is no tensor that could be without values".to_owned()));
    }
    subject.trace("forward on meta tensors");
    let got = trial.embed_with(&batch, &params, false).map_err(|error| match error.code {
        ErrorCode::Unsupported => Finding::NotDeclared(format!("libtorch cannot do it on meta tensors: {error}")),
        _ => Finding::fail(format!("on meta tensors: {error}")),
    })?;
    demand!(got.len() == wanted.len(), "{} results on meta tensors, {} on others", got.len(), wanted.len());
    for (got, wanted) in got.iter().zip(&wanted) {
        let (size, kind) = (got.tensor.size(), got.tensor.kind());
        demand!(
            size == wanted.tensor.size() && kind == wanted.tensor.kind() && got.slot == wanted.slot,
            "on meta tensors {size:?} of {kind:?}, on others {:?} of {:?}",
            wanted.tensor.size(),
            wanted.tensor.kind()
        );
        demand!(is_meta(&got.tensor), "on meta tensors it gives values");
    }
    Ok(())
}

fn kinds(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, true)?;
    for output in embed(subject, &trial, &trial.batch(&[1, 2]))? {
        demand!(output.tensor.kind() == Kind::Float, "a result of {:?}", output.tensor.kind());
    }
    Ok(())
}

fn finite(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, false)?;
    let mut batches: Vec<Batch> = (0..4).map(|i| trial.batch(&[4 * i, 4 * i + 1, 4 * i + 2])).collect();
    for end in 0..2 {
        let mut batch = trial.batch(&[1, 2]);
        for ((_, given), input) in batch.inputs.iter_mut().zip(&trial.example.inputs) {
            let (Given::Tensor(tensor), Some(range)) = (given, input.range) else { continue };
            *tensor = tensor.full_like(range[end]);
        }
        batches.push(batch);
    }
    for batch in &batches {
        for output in embed(subject, &trial, batch)? {
            let wrong = values(&output.tensor).into_iter().find(|value| !value.is_finite());
            demand!(wrong.is_none(), "a result has a number that is {}", wrong.unwrap_or_default());
        }
    }
    Ok(())
}

fn batch_sizes(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, false)?;
    let mut rows: Option<Vec<i64>> = None;
    for count in [1, 2, 5, 17] {
        let scenes: Vec<u64> = (0..count as u64).collect();
        let outputs = embed(subject, &trial, &trial.batch(&scenes))?;
        let each: Vec<i64> = outputs.iter().map(|output| output.tensor.size()[0] / count).collect();
        let first = rows.get_or_insert_with(|| each.clone());
        demand!(*first == each, "one scene has {first:?} rows, each of {count} has {each:?}");
    }
    Ok(())
}

fn independent(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, false)?;
    let all = embed(subject, &trial, &trial.batch(&[1, 2, 3, 4]))?;
    let scene = |outputs: &[Embedded], at: i64, count: i64| -> Vec<Embedded> {
        outputs.iter().map(|o| Embedded { slot: o.slot, tensor: rows_of(&o.tensor, at, count) }).collect()
    };
    let turned = embed(subject, &trial, &trial.batch(&[4, 2, 1, 3]))?;
    for (at, there) in [(0, 2), (1, 1), (2, 3), (3, 0)] {
        let what = format!("scene {at} of four, and the same scene in another order");
        same(&what, &scene(&all, at, 4), &scene(&turned, there, 4), BATCH_TOLERANCE)?;
        let alone = embed(subject, &trial, &trial.batch(&[at as u64 + 1]))?;
        same(&format!("scene {at} of four, and alone"), &scene(&all, at, 4), &alone, BATCH_TOLERANCE)?;
    }
    Ok(())
}

fn untouched(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, true)?;
    let batch = trial.batch(&[1, 2, 3]);
    let bits = |trial: &Trial| -> Vec<Vec<f64>> {
        batch.tensors().chain(&trial.params).map(|tensor| values(&tensor.copy())).collect()
    };
    let before = bits(&trial);
    for training in [false, true] {
        subject.trace(format!("forward, training: {training}"));
        trial.embed_with(&batch, &trial.params, training).map_err(|error| Finding::fail(error.to_string()))?;
    }
    let same = |one: &[f64], other: &[f64]| one.iter().map(|x| x.to_bits()).eq(other.iter().map(|x| x.to_bits()));
    let changed = before.iter().zip(bits(&trial)).position(|(before, after)| !same(before, &after));
    let inputs = batch.tensors().count();
    match changed {
        Some(at) if at < inputs => Err(Finding::fail(format!("tensor {at} of the inputs has changed"))),
        Some(at) => {
            let name = &trial.embedder.params()[at - inputs].name;
            Err(Finding::fail(format!("the parameter {name} has changed")))
        }
        None => Ok(()),
    }
}

fn any_text(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, false)?;
    if trial.example.inputs.iter().all(|input| input.kind != InputKind::Text) {
        return Err(Finding::NotDeclared("the entry is given no texts".to_owned()));
    }
    let odd = ["", "x ".repeat(5000).as_str(), "🦊🏽‍🚀 ünïcödé 狐", "\u{0}\u{1}\u{7f}\t\n\u{202e}"].map(str::to_owned);
    for text in odd {
        let mut batch = trial.batch(&[1, 2]);
        for (_, given) in &mut batch.inputs {
            if let Given::Texts(texts) = given {
                texts[0].clone_from(&text);
            }
        }
        subject.trace(format!("forward of the text {:?}", text.chars().take(20).collect::<String>()));
        let Ok(outputs) = trial.embed(&batch) else { continue };
        for output in outputs {
            demand!(values(&output.tensor).iter().all(|value| value.is_finite()), "a text's result is not finite");
        }
    }
    Ok(())
}

fn misfits(subject: &mut Subject) -> Found {
    let trial = subject.trial(Kind::Float, true)?;
    let ordinary = trial.batch(&[1, 2, 3]);
    let wanted = embed(subject, &trial, &ordinary)?;
    let other_kind = |tensor: &Tensor| match tensor.kind() {
        Kind::Int64 => tensor.to_kind(Kind::Float) + 0.5,
        _ => (tensor * 1000.0).to_kind(Kind::Int64),
    };
    type Change<'a> = &'a dyn Fn(&Tensor) -> Tensor;
    let changes: [(&str, Change<'_>); 7] = [
        ("with an axis more", &|tensor| tensor.unsqueeze(-1)),
        ("with an axis less", &|tensor| tensor.flatten(0, -1)),
        ("without axes", &|tensor| tensor.flatten(0, -1).get(0)),
        ("without rows", &|tensor| tensor.narrow(0, 0, 0)),
        ("with a row less", &|tensor| tensor.narrow(0, 0, tensor.size()[0] - 1)),
        ("of another kind", &other_kind),
        ("far out of range", &|tensor| tensor.full_like(1e9)),
    ];
    for (what, change) in changes {
        let mut batch = trial.batch(&[1, 2, 3]);
        if !batch.map(change) {
            continue;
        }
        subject.trace(format!("forward of inputs {what}"));
        // Whether it is refused is the entry's own: a vector may be given where a number was.
        let _ = trial.embed(&batch);
        let again = trial.embed(&ordinary);
        let again =
            again.map_err(|error| Finding::fail(format!("after inputs {what} an ordinary call fails: {error}")))?;
        same(&format!("an ordinary call before and after inputs {what}"), &wanted, &again, 0.0)?;
    }
    Ok(())
}

fn failures(subject: &mut Subject) -> Found {
    use anneal::plugin::native::probe::{fail_operation, live_handles};
    if *subject.plugin()?.torch() != TorchLink::None {
        return Err(Finding::NotDeclared("the entry computes with a libtorch of its own".to_owned()));
    }
    let trial = subject.trial(Kind::Float, true)?;
    let batch = trial.batch(&[1, 2]);
    fail_operation(0);
    let wanted = embed(subject, &trial, &batch)?;
    let count = fail_operation(0);
    for number in 1..=count.min(200) {
        let before = live_handles();
        subject.trace(format!("forward whose operation {number} of {count} fails"));
        fail_operation(number);
        let outcome = trial.embed(&batch);
        fail_operation(0);
        let Err(error) = outcome else {
            return Err(Finding::fail(format!("operation {number} of {count} failed, and forward did not")));
        };
        demand!(
            error.message.contains("was told to fail"),
            "operation {number} of {count} failed, and forward says `{}` instead of its error",
            error.message
        );
        let after = live_handles();
        demand!(after == before, "operation {number} of {count} failed, and {} handles were left", after - before);
        let again = embed(subject, &trial, &batch)?;
        same("a call before and after a failure", &wanted, &again, 0.0)?;
    }
    Ok(())
}
