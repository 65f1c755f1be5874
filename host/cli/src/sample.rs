//! `anneal sample`: pictures from a trained run.

use std::path::PathBuf;

use anneal::assemble::{SampleSettings, TrainedRun};
use anneal::config::{ClipFormat, Environment};
use anneal::logging::{Row, clip_frames, contact_sheet, grid, write_clip, write_png};
use anneal::trainer::{captions, condition_pictures};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::PluginArgs;
use crate::exit::{Exit, Failure};
use crate::signals::{Signals, exit_of};

/// Sample from a trained run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  anneal sample runs/demo --num 4
  anneal sample runs/demo --sampler heun-edm --steps 30 --seed 7

Writes sheet.png (inputs, conditions and samples, one block a scene), samples.png, and for clips one GIF or WebP a scene.")]
pub struct Sample {
    /// The run's folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Scenes to sample, each under the conditions of a scene of the data source.
    #[arg(long, default_value_t = 4)]
    num: usize,
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
    /// Where the pictures go; RUN/samples/step-N-seed-S if not given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    plugins: PluginArgs,
}

impl Sample {
    /// Runs the verb.
    pub fn run(&self) -> Result<Exit, Failure> {
        let signals = Signals::listen()?;
        let settings = SampleSettings {
            num: self.num,
            num_steps: self.steps,
            sampler: self.sampler.clone(),
            seed: self.seed,
            checkpoint: self.checkpoint,
        };
        let mut run = TrainedRun::open(&self.run, &settings, &self.plugins.plugin_dirs, &Environment::read())?;
        let bar = ProgressBar::new(u64::from(run.sampling.num_steps));
        let template = "{bar:30} {pos}/{len} {per_sec}  {msg}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let latents = run.sampling.run(&run.model, &run.batch, run.seed, &mut |step, _, sigma| {
            bar.set_position(u64::from(step));
            bar.set_message(format!("sigma {sigma:.3}"));
            signals.received().is_none()
        });
        bar.finish_and_clear();
        if let Some(signal) = signals.received() {
            return Ok(exit_of(signal));
        }
        let frames = run.batch.frames_per_scene;
        let samples = run.model.first_stage.decode(&latents?, frames);

        let out = self
            .out
            .clone()
            .unwrap_or_else(|| self.run.join("samples").join(format!("step-{}-seed-{}", run.step, run.seed)));
        let inputs = run.model.input(&run.batch)?;
        let conditions = condition_pictures(&run.model, &run.batch);
        let mut rows = vec![Row { label: "inputs", pictures: inputs }];
        rows.extend(conditions.iter().map(|(label, pictures)| Row { label, pictures }));
        rows.push(Row { label: "samples", pictures: &samples });
        let scenes = run.batch.sample_ids.len();
        let sheet = out.join("sheet.png");
        write_png(&contact_sheet(&rows, &captions(&run.batch), scenes), &sheet)?;
        let columns = if frames > 1 { frames as usize } else { (scenes as f64).sqrt().ceil() as usize };
        write_png(&grid(&samples, columns), &out.join("samples.png"))?;
        if frames > 1 {
            let format: ClipFormat = run.config.logging.clip_format;
            for scene in 0..scenes {
                let of_scene = samples.narrow(0, scene as i64 * frames, frames);
                let clip = clip_frames(&[Row { label: "samples", pictures: &of_scene }], 1);
                let path = out.join(format!("sample-{scene}")).with_extension(format.extension());
                write_clip(&clip, run.config.logging.clip_fps, format, &path)?;
            }
            let both = [Row { label: "inputs", pictures: inputs }, Row { label: "samples", pictures: &samples }];
            let path = out.join("beside-inputs").with_extension(format.extension());
            write_clip(&clip_frames(&both, scenes), run.config.logging.clip_fps, format, &path)?;
        }
        println!("{}", sheet.display());
        Ok(Exit::Done)
    }
}
