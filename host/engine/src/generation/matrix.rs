//! The matrix of times and views: what a window makes is what later ones are told.

use anneal_torch::grad_mode;
use anneal_torch::random::Stream;
use tch::{Device, Tensor};

use super::Window;
use crate::data::Batch;
use crate::diffusion::{Model, Progress, RowNoise, Sampling, Told};
use crate::error::ComponentError;
use crate::first_stage::LatentCodec;

/// What is to be made: the views of each time of a video.
pub struct Matrix<'a> {
    /// The windows that make it, in order.
    pub windows: &'a [Window],
    /// Views of a time.
    pub num_views: i64,
    /// The views of the first time `[v, 3, h, w]`, where they are given.
    pub given: Option<Tensor>,
    /// Seed of the noise.
    pub seed: u64,
    /// The scene's number: another one has other noise.
    pub sample_id: u64,
}

/// Makes the batch of some times, told the views of one of them or none, and says which entries it is to do without.
pub type BatchOf<'a, E> = dyn Fn(&[usize], Option<&Tensor>) -> Result<(Batch, Vec<String>), E> + 'a;

impl Matrix<'_> {
    /// Samples the windows and decodes what they made.
    ///
    /// `batch_of` makes the batch in which the model sees the given times, in that order; with the views `[v, 3, h, w]` that
    /// it is told, or with none, and then with the entries that it is to do without. Noise belongs to a time and a view of
    /// the video, whichever window makes them, and views are decoded one by one before a window is told of them, so the
    /// latents do not depend on how many are decoded at once.
    ///
    /// # Shapes
    /// - result: `[t*v, 3, h, w]`, the views of a time together
    ///
    /// # Errors
    /// When a component or `batch_of` fails, or `progress` stops the solver.
    pub fn run<E: From<ComponentError>>(
        &self,
        model: &Model,
        sampling: &mut Sampling,
        batch_of: &BatchOf<'_, E>,
        progress: &mut Progress<'_>,
    ) -> Result<Tensor, E> {
        let _no_grad = grad_mode::no_grad();
        let num_times = self.windows.iter().flat_map(|window| &window.times).max().map_or(0, |last| last + 1);
        let mut made = Made { given: self.given.as_ref(), latents: (0..num_times).map(|_| None).collect() };
        let (mut done, num_windows) = (0, self.windows.len() as u32);
        for window in self.windows {
            let tell = |times: &[usize], of: Option<usize>| -> Result<(Told, [i64; 4], Device), E> {
                let views = of.map(|time| made.views(time, &model.first_stage));
                let (batch, absent) = batch_of(times, views.as_ref())?;
                let told = sampling.told(model, &batch, self.seed, &absent)?;
                Ok((told, model.latent_shape(&batch)?, model.input(&batch)?.device()))
            };
            let (forward, shape, device) = tell(&window.times, window.forward)?;
            let mut told = vec![forward];
            if window.backward.is_some() {
                let reversed: Vec<usize> = window.times.iter().rev().copied().collect();
                let (backward, ..) = tell(&reversed, window.backward)?;
                // Even steps walk backwards, as the reference's do.
                told.insert(0, backward.in_reverse(window.times.len() as i64));
            }
            let noise =
                RowNoise { streams: self.streams(&window.times), of_stream: [&[1], &shape[1..]].concat(), device };
            let mut progress = |step, total, sigma| progress(done + step, num_windows * total, sigma);
            let latents = sampling.run_told(model, &told, noise, &mut progress)?;
            made.keep(window, &latents, self.num_views);
            done += sampling.num_steps;
        }
        Ok(made.pictures(&model.first_stage))
    }

    /// A stream for each view of each of the times.
    fn streams(&self, times: &[usize]) -> Vec<Stream> {
        let of_view =
            |time: usize, view: i64| Stream::new(self.seed, &format!("sampling/{view}"), self.sample_id, time as u64);
        times.iter().flat_map(|&time| (0..self.num_views).map(move |view| of_view(time, view))).collect()
    }
}

/// What there is so far.
struct Made<'a> {
    /// The views of the first time, where they are given.
    given: Option<&'a Tensor>,
    /// `[v, c, h, w]` of each time that was made.
    latents: Vec<Option<Tensor>>,
}

impl Made<'_> {
    /// The views of a time as pictures in `[-1, 1]`.
    fn views(&self, time: usize, codec: &LatentCodec) -> Tensor {
        match (self.given, &self.latents[time]) {
            (Some(given), _) if time == 0 => given.shallow_clone(),
            (_, Some(latents)) => codec.decode(latents, 1).clamp(-1.0, 1.0),
            (_, None) => panic!("the plan tells a window of views of time {time} before they are made"),
        }
    }

    fn keep(&mut self, window: &Window, latents: &Tensor, num_views: i64) {
        for time in window.makes() {
            let row = window.times.iter().position(|&at| at == time).unwrap_or_default() as i64;
            self.latents[time] = Some(latents.narrow(0, row * num_views, num_views));
        }
    }

    /// All pictures `[t*v, 3, h, w]`. The times of a view are decoded as one video.
    fn pictures(&self, codec: &LatentCodec) -> Tensor {
        let latents: Vec<&Tensor> = self.latents.iter().flatten().collect();
        let num_times = latents.len() as i64;
        let of_views = Tensor::stack(&latents, 1); // t of [v, c, h, w] -> [v, t, c, h, w]
        let num_views = of_views.size()[0];
        let decoded = codec.decode(&of_views.flatten(0, 1), num_times).unflatten(0, [num_views, num_times].as_slice());
        let decoded = decoded.transpose(0, 1).flatten(0, 1); // [v, t, ..] -> [t*v, ..]
        match self.given {
            Some(given) => Tensor::cat(&[given.to_device(decoded.device()), decoded], 0),
            None => decoded,
        }
    }
}
