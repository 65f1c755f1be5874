//! What fits between the keys that a model has and those that a file has.

use std::collections::{HashMap, HashSet};
use std::fmt;

/// A key of both whose shapes differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The key.
    pub key: String,
    /// The model's shape.
    pub wanted: Vec<i64>,
    /// The file's shape.
    pub given: Vec<i64>,
}

/// The keys that do not fit. Its text is one line for each kind of misfit, the first few keys of each named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Of the model alone.
    pub missing: Vec<String>,
    /// Of the file alone.
    pub unexpected: Vec<String>,
    /// Of both, in different shapes.
    pub misshapen: Vec<Misshapen>,
}

/// Most keys that a text names of each kind.
const NAMED_MAX: usize = 8;

impl KeyReport {
    /// Compares the keys and shapes of a model with those of a file.
    pub fn new<'a>(
        wanted: impl IntoIterator<Item = (&'a str, Vec<i64>)>,
        given: impl IntoIterator<Item = (&'a str, Vec<i64>)>,
    ) -> Self {
        let given: Vec<(&str, Vec<i64>)> = given.into_iter().collect();
        let shapes: HashMap<&str, &Vec<i64>> = given.iter().map(|(key, shape)| (*key, shape)).collect();
        let mut known = HashSet::new();
        let mut report = Self::default();
        for (key, wanted) in wanted {
            known.insert(key);
            match shapes.get(key) {
                None => report.missing.push(key.to_owned()),
                Some(given) if **given != wanted => {
                    report.misshapen.push(Misshapen { key: key.to_owned(), wanted, given: (*given).clone() });
                }
                Some(_) => {}
            }
        }
        report.unexpected =
            given.iter().map(|(key, _)| *key).filter(|key| !known.contains(key)).map(str::to_owned).collect();
        report
    }

    /// Whether everything fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for KeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        if !self.missing.is_empty() {
            let named = |key: &String| match near(key, &self.unexpected) {
                Some(near) => format!("`{key}` (the file has `{near}`)"),
                None => format!("`{key}`"),
            };
            lines.push(format!("missing in the file: {}", list(&self.missing, named)));
        }
        if !self.unexpected.is_empty() {
            lines.push(format!("not used of the file: {}", list(&self.unexpected, |key| format!("`{key}`"))));
        }
        if !self.misshapen.is_empty() {
            let named = |one: &Misshapen| format!("`{}` is {:?} instead of {:?}", one.key, one.given, one.wanted);
            lines.push(format!("of another shape: {}", list(&self.misshapen, named)));
        }
        f.write_str(&lines.join("\n"))
    }
}

fn list<T>(items: &[T], named: impl Fn(&T) -> String) -> String {
    let named: Vec<String> = items.iter().take(NAMED_MAX).map(named).collect();
    let more = items.len() - named.len();
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{} keys: {}{more}", items.len(), named.join(", "))
}

/// The key nearest to `key`, if it differs in a few letters.
fn near<'a>(key: &str, keys: &'a [String]) -> Option<&'a str> {
    // Lengths first: a distance costs their product.
    let candidates = keys.iter().filter(|other| other.len().abs_diff(key.len()) <= NEAR_MAX);
    let distances = candidates.map(|other| (strsim::levenshtein(key, other), other.as_str()));
    distances.filter(|(distance, _)| *distance <= NEAR_MAX).min_by_key(|(distance, _)| *distance).map(|(_, key)| key)
}

/// Letters that near keys differ in.
const NEAR_MAX: usize = 6;

/// The prefix that stands in the file where `prefix` stands in the model, if most keys of the model are found behind it
/// and none behind `prefix`.
pub fn other_prefix<'a>(
    prefix: &str,
    wanted: impl IntoIterator<Item = &'a str>,
    given: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let rests: Vec<&str> = wanted.into_iter().filter_map(|key| key.strip_prefix(prefix)).collect();
    let given: HashSet<&str> = given.into_iter().collect();
    let found = |prefix: &str| rests.iter().filter(|rest| given.contains(format!("{prefix}{rest}").as_str())).count();
    if rests.is_empty() || found(prefix) > 0 {
        return None;
    }
    // A long key says most about what stands before it.
    let longest = rests.iter().max_by_key(|rest| rest.len())?;
    let candidates: HashSet<&str> = given
        .iter()
        .filter_map(|key| key.strip_suffix(longest))
        .filter(|before| before.is_empty() || before.ends_with('.'))
        .collect();
    let best = candidates.into_iter().map(|before| (found(before), before)).max()?;
    (best.0 * 2 > rests.len()).then(|| best.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(keys: &[(&'static str, &[i64])]) -> Vec<(&'static str, Vec<i64>)> {
        keys.iter().map(|(key, shape)| (*key, shape.to_vec())).collect()
    }

    #[test]
    fn misfits_are_told_with_near_names() {
        let wanted = shaped(&[("net.conv_in.weight", &[4, 3]), ("net.norm.bias", &[4]), ("net.out.weight", &[2])]);
        let given = shaped(&[("net.conv_im.weight", &[4, 3]), ("net.norm.bias", &[5]), ("else", &[1])]);
        let report = KeyReport::new(wanted.clone(), given);
        assert_eq!(report.missing, ["net.conv_in.weight", "net.out.weight"]);
        assert_eq!(report.unexpected, ["net.conv_im.weight", "else"]);
        let text = report.to_string();
        assert!(
            text.contains("missing in the file: 2 keys: `net.conv_in.weight` (the file has `net.conv_im.weight`)"),
            "{text}"
        );
        assert!(text.contains("`net.norm.bias` is [5] instead of [4]"), "{text}");
        assert!(KeyReport::new(wanted.clone(), wanted).is_empty());
    }

    #[test]
    fn long_lists_are_cut() {
        let keys: Vec<String> = (0..30).map(|i| format!("block.{i}")).collect();
        let report = KeyReport::new(keys.iter().map(|key| (key.as_str(), vec![1])), []);
        assert!(report.to_string().ends_with("`block.7`, and 22 more"));
    }

    #[test]
    fn another_prefix_is_found() {
        let wanted = ["model.diffusion_model.a.weight", "model.diffusion_model.b.bias", "first.c"];
        let find = |given: &[&'static str]| other_prefix("model.diffusion_model.", wanted, given.iter().copied());
        assert_eq!(find(&["a.weight", "b.bias"]), Some(String::new()));
        assert_eq!(find(&["module.unet.a.weight", "module.unet.b.bias", "x"]), Some("module.unet.".to_owned()));
        assert_eq!(find(&["model.diffusion_model.a.weight", "a.weight", "b.bias"]), None);
        assert_eq!(find(&["x", "y"]), None);
    }
}
