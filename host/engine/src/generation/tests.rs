//! A matrix made by a model that is known: what it is told at each step, and what comes out.

use std::sync::{Arc, Mutex};

use anneal_nn::{Network, NetworkInput};
use anneal_torch::random::Stream;
use image::{Rgb, RgbImage};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::conditioner::{
    Conditioner, DropRule, Embedded, Embedder, EmbedderCall, EmbedderInput, EmbedderUse, ParamDecl,
};
use crate::config::Polar;
use crate::data::given::{ViewsLayout, batch_of, planes_of, views_scene};
use crate::data::{Batch, Place};
use crate::diffusion::{Denoise, Denoiser, Discretization, Model, Sampler, Sampling, Scaling, Wrapper};
use crate::error::ComponentError;
use crate::first_stage::{FirstStage, LatentCodec};

const VIEWS: usize = 2;
const STEPS: u32 = 4;

/// Gives an entry to the network as it is.
struct AsItIs;

impl Embedder for AsItIs {
    fn name(&self) -> &str {
        "test/as-it-is"
    }
    fn params(&self) -> &[ParamDecl] {
        &[]
    }
    fn forward(
        &self,
        inputs: &[EmbedderInput<'_>],
        _: &[Tensor],
        _: &mut EmbedderCall<'_>,
    ) -> Result<Vec<Embedded>, ComponentError> {
        let [EmbedderInput::Tensor { tensor, .. }] = inputs else { panic!("one tensor is given") };
        Ok(vec![Embedded { slot: None, tensor: tensor.shallow_clone() }])
    }
}

/// What the network was told in a call: the time of each row, and the grey of each reference view.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    times: Vec<usize>,
    told: Vec<f32>,
}

/// The grey of a frame of the video: `time / 64`, which all ways of computing it keep.
fn grey(time: usize) -> f64 {
    time as f64 / 64.0
}

/// The grey that view `view` of a time is to have.
fn target(time: usize, view: usize) -> f64 {
    grey(time) + view as f64 / 8.0
}

/// Writes down what it is told. With `knows` its denoised row is the target of its time and view, and else the row itself.
struct Known {
    calls: Arc<Mutex<Vec<Call>>>,
    knows: bool,
}

impl Network for Known {
    fn forward(&self, input: &NetworkInput<'_>) -> Tensor {
        let firsts = |tensor: &Tensor, channel: i64| -> Vec<f32> {
            let values = tensor.select(1, channel).select(1, 0).select(1, 0).contiguous();
            Vec::try_from(&values.to_kind(Kind::Float)).unwrap()
        };
        let greys = firsts(input.x, 3);
        let times = greys.iter().map(|grey| (f64::from(*grey) * 64.0).round() as usize).collect();
        self.calls.lock().unwrap().push(Call { times, told: firsts(input.cond_view.unwrap(), 0) });
        let x = input.x.narrow(1, 0, 3);
        if !self.knows {
            return x.zeros_like();
        }
        let greys: Vec<f32> = greys.iter().enumerate().map(|(row, grey)| grey + (row % VIEWS) as f32 / 8.0).collect();
        let wanted = Tensor::from_slice(&greys).view([-1, 1, 1, 1]);
        // Noise prediction: denoised = x - sigma * F(x / sqrt(sigma^2 + 1); sigma).
        let sigma = input.c_noise.view([-1, 1, 1, 1]);
        (x * (&sigma * &sigma + 1.0).sqrt() - wanted) / sigma
    }
}

/// Euler's method, without a plugin.
struct Euler;

impl Sampler for Euler {
    fn sample(&mut self, mut x: Tensor, sigmas: &[f64], model: &mut dyn Denoise) -> Result<Tensor, ComponentError> {
        for (i, pair) in sigmas.windows(2).enumerate() {
            let denoised = model.denoise(&x, pair[0])?;
            x = &x + (&x - denoised) * ((pair[1] - pair[0]) / pair[0]);
            assert!(model.progress(i as u32 + 1, sigmas.len() as u32 - 1, pair[1]));
        }
        Ok(x)
    }
}

struct Halves;

impl Discretization for Halves {
    fn sigmas(&mut self, n: u32) -> Result<Vec<f64>, ComponentError> {
        Ok((0..n).map(|i| 4.0 / f64::from(1 << i)).collect())
    }
}

