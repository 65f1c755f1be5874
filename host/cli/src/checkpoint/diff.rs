//! `anneal checkpoint diff`: where two sets of weights differ.

use std::path::PathBuf;

use anneal::layouts::Source;
use anneal::weights::KeyReport;
use clap::Args;
use tch::{Kind, Tensor};

use super::wanted;
use crate::exit::{Exit, Failure};

/// Arguments of `checkpoint diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// The first: a file, a run or its checkpoint, or a diffusers folder.
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The second.
    #[arg(value_name = "B")]
    second: PathBuf,
    /// Of runs: the moving averages in place of the weights they follow.
    #[arg(long)]
    ema: bool,
    /// Only keys that begin with this.
    #[arg(long, default_value = "", value_name = "PREFIX")]
    prefix: String,
    /// Most tensors that are listed, those that differ most first.
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,
}

/// How much a tensor differs.
struct Difference {
    key: String,
    largest: f64,
    relative: f64,
    kinds: Option<(Kind, Kind)>,
}

impl Diff {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        // Averages are a matter of runs, which are folders.
        let open = |path: &PathBuf| Source::open(path, wanted(self.ema && path.is_dir()));
        let (mut first, mut second) = (open(&self.first)?, open(&self.second)?);
        let shapes = |source: &Source| -> Vec<(String, Vec<i64>)> {
            let entries = source.entries().filter(|(key, _)| key.starts_with(&self.prefix));
            entries.map(|(key, entry)| (key.to_owned(), entry.shape.clone())).collect()
        };
        let (ours, theirs) = (shapes(&first), shapes(&second));
        let report = KeyReport::new(borrowed(&ours), borrowed(&theirs));
        let listed = |what: &str, keys: &[String]| {
            if !keys.is_empty() {
                println!("{} keys {what}:", keys.len());
                keys.iter().take(self.top).for_each(|key| println!("  {key}"));
                println!("{}", if keys.len() > self.top { "  ..\n" } else { "" });
            }
        };
        listed(&format!("only in {}", first.path.display()), &report.missing);
        listed(&format!("only in {}", second.path.display()), &report.unexpected);
        for one in &report.misshapen {
            println!("{}: {:?} and {:?}", one.key, one.wanted, one.given);
        }
        let (mut same, mut differ) = (0, Vec::new());
        for (key, shape) in &ours {
            if !theirs.iter().any(|(other, other_shape)| other == key && other_shape == shape) {
                continue;
            }
            let (Some(a), Some(b)) = (first.tensor(key)?, second.tensor(key)?) else { continue };
            match difference(key, &a, &b) {
                None => same += 1,
                Some(difference) => differ.push(difference),
            }
        }
        // Not a number is the largest difference of all.
        let rank =
            |difference: &Difference| if difference.largest.is_nan() { f64::INFINITY } else { difference.largest };
        differ.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        println!("{same} tensors are equal, {} differ", differ.len());
        for difference in differ.iter().take(self.top) {
            let kinds = difference.kinds.map_or(String::new(), |(a, b)| format!("  {a:?} and {b:?}"));
            println!(
                "  {:.3e} (of {:.1e} of the largest)  {}{kinds}",
                difference.largest, difference.relative, difference.key
            );
        }
        Ok(if report.is_empty() && differ.is_empty() { Exit::Done } else { Exit::Differs })
    }
}

fn borrowed(all: &[(String, Vec<i64>)]) -> Vec<(&str, Vec<i64>)> {
    all.iter().map(|(key, shape)| (key.as_str(), shape.clone())).collect()
}

/// None where kind and every bit of value are the same.
fn difference(key: &str, a: &Tensor, b: &Tensor) -> Option<Difference> {
    let kinds = (a.kind() != b.kind()).then(|| (a.kind(), b.kind()));
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    if kinds.is_none() && a.equal(&b) {
        return None;
    }
    let largest = |t: &Tensor| if t.numel() == 0 { 0.0 } else { t.abs().max().double_value(&[]) };
    let (off, scale) = (largest(&(&a - &b)), largest(&a));
    Some(Difference { key: key.to_owned(), largest: off, relative: if scale > 0.0 { off / scale } else { off }, kinds })
}
