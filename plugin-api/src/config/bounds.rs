//! Bounds of numbers.

use super::{ConfigError, Value};

/// Bounds of a number, or of each number in a list; none by default.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// The value must be larger than this.
    pub exclusive_min: Option<f64>,
    /// The value must be smaller than this.
    pub exclusive_max: Option<f64>,
}

impl Bounds {
    /// The rule that `number` breaks, if it breaks one.
    pub(super) fn check(&self, number: f64, at: &str) -> Result<(), ConfigError> {
        let rules = [
            (self.min.filter(|min| number < *min), "is less than the minimum of"),
            (self.max.filter(|max| number > *max), "is more than the maximum of"),
            (self.exclusive_min.filter(|min| number <= *min), "is not more than"),
            (self.exclusive_max.filter(|max| number >= *max), "is not less than"),
        ];
        match rules.into_iter().find_map(|(bound, rule)| bound.map(|bound| (bound, rule))) {
            Some((bound, rule)) => Err(ConfigError::new(at, format!("{number} {rule} {bound}"))),
            None => Ok(()),
        }
    }

    /// Adds the bounds to the schema of a number; whole numbers are written as such.
    pub(super) fn write_into(&self, schema: &mut Value) {
        let rules = [
            ("minimum", self.min),
            ("maximum", self.max),
            ("exclusiveMinimum", self.exclusive_min),
            ("exclusiveMaximum", self.exclusive_max),
        ];
        let integer = schema["type"] == "integer";
        for (name, bound) in rules {
            if let Some(bound) = bound {
                let whole = integer && bound.fract() == 0.0;
                schema[name] = if whole { Value::from(bound as i64) } else { Value::from(bound) };
            }
        }
    }
}