/// Adds to each frame what it is decoded with, as video decoders mix frames.
struct Mixing;

impl FirstStage for Mixing {
    fn moments(&self, x: &Tensor) -> Tensor {
        x.shallow_clone()
    }
    fn code(&self, moments: &Tensor, _noise: &Tensor) -> Tensor {
        moments.shallow_clone()
    }
    fn code_shape(&self, image: [i64; 3]) -> [i64; 3] {
        image
    }
    fn decode(&self, z: &Tensor) -> Tensor {
        z + (z.sum_dim_intlist([0].as_slice(), true, Kind::Float) - z) * 0.25
    }
}

fn model(knows: bool, chunk: Option<i64>) -> (Model, Arc<Mutex<Vec<Call>>>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let uses = ["cond_frames", "cond_view"].map(|key| EmbedderUse {
        embedder: Box::new(AsItIs),
        params: Vec::new(),
        input_keys: vec![key.to_owned()],
        drop: DropRule { rate: 0.0, group: None, legacy_value: None },
        is_trainable: false,
        cached: None,
        off_loaded: crate::off_load::OffLoaded::default(),
    });
    let model = Model {
        input_key: "image".to_owned(),
        extra_inputs: Vec::new(),
        first_stage: LatentCodec::new(Box::new(Mixing), 1.0, chunk, None),
        conditioner: Conditioner::new(uses.into(), false),
        network: Wrapper::new(Box::new(Known { calls: calls.clone(), knows }), None),
        denoiser: Denoiser { scaling: Scaling::Eps, table: None },
    };
    (model, calls)
}

fn layout() -> ViewsLayout {
    let place = |azimuth| Place { azimuth, elevation: 0.0 };
    let places = vec![place(1.0), place(2.0)];
    ViewsLayout {
        num_times: 3,
        places,
        cond_place: place(0.0),
        cond_idx: None,
        polar: Polar::Absolute,
        has_rays: false,
    }
}

/// Makes a matrix, and says what the network was told. Frame `time` of the video has grey `grey(time)`.
fn run(windows: &[Window], given: bool, knows: bool, chunk: Option<i64>) -> (Tensor, Vec<Call>) {
    let (model, calls) = model(knows, chunk);
    let mut sampling = Sampling {
        num_steps: STEPS,
        sampler: Box::new(Euler),
        discretization: Box::new(Halves),
        guidance: None,
        force_uc_zero: None,
        additional_cond_keys: vec!["cond_view".to_owned()],
    };
    let batch = |times: &[usize], told: Option<&Tensor>| -> Result<(Batch, Vec<String>), ComponentError> {
        let frames = times.iter().map(|&time| vec![grey(time) as f32; 12]).collect::<Vec<_>>().concat();
        let told = told.map(|told| Vec::<f32>::try_from(&told.contiguous().view([-1])).unwrap());
        let absent = if told.is_none() { vec!["cond_view".to_owned()] } else { Vec::new() };
        let sample = views_scene([2, 2], frames, told.as_deref(), &layout());
        Ok((batch_of(&sample, &[0], Device::Cpu).unwrap(), absent))
    };
    let first: Vec<f32> = (0..VIEWS).flat_map(|view| vec![target(0, view) as f32; 12]).collect();
    let given = given.then(|| Tensor::from_slice(&first).view([VIEWS as i64, 3, 2, 2]));
    let matrix = Matrix { windows, num_views: VIEWS as i64, given, seed: 5, sample_id: 0 };
    let mut steps = Vec::new();
    let made = matrix.run(&model, &mut sampling, &batch, &mut |step, total, _| {
        steps.push((step, total));
        true
    });
    let total = STEPS * windows.len() as u32;
    assert_eq!(steps, (1..=total).map(|step| (step, total)).collect::<Vec<_>>(), "progress runs through all windows");
    let calls = calls.lock().unwrap().clone();
    (made.unwrap(), calls)
}

fn greys(pictures: &Tensor) -> Vec<f64> {
    Vec::try_from(pictures.select(1, 0).select(1, 0).select(1, 0).contiguous().to_kind(Kind::Double)).unwrap()
}

fn close(got: &[f64], expected: &[f64]) -> bool {
    got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4)
}

