//! `anneal sample`: pictures from a trained run.

mod given;
mod outputs;

use std::path::PathBuf;

use anneal::assemble::{SampleSettings, SavedRun, TrainedRun};
use anneal::config::Environment;
use anneal::trainer::{captions, condition_pictures};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tch::Tensor;

use self::given::{GivenArgs, Request, ValuesRequest};
use self::outputs::{OutputArgs, Results};
use crate::PluginArgs;
use crate::exit::{Exit, Failure};
use crate::signals::{GRACE, Signals, exit_of};

/// Sample from a trained run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  anneal sample runs/demo --num 4                        # under conditions of the run's data source
  anneal sample runs/mnist_cond --condition class=3 --num 4
  anneal sample runs/txt2img-clipl --condition \"caption=a fox in the snow\" --size 320x192
  anneal sample runs/demo --sampler heun-edm --steps 30 --seed 7
  anneal sample runs/svd --image photo.png --motion-bucket 127 --frames-per-second 7 --format mp4
  anneal sample runs/sv3d --image cup.png --fill-ratio 0.8 --elevations 10 --format png --format gif
  anneal sample runs/sv4d --video walk.mp4 --orbit-run runs/sv3d       # anchors, then windows between them
  anneal sample runs/sv4d2 --video walk_frames --azimuths 60,120,180,240    # window after window

Writes sheet.png (what was given and the samples, labelled), samples.png, and the files of each scene in every --format; of
views over time a clip a view and a grid of views by times. docs/sampling.md says more.")]
pub struct Sample {
    /// The run's folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Scenes of the data source (4 if not given), or samples of each given picture or video, or of the given values (1 if not
    /// given).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65536))]
    num: Option<u64>,
    /// Steps of the solver; the config's if not given.
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// The solver, by plugin name, with its default settings; the config's if not given.
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// Seed of scenes and noise; the run's own if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Step of the checkpoint; the newest if not given.
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<u64>,
    /// Sample the moving average of the weights, whatever the config says.
    #[arg(long, overrides_with = "no_ema")]
    ema: bool,
    /// Sample the weights themselves, whatever the config says.
    #[arg(long, overrides_with = "ema")]
    no_ema: bool,
    /// Frames decoded at a time; the config's `model.en_and_decode_n_samples_a_time` if not given. A video decoder mixes the
    /// frames that it decodes together.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    decode_at_a_time: Option<i64>,
    /// Where the pictures go; RUN/samples/step-N-seed-S if not given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    given: GivenArgs,
    #[command(flatten)]
    outputs: OutputArgs,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl Sample {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let signals = Signals::listen(GRACE)?;
        self.outputs.check()?;
        let settings = SampleSettings {
            num_steps: self.steps,
            sampler: self.sampler.clone(),
            seed: self.seed,
            checkpoint: self.checkpoint,
            use_ema: (self.ema || self.no_ema).then_some(self.ema),
            decode_at_a_time: self.decode_at_a_time,
            cond_aug: self.given.cond_aug(),
        };
        let saved = SavedRun::open(&self.run, &settings, &self.plugins.plugin_dirs, &Environment::read())?;
        let mut steps = Steps { signals: &signals, bar: None };
        let request = self.given.request(&saved, self.num, &self.outputs.ffmpeg())?;
        let request = match self.given.orbit_run() {
            Some(orbit) => {
                let settings = SampleSettings { seed: Some(saved.seed()), ..SampleSettings::default() };
                let orbit = SavedRun::open(orbit, &settings, &self.plugins.plugin_dirs, &Environment::read())?;
                let layout = orbit.layout()?;
                let request = request.with_orbit(&layout, orbit.build()?, &mut steps);
                if let Some(signal) = signals.received() {
                    return Ok(exit_of(signal));
                }
                request?
            }
            None => request,
        };
        let mut run = saved.build()?;
        let results = sample(&mut run, &request, &mut steps);
        if let Some(signal) = signals.received() {
            return Ok(exit_of(signal));
        }
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| self.run.join("samples").join(format!("step-{}-seed-{}", run.step, run.seed)));
        let sheet = self.outputs.write(&results?, &run.config.logging, &out)?;
        println!("{}", sheet.display());
        Ok(Exit::Done)
    }
}

