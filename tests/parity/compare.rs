//! Results against what the case says, within its tolerances.

use tch::{Kind, Tensor};

use crate::case::{Case, Outputs};

/// The largest errors of a case.
#[derive(Debug, Default)]
pub struct Errors {
    /// Largest absolute error.
    pub absolute: f64,
    /// Largest error relative to the largest value of its tensor.
    pub relative: f64,
    /// Largest error as a part of what is allowed, and where.
    pub share: f64,
    /// Where that is.
    pub worst: String,
}

impl Errors {
    /// What is wrong, if the largest error is more than allowed.
    pub fn problem(&self) -> Option<String> {
        // Not `> 1`: a NaN is wrong too.
        let fine = self.share <= 1.0;
        (!fine).then(|| format!("{} is off by {:.3} of what is allowed", self.worst, self.share))
    }

    fn add(&mut self, name: &str, absolute: f64, relative: f64, share: f64) {
        self.absolute = self.absolute.max(absolute);
        self.relative = self.relative.max(relative);
        if share > self.share || share.is_nan() || self.worst.is_empty() {
            self.share = share;
            name.clone_into(&mut self.worst);
        }
    }
}

/// Compares all outputs; one that is missing, left over or of another shape is an error.
pub fn outputs(case: &Case, got: &Outputs) -> Result<Errors, String> {
    let missing: Vec<&str> =
        case.wanted().map(|(name, _)| name.as_str()).filter(|name| !got.contains_key(*name)).collect();
    if !missing.is_empty() {
        return Err(format!("no {}", missing.join(", ")));
    }
    let mut errors = Errors::default();
    for (name, got) in got {
        let Some(want) = case.want(name) else {
            if case.tolerances.trimmed.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            return Err(format!("{name} is not in the case"));
        };
        if got.size() != want.size() {
            return Err(format!("{name} has shape {:?}, not {:?}", got.size(), want.size()));
        }
        if want.numel() > 0 {
            let (absolute, share) = distance(case, name, got, want);
            let largest = number(&want.to_kind(Kind::Double).abs().max());
            errors.add(name, absolute, if largest > 0.0 { absolute / largest } else { absolute }, share);
        }
    }
    Ok(errors)
}

/// The largest absolute error, and the largest as a part of what is allowed.
fn distance(case: &Case, name: &str, got: &Tensor, want: &Tensor) -> (f64, f64) {
    let tolerances = &case.tolerances;
    let (double, exact) = (|t: &Tensor| t.detach().to_kind(Kind::Double), want.kind() == Kind::Int64);
    let (got, want) = (double(got), double(want));
    let off = (&got - &want).abs();
    let absolute = number(&off.max());
    if exact {
        return (absolute, if absolute == 0.0 { 0.0 } else { f64::INFINITY });
    }
    let share = if let Some(loose) = tolerances.loose.get(name) {
        absolute / loose
    } else if name.starts_with("grad.") || name.starts_with("out.d.") {
        absolute / (tolerances.grad_atol + tolerances.grad_rtol * number(&want.abs().max()))
    } else {
        number(&(off / (want.abs() * tolerances.rtol + tolerances.atol)).max())
    };
    (absolute, share)
}

fn number(t: &Tensor) -> f64 {
    t.double_value(&[])
}