fn views_of(time: Option<usize>) -> Vec<f64> {
    (0..VIEWS).map(|view| time.map_or(0.0, |time| target(time, view))).collect()
}

#[test]
fn steps_walk_backwards_and_forwards_in_turn_and_denoise_every_view_once() {
    let windows = plan(Scheme::Anchored, 8, 3, true).unwrap();
    let (made, calls) = run(&windows, true, true, Some(1));
    assert_eq!(calls.len(), windows.len() * STEPS as usize, "one call a step and window");
    for (window, calls) in windows.iter().zip(calls.chunks(STEPS as usize)) {
        for (step, call) in calls.iter().enumerate() {
            let is_backward = window.backward.is_some() && step % 2 == 0;
            let mut times = window.times.clone();
            if is_backward {
                times.reverse();
            }
            let rows: Vec<usize> = times.iter().flat_map(|&time| [time; VIEWS]).collect();
            assert_eq!(call.times, rows, "step {step} of {window:?}");
            let told: Vec<f64> = call.told.iter().map(|grey| f64::from(*grey)).collect();
            let wanted = views_of(if is_backward { window.backward } else { window.forward });
            assert!(close(&told, &wanted), "step {step} of {window:?} is told {told:?}");
        }
    }
    let wanted: Vec<f64> = (0..8).flat_map(|time| views_of(Some(time))).collect();
    assert!(close(&greys(&made), &wanted), "{:?}", greys(&made));
}

#[test]
fn without_views_the_first_window_is_told_none() {
    let windows = plan(Scheme::Rolling, 6, 3, false).unwrap();
    let (made, calls) = run(&windows, false, true, Some(1));
    let told: Vec<Vec<f64>> =
        calls.iter().step_by(STEPS as usize).map(|call| call.told.iter().map(|v| f64::from(*v)).collect()).collect();
    for (told, time) in told.iter().zip([None, Some(2), Some(3)]) {
        assert!(close(told, &views_of(time)), "{told:?}");
    }
    assert_eq!(made.size(), [12, 3, 2, 2]);
}

#[test]
fn noise_belongs_to_a_time_and_a_view_whatever_the_windows() {
    // The network says that rows are clean as they are, so the solver leaves the noise alone.
    let scale = (1.0_f64 + 16.0).sqrt();
    for (scheme, num_times) in [(Scheme::Rolling, 6), (Scheme::Anchored, 7)] {
        let windows = plan(scheme, num_times, 3, false).unwrap();
        let (made, _) = run(&windows, false, false, Some(1));
        for time in 0..num_times {
            for view in 0..VIEWS {
                let mut stream = Stream::new(5, &format!("sampling/{view}"), 0, time as u64);
                let noise = stream.normal_tensor(&[3, 2, 2]) * scale;
                let row = made.get((time * VIEWS + view) as i64);
                assert!(row.allclose(&noise, 1e-5, 1e-5, false), "time {time}, view {view}, {scheme:?}");
            }
        }
    }
}

#[test]
fn how_many_are_decoded_at_once_changes_nothing_that_the_model_sees() {
    let windows = plan(Scheme::Anchored, 7, 3, true).unwrap();
    let (one, seen) = run(&windows, true, false, Some(1));
    for chunk in [None, Some(2), Some(5)] {
        let (made, calls) = run(&windows, true, false, chunk);
        assert_eq!(calls, seen);
        assert!(!made.equal(&one), "this decoder mixes what it decodes together");
    }
}

#[test]
fn planes_of_pictures_are_told_as_they_are() {
    let pictures = [40, 90].map(|grey| RgbImage::from_pixel(2, 2, Rgb([grey; 3])));
    let sample = views_scene([2, 2], vec![0.5; 36], Some(&planes_of(&pictures)), &layout());
    let batch = batch_of(&sample, &[3], Device::Cpu).unwrap();
    assert_eq!(batch.tensors["cond_view"].size(), [2, 3, 2, 2]);
    let told = greys(&batch.tensors["cond_view"]);
    assert!(close(&told, &[40.0 / 127.5 - 1.0, 90.0 / 127.5 - 1.0]), "{told:?}");
    assert_eq!((batch.frames_per_scene, batch.integers["num_views"], batch.sample_ids[0]), (6, 2, 3));
}