/// Samples all that is asked for.
fn sample(run: &mut TrainedRun, request: &Request, steps: &mut Steps<'_>) -> Result<Results, Failure> {
    match request {
        Request::Source(batch) => {
            let samples = run.sample(batch, &[], &mut |step, total, sigma| steps.done(step, total, sigma))?;
            let inputs = run.model.input(batch)?;
            let mut rows = vec![("inputs".to_owned(), inputs.shallow_clone())];
            rows.extend(condition_pictures(&run.model, batch));
            let num_views = batch.integers.get("num_views").map_or(1, |views| *views as usize);
            let captions = captions(batch);
            let beside = Some(inputs.shallow_clone());
            Ok(Results { rows, samples, beside, captions, num_scenes: batch.sample_ids.len(), num_views })
        }
        Request::Values(asked) => sample_values(run, asked, steps),
        Request::Pictures(pictures) => {
            let (mut given, mut samples, mut captions) = (Vec::new(), Vec::new(), Vec::new());
            for picture in pictures {
                let batch = run.batch_of(&picture.scene, &[picture.sample_id])?;
                let made = run
                    .sample(&batch, &picture.scene.absent, &mut |step, total, sigma| steps.done(step, total, sigma))?;
                // The conditioning view is there already.
                if let Some(view) = picture.cond_idx {
                    made.narrow(0, view as i64, 1).copy_(&batch.tensors["cond_image"]);
                }
                given.push(batch.tensors["cond_image"].shallow_clone());
                samples.push(made);
                captions.push(picture.caption.clone());
            }
            Ok(Results {
                rows: vec![("given".to_owned(), Tensor::cat(&given, 0))],
                samples: Tensor::cat(&samples, 0),
                beside: None,
                captions,
                num_scenes: pictures.len(),
                num_views: pictures.first().map_or(1, |picture| picture.num_views),
            })
        }
        Request::Video(video) => {
            let (mut given, mut samples) = (Vec::new(), Vec::new());
            for sample_id in 0..video.num {
                samples.push(
                    run.sample_video(&video.asked(sample_id), &mut |step, total, sigma| {
                        steps.done(step, total, sigma)
                    })?,
                );
                given.push(video.tensor());
            }
            Ok(Results {
                rows: vec![("given".to_owned(), Tensor::cat(&given, 0))],
                samples: Tensor::cat(&samples, 0),
                beside: None,
                captions: vec![video.caption.clone(); video.num as usize],
                num_scenes: video.num as usize,
                num_views: video.views.places.len(),
            })
        }
    }
}

/// Samples of values alone, as many at once as there are scenes in a batch of the training.
fn sample_values(run: &mut TrainedRun, asked: &ValuesRequest, steps: &mut Steps<'_>) -> Result<Results, Failure> {
    let sample_ids: Vec<u64> = (0..asked.num).collect();
    let mut samples = Vec::new();
    for ids in sample_ids.chunks(run.config.data.batch_size.max(1)) {
        let batch = run.batch_of(&asked.scene, ids)?;
        let absent = &asked.scene.absent;
        samples.push(run.sample(&batch, absent, &mut |step, total, sigma| steps.done(step, total, sigma))?);
    }
    Ok(Results {
        rows: Vec::new(),
        samples: Tensor::cat(&samples, 0),
        beside: None,
        captions: vec![asked.caption.clone(); sample_ids.len()],
        num_scenes: sample_ids.len(),
        num_views: 1,
    })
}

/// The solver's steps as a person sees them, and the wish to stop.
pub(crate) struct Steps<'a> {
    signals: &'a Signals,
    bar: Option<ProgressBar>,
}

impl Steps<'_> {
    /// Shows a step; false asks the solver to stop.
    pub(crate) fn done(&mut self, step: u32, total: u32, sigma: f64) -> bool {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(u64::from(total));
            let template = "{bar:30} {pos}/{len} {per_sec}  {msg}";
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_length(u64::from(total));
        bar.set_position(u64::from(step));
        bar.set_message(format!("sigma {sigma:.3}"));
        if step >= total {
            bar.finish_and_clear();
            self.bar = None;
        }
        self.signals.received().is_none()
    }
}
