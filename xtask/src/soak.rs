//! `cargo xtask soak`: a long run of a small model, watched for what grows.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::paths::Paths;
use crate::{anneal, process};

/// The demo's config made small, with everything on that a run does now and then.
const SETS: [&str; 15] = [
    "data.source.size=16",
    "data.source.num_views=4",
    "model.embedders.0.n_copies=4",
    "model.network.model_channels=32",
    "model.network.channel_mult=[1,1]",
    "model.network.attention_resolutions=[2]",
    "run.device=cpu",
    "sampling.num_steps=2",
    "logging.preview_scenes=1",
    "logging.preview_every_steps=500",
    "train.checkpoint_every_steps=500",
    "train.keep_last=2",
    "data.workers=1",
    "run.threads=1",
    "validation={every_steps=500,scenes=1,sigmas=[1.0],sample=false}",
];

/// How often the process is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// The part of a run before it counts: what is made once is made by then.
const WARM_UP: f64 = 0.1;

/// What a process holds at a time.
struct Look {
    seconds: f64,
    memory_mib: f64,
    descriptors: usize,
    threads: usize,
}

/// Trains so many steps, and prints what the process held and how fast it was, first and last.
///
/// # Errors
/// When set-up or training fails.
pub fn run(paths: &Paths, steps: u64) -> Result<(), Failure> {
    let program = anneal::command(paths)?.get_program().to_owned();
    let dir = std::env::temp_dir().join(format!("anneal-soak-{}", std::process::id()));
    let mut train = Command::new(program);
    train.arg("train").arg(paths.root.join("configs/demo.toml")).arg("--quiet");
    let more = [format!("run.dir={}", dir.display()), format!("train.steps={steps}")];
    for set in SETS.iter().copied().chain(more.iter().map(String::as_str)) {
        train.args(["--set", set]);
    }
    let mut child = train.env("OMP_NUM_THREADS", "1").stdout(Stdio::null()).spawn().map_err(|error| {
        Failure::new(format!("anneal cannot be started: {error}"), "run `cargo xtask anneal --help` to see why")
    })?;
    let looks = watch(&mut child)?;
    let seconds = seconds_of_steps(&dir.join("metrics.jsonl"))?;
    let told = report(&looks, &seconds);
    // The figures are what is wanted; a folder that stays is a pity only.
    let _ = fs::remove_dir_all(&dir);
    println!("{}", told.ok_or_else(|| Failure::new("the run was too short to be looked at", "give more --steps"))?);
    Ok(())
}

fn watch(child: &mut Child) -> Result<Vec<Look>, Failure> {
    let (start, mut looks) = (Instant::now(), Vec::new());
    loop {
        let ended = child.try_wait().map_err(|error| Failure::new(format!("anneal is lost: {error}"), ""))?;
        match ended {
            Some(status) if status.success() => return Ok(looks),
            Some(status) => return Err(Failure::silent(process::exit_code(status))),
            None => looks.extend(look(child.id(), start.elapsed().as_secs_f64())),
        }
        std::thread::sleep(EVERY);
    }
}

fn look(pid: u32, seconds: f64) -> Option<Look> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |key: &str| -> Option<f64> {
        status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let (memory_mib, threads) = (number("VmRSS:")? / 1024.0, number("Threads:")? as usize);
    Some(Look { seconds, memory_mib, descriptors, threads })
}

/// Seconds of each step, in their order.
fn seconds_of_steps(metrics: &Path) -> Result<Vec<f64>, Failure> {
    let text = fs::read_to_string(metrics).map_err(|error| Failure::file("read", metrics, &error))?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    Ok(lines.filter_map(|line| line["seconds"].as_f64()).collect())
}

/// A table of the start, after what is made once, and the end; none where there is too little.
fn report(looks: &[Look], seconds: &[f64]) -> Option<String> {
    let end = looks.last()?.seconds;
    let looks: Vec<&Look> = looks.iter().filter(|look| look.seconds >= WARM_UP * end).collect();
    let seconds = seconds.get((WARM_UP * seconds.len() as f64) as usize..)?;
    let tenth = (seconds.len() / 10).max(1);
    if looks.len() < 10 || seconds.len() < 10 {
        return None;
    }
    let (first, last) = (looks.first()?, looks.last()?);
    let points: Vec<(f64, f64)> = looks.iter().map(|look| (look.seconds, look.memory_mib)).collect();
    let rate = |part: &[f64]| 1.0 / median(part);
    let lines = [
        "| | First | Last |".to_owned(),
        "| --- | ---: | ---: |".to_owned(),
        format!("| resident memory, MiB | {:.1} | {:.1} |", first.memory_mib, last.memory_mib),
        format!("| open descriptors | {} | {} |", first.descriptors, last.descriptors),
        format!("| threads | {} | {} |", first.threads, last.threads),
        format!(
            "| steps a second (median of a tenth of the run) | {:.1} | {:.1} |",
            rate(&seconds[..tenth]),
            rate(&seconds[seconds.len() - tenth..])
        ),
        String::new(),
        format!("memory grows by {:.3} MiB a minute (Theil and Sen's slope)", 60.0 * slope(&points)),
    ];
    Some(lines.join("\n"))
}

/// The median of the slopes between all pairs of points (Theil 1950, Sen 1968), which outliers hardly move.
fn slope(points: &[(f64, f64)]) -> f64 {
    let pairs = points.iter().enumerate().flat_map(|(i, a)| points[i + 1..].iter().map(move |b| (a, b)));
    let slopes: Vec<f64> = pairs.filter(|(a, b)| b.0 > a.0).map(|(a, b)| (b.1 - a.1) / (b.0 - a.0)).collect();
    median(&slopes)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_not_moved_by_a_jump() {
        let points: Vec<(f64, f64)> = (0..50).map(|i| (f64::from(i), if i < 3 { 900.0 } else { 100.0 })).collect();
        assert_eq!(slope(&points), 0.0);
        let points: Vec<(f64, f64)> = (0..50).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        assert_eq!(slope(&points), 2.0);
    }

    #[test]
    fn a_report_leaves_out_the_start() {
        let look = |i: u32| Look {
            seconds: f64::from(i),
            memory_mib: if i < 5 { 10.0 } else { 100.0 },
            descriptors: 9,
            threads: 3,
        };
        let looks: Vec<Look> = (0..100).map(look).collect();
        let seconds = vec![0.5; 200];
        let told = report(&looks, &seconds).unwrap();
        assert!(told.contains("| resident memory, MiB | 100.0 | 100.0 |") && told.contains("2.0 | 2.0 |"), "{told}");
        assert!(report(&looks[..3], &seconds).is_none());
    }
}
