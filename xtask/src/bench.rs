//! `cargo xtask bench`: a training step of ours and of the peer, in turn on this machine, and their ratio.

use std::process::Command;

use clap::Args;

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{anneal, process};

/// diffusers' SVD network with torch's own optimizer: what one would take instead.
const PEER: &str = include_str!("bench_peer.py");

/// Arguments of `bench`.
#[derive(Args)]
pub struct Bench {
    /// Size of the network
    #[arg(long, default_value = "tiny", value_parser = ["tiny", "small", "svd"])]
    size: String,
    /// CPU threads
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// `cpu` (f32) or `cuda` (bf16)
    #[arg(long, default_value = "cpu", value_parser = ["cpu", "cuda"])]
    device: String,
    /// How often the two are run in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Timed steps of a run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// A Python that has torch 2.11.0 and diffusers
    #[arg(long, default_value = "python3")]
    python: String,
}

impl Bench {
    /// Runs the two in turn and prints every run, and the ratio of the medians of their medians.
    ///
    /// # Errors
    /// When Python lacks the peer, or a run fails.
    pub fn run(&self, paths: &Paths) -> Result<(), Failure> {
        if !process::succeeds(Command::new(&self.python).args(["-c", "import diffusers, torch"])) {
            return Err(Failure::new(
                format!("`{}` has no torch and diffusers to compare with", self.python),
                "python3 -m venv peer && peer/bin/pip install torch==2.11.0 diffusers, then --python peer/bin/python",
            ));
        }
        let program = anneal::command(paths)?.get_program().to_owned();
        let [size, device] = [self.size.as_str(), self.device.as_str()];
        let [threads, steps] = [self.threads, self.steps].map(|number| number.to_string());
        // A GPU's first steps choose kernels and take memory.
        let warmup = if device == "cuda" { "4" } else { "1" };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let mut step = Command::new(&program);
            step.args(["bench", "step", "--size", size, "--threads", &threads, "--steps", &steps]);
            step.args(["--warmup", warmup, "--device", device]);
            ours.push(timed(&mut step)?);
            let mut peer = Command::new(&self.python);
            peer.args(["-W", "ignore", "-c", PEER, size, &threads, &steps, warmup, device]);
            theirs.push(timed(&mut peer)?);
        }
        let (ours, theirs) = (middle(ours), middle(theirs));
        println!(
            "{size} on {device}, {threads} thread(s): {ours:.3} s a step, the peer {theirs:.3} s: {:.2}x",
            theirs / ours
        );
        Ok(())
    }
}

/// The median seconds of a step that a command prints, as one line of JSON.
fn timed(command: &mut Command) -> Result<f64, Failure> {
    // Threads that wait awake would take the cores of the one that works.
    let said = process::output(command.env("OMP_WAIT_POLICY", "passive"))?;
    let line = said.lines().last().unwrap_or_default();
    println!("{line}");
    let json: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    json["median_s"].as_f64().ok_or_else(|| Failure::new(format!("no time in `{line}`"), ""))
}

/// The median of some numbers.
fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let half = times.len() / 2;
    if times.len() % 2 == 1 { times[half] } else { f64::midpoint(times[half - 1], times[half]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_even_and_odd_counts() {
        assert_eq!(middle(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(middle(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_last_line_holds_the_time() {
        let print = |text: &str| timed(Command::new("echo").args([text])).ok();
        assert_eq!(print("a warning\n{\"median_s\": 1.5}"), Some(1.5));
        assert_eq!(print("{\"median\": 1.5}"), None);
    }
}
