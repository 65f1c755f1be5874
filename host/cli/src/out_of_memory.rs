//! Memory that does not suffice: what was asked for, what the plan says, and what helps.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};

use anneal::assemble::AnyProject;
use toml::{Table, Value};

use crate::exit::{Exit, Failure};

/// What libtorch and CUDA's libraries say when there is too little.
const SIGNS: [&str; 4] =
    ["CUDA out of memory", "CUDA error: out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED"];

/// What makes a run smaller: a key, the value that does, and what it costs. Those that are set already are not suggested.
const REMEDIES: [(&str, &str, &str); 6] = [
    ("data.batch_size", "1", "with train.accumulate_batches for the rest of the batch: slower, the same gradients"),
    ("model.network.use_checkpoint", "true", "a third more arithmetic, far smaller activations"),
    ("run.precision", "\"bf16\"", "activations of half the size on a GPU"),
    ("optimizer.moments", "\"int8\"", "a quarter of the optimizer's state"),
    ("model.frozen_encoders", "\"off-load\"", "what is not trained waits in the host's memory"),
    ("model.en_and_decode_n_samples_a_time", "1", "the first stage takes frames one by one"),
];

/// Says nothing of panics that are lack of memory; they are told in another way.
pub fn quiet_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !text_of(info.payload()).is_some_and(is_lack) {
            usual(info);
        }
    }));
}

/// Runs `body`, and tells lack of memory with the plan of the run beside it.
///
/// # Errors
/// As `body`.
pub fn told(
    project: &mut AnyProject,
    body: impl FnOnce(&mut AnyProject) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    // libtorch's errors are panics of tch; what was computed is given up, so nothing half done is looked at.
    let lack = match catch_unwind(AssertUnwindSafe(|| body(project))) {
        Ok(Err(failure)) if is_lack(&failure.message) => failure.message,
        Ok(ended) => return ended,
        Err(payload) => match text_of(payload.as_ref()).filter(|text| is_lack(text)) {
            Some(text) => text.to_owned(),
            None => resume_unwind(payload),
        },
    };
    let line = line_of(&lack);
    let mut message = format!("there is not enough memory: {line}");
    if let Some(planned) = planned(project) {
        message += &format!("\nplanned are {planned}; `anneal plan` has the table");
    }
    for (key, value, what) in remedies(project) {
        message += &format!("\nhelp: {key} = {value}: {what}");
    }
    message += "\nwhat was saved before is whole; --resume goes on from it";
    Err(Failure::new(Exit::Memory, message))
}

/// The line that matters, without the frames of libtorch's stack behind it and what tch puts before it.
fn line_of(lack: &str) -> &str {
    // tch's panics hold the text as Rust's debug output does.
    let line = lack.lines().flat_map(|line| line.split("\\n")).find(|line| is_lack(line)).unwrap_or_default();
    line.rsplit("Torch(\"").next().unwrap_or(line).trim()
}

fn is_lack(text: &str) -> bool {
    SIGNS.iter().any(|sign| text.contains(sign))
}

fn text_of(payload: &dyn Any) -> Option<&str> {
    payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied())
}

fn planned(project: &mut AnyProject) -> Option<String> {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let plan = project.plan().ok()?;
    let state = format!("{:.2} GiB of state", gib(plan.state()));
    Some(match &plan.activations {
        Ok(on_top) => format!("{state} and {:.2} GiB on top in a step", gib(on_top.step)),
        Err(_) => state,
    })
}

/// What is not set already, and has a place in this config.
fn remedies(project: &AnyProject) -> Vec<(&'static str, &'static str, &'static str)> {
    let config = project.resolved().ok().and_then(|text| text.parse::<Table>().ok()).map(Value::Table);
    let set = |key: &str| config.as_ref().and_then(|config| key.split('.').try_fold(config, |at, part| at.get(part)));
    let helps = |(key, value, _): &(&str, &str, &str)| {
        let table = key.rsplit_once('.').is_none_or(|(table, _)| set(table).is_some());
        table && set(key).map(ToString::to_string).as_deref() != Some(value)
    };
    REMEDIES.into_iter().filter(helps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_known_and_cut_to_a_line() {
        let panic = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB.\\nframe #0: x\")";
        assert!(is_lack(panic));
        assert_eq!(line_of(panic), "CUDA out of memory. Tried to allocate 2.00 GiB.");
        let error =
            "acme.rows/rows: forward: libtorch: DefaultCPUAllocator: can't allocate memory: you tried\nframe #0";
        assert!(is_lack(error) && line_of(error).ends_with("you tried"));
        // A plugin's own limit is not the machine's.
        assert!(!is_lack("acme.grid/eats: out of memory: 64 MiB are allowed"));
    }
}
