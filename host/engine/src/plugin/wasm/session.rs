//! A sampling session: the latents a sampler has made, and the model it may call. It stays on the caller's thread, and
//! the guest, on a thread of its own, sends it requests.

use std::collections::HashMap;
use std::rc::Rc;

use tch::{Kind, Tensor};

use super::limits::{self, MESSAGE_CHARS};
use super::state::cut;
use crate::diffusion::Denoise;
use crate::error::{ComponentError, ErrorCode};

/// A request of the guest's.
pub type Job = Box<dyn for<'a, 'b> FnOnce(&'a mut Session<'b>) + Send>;

/// What a sampler said that a run takes, within the host's own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub denoise_calls: u32,
    pub live_latents: u32,
    pub draws_noise: bool,
}

impl Budget {
    /// Holds an estimate to the host's limits.
    ///
    /// # Errors
    /// The message of the limit that it exceeds.
    pub fn admit(self, num_steps: u32) -> Result<Self, String> {
        let calls = limits::denoise_calls(num_steps);
        if self.denoise_calls > calls {
            return Err(format!(
                "estimates {} calls of the model for {num_steps} steps; at most {calls} are allowed",
                self.denoise_calls
            ));
        }
        if self.live_latents > limits::LIVE_LATENTS {
            return Err(format!(
                "estimates {} live latents; at most {} are allowed",
                self.live_latents,
                limits::LIVE_LATENTS
            ));
        }
        Ok(self)
    }
}

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The guest gets an error.
    Error(ErrorCode, String),
    /// The guest has had its error and goes on: it is stopped.
    Stop(String),
}

/// An answer to the guest.
pub type Answer<T> = Result<T, Refusal>;

struct Latent {
    tensor: Rc<Tensor>,
    /// Whether the storage is this session's. What the caller or the model made may be seen elsewhere, so it is never
    /// written to.
    owned: bool,
}

/// A sampling run, as the caller's thread sees it.
pub struct Session<'a> {
    model: &'a mut dyn Denoise,
    latents: HashMap<u32, Latent>,
    next_id: u32,
    budget: Budget,
    calls: u32,
    sigma_max: f64,
    /// The model's own failure, which is what the caller is told.
    pub failure: Option<ComponentError>,
    /// Whether the user asked to stop.
    pub cancelled: bool,
    told: bool,
}

impl<'a> Session<'a> {
    pub fn new(model: &'a mut dyn Denoise, budget: Budget, sigma_max: f64) -> Self {
        let latents = HashMap::new();
        Self { model, latents, next_id: 0, budget, calls: 0, sigma_max, failure: None, cancelled: false, told: false }
    }

    /// Takes in a tensor from outside.
    pub fn insert(&mut self, tensor: Tensor) -> Answer<u32> {
        // Sums are taken in f32 or better.
        let exact = matches!(tensor.kind(), Kind::Float | Kind::Double);
        let tensor = if exact { tensor } else { tensor.to_kind(Kind::Float) };
        self.push(Rc::new(tensor), false)
    }

    fn push(&mut self, tensor: Rc<Tensor>, owned: bool) -> Answer<u32> {
        if self.latents.len() as u32 >= self.budget.live_latents {
            let message = format!("{} latents are alive, as many as were estimated", self.latents.len());
            return Err(Refusal::Error(ErrorCode::BudgetExhausted, message));
        }
        let id = self.next_id;
        self.next_id += 1;
        self.latents.insert(id, Latent { tensor, owned });
        Ok(id)
    }

    fn get(&self, id: u32) -> Answer<&Latent> {
        self.latents.get(&id).ok_or_else(|| Refusal::Stop(format!("latent {id} does not exist")))
    }

    /// Takes out a latent.
    pub fn remove(&mut self, id: u32) -> Option<Tensor> {
        self.latents.remove(&id).map(|latent| latent.tensor.shallow_clone())
    }

    pub fn denoise(&mut self, id: u32, sigma: f64) -> Answer<u32> {
        self.check_cancelled()?;
        if !(sigma > 0.0 && sigma <= 1.5 * self.sigma_max) {
            let message = format!("denoise at sigma {sigma}, which is not in (0, {}]", 1.5 * self.sigma_max);
            return Err(Refusal::Error(ErrorCode::InvalidArgument, message));
        }
        if self.calls >= self.budget.denoise_calls {
            let message = format!("more than {} calls of the model, as many as were estimated", self.calls);
            return Err(Refusal::Error(ErrorCode::BudgetExhausted, message));
        }
        self.calls += 1;
        let x = self.get(id)?.tensor.clone();
        match self.model.denoise(&x, sigma) {
            Ok(denoised) => self.insert(denoised),
            Err(failure) => {
                let refusal = Refusal::Error(failure.code, cut(&failure.to_string(), MESSAGE_CHARS).to_owned());
                self.failure = Some(failure);
                Err(refusal)
            }
        }
    }

    fn check_cancelled(&mut self) -> Answer<()> {
        match (self.cancelled, self.told) {
            (false, _) => Ok(()),
            (true, false) => {
                self.told = true;
                Err(Refusal::Error(ErrorCode::Cancelled, "the run was stopped".to_owned()))
            }
            (true, true) => Err(Refusal::Stop("the sampler went on after the run was stopped".to_owned())),
        }
    }

    pub fn fork(&mut self, id: u32) -> Answer<u32> {
        let (tensor, owned) = (self.get(id)?.tensor.clone(), self.get(id)?.owned);
        self.push(tensor, owned)
    }

    pub fn lincomb(&mut self, terms: &[(f64, u32)]) -> Answer<u32> {
        let Some((&(first, id), rest)) = terms.split_first() else {
            return Err(Refusal::Error(ErrorCode::InvalidArgument, "a linear combination of no latents".to_owned()));
        };
        finite(terms.iter().map(|term| term.0))?;
        let sum = torch(self.get(id)?.tensor.f_mul_scalar(first))?;
        let sum = self.add(sum, rest)?;
        self.push(Rc::new(sum), true)
    }

    pub fn update(&mut self, id: u32, scale: f64, terms: &[(f64, u32)]) -> Answer<()> {
        finite(std::iter::once(scale).chain(terms.iter().map(|term| term.0)))?;
        self.get(id)?;
        // A term that is the latent itself means its value before the update, so then it is not written to.
        let aliased = terms.iter().any(|term| term.1 == id);
        let unique = |latent: &mut Latent| latent.owned && !aliased && Rc::get_mut(&mut latent.tensor).is_some();
        let in_place = self.latents.get_mut(&id).is_some_and(unique);
        let tensor = &self.get(id)?.tensor;
        let scaled = if in_place {
            torch(tensor.shallow_clone().f_mul_scalar_(scale))?
        } else {
            torch(tensor.f_mul_scalar(scale))?
        };
        let sum = self.add(scaled, terms)?;
        self.latents.insert(id, Latent { tensor: Rc::new(sum), owned: true });
        Ok(())
    }

    /// Adds terms to a tensor that nothing else sees.
    fn add(&self, mut sum: Tensor, terms: &[(f64, u32)]) -> Answer<Tensor> {
        for &(coefficient, id) in terms {
            let term = torch(self.get(id)?.tensor.f_mul_scalar(coefficient))?;
            sum = torch(sum.f_add_(&term))?;
        }
        Ok(sum)
    }

    pub fn rms(&self, id: u32) -> Answer<f64> {
        root_mean_square(&self.get(id)?.tensor)
    }

    pub fn error_ratio(&self, id: u32, reference: u32, atol: f64, rtol: f64) -> Answer<f64> {
        let scale = torch(torch(self.get(reference)?.tensor.f_abs())?.f_mul_scalar(rtol))?;
        let scale = torch(scale.f_add_scalar(atol))?;
        root_mean_square(&torch(self.get(id)?.tensor.f_div(&scale))?)
    }

    pub fn shape(&self, id: u32) -> Answer<Vec<u32>> {
        Ok(self.get(id)?.tensor.size().into_iter().map(|size| size as u32).collect())
    }

    pub fn gaussian(&mut self) -> Answer<u32> {
        if !self.budget.draws_noise {
            let message = "noise is drawn, which the estimate excludes".to_owned();
            return Err(Refusal::Error(ErrorCode::BudgetExhausted, message));
        }
        let noise = self.model.gaussian();
        self.insert(noise)
    }

    /// Whether to go on.
    pub fn progress(&mut self, step: u32, total: u32, sigma: f64) -> bool {
        self.cancelled |= !self.model.progress(step, total, sigma);
        !self.cancelled
    }
}

fn root_mean_square(tensor: &Tensor) -> Answer<f64> {
    let mean = torch(torch(tensor.f_square())?.f_mean(Kind::Float))?;
    torch(torch(mean.f_sqrt())?.f_double_value(&[]))
}

fn finite(mut coefficients: impl Iterator<Item = f64>) -> Answer<()> {
    match coefficients.find(|coefficient| !coefficient.is_finite()) {
        Some(coefficient) => {
            Err(Refusal::Error(ErrorCode::InvalidArgument, format!("coefficient {coefficient} is not finite")))
        }
        None => Ok(()),
    }
}

fn torch<T>(result: Result<T, tch::TchError>) -> Answer<T> {
    result.map_err(|error| Refusal::Error(ErrorCode::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halves what it gets, and counts what it is asked.
    struct Halving {
        noise: f64,
        stop_at: u32,
    }

    impl Denoise for Halving {
        fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor, ComponentError> {
            if sigma == 13.0 {
                return Err(ComponentError::new("network", ErrorCode::Numeric, "unlucky"));
            }
            Ok(x * 0.5)
        }

        fn gaussian(&mut self) -> Tensor {
            self.noise += 1.0;
            Tensor::from_slice(&[self.noise as f32])
        }

        fn progress(&mut self, step: u32, _total: u32, _sigma: f64) -> bool {
            step < self.stop_at
        }
    }

    fn model() -> Halving {
        Halving { noise: 0.0, stop_at: 2 }
    }

    fn budget() -> Budget {
        Budget { denoise_calls: 2, live_latents: 4, draws_noise: true }
    }

    fn value(session: &Session<'_>, id: u32) -> f64 {
        session.get(id).unwrap().tensor.double_value(&[0])
    }

    fn code<T: std::fmt::Debug>(answer: Answer<T>) -> ErrorCode {
        match answer.unwrap_err() {
            Refusal::Error(code, _) => code,
            Refusal::Stop(message) => panic!("stopped: {message}"),
        }
    }

    #[test]
    fn combinations_are_sums_of_products() {
        let mut model = model();
        let mut session = Session::new(&mut model, budget(), 80.0);
        let x = session.insert(Tensor::from_slice(&[8.0_f32])).unwrap();
        let denoised = session.denoise(x, 80.0).unwrap();
        let sum = session.lincomb(&[(1.0, x), (-3.0, denoised)]).unwrap();
        assert_eq!(value(&session, sum), -4.0);
        session.update(sum, 2.0, &[(1.0, x), (0.5, sum)]).unwrap();
        assert_eq!(value(&session, sum), -2.0 * 4.0 + 8.0 - 2.0);
        assert_eq!(session.rms(sum).unwrap(), 2.0);
        assert_eq!(session.error_ratio(sum, x, 1.0, 0.125).unwrap(), 1.0);
        assert_eq!(session.shape(sum).unwrap(), [1]);
    }

    #[test]
    fn an_update_is_seen_nowhere_else() {
        let mut model = model();
        let mut session = Session::new(&mut model, budget(), 80.0);
        let outside = Tensor::from_slice(&[8.0_f32]);
        let x = session.insert(outside.shallow_clone()).unwrap();
        session.update(x, 2.0, &[]).unwrap();
        assert_eq!(outside.double_value(&[0]), 8.0, "the caller's tensor was written to");
        let fork = session.fork(x).unwrap();
        session.update(x, 2.0, &[]).unwrap();
        assert_eq!((value(&session, x), value(&session, fork)), (32.0, 16.0));
    }

    #[test]
    fn an_owned_latent_is_updated_in_place() {
        let mut model = model();
        let mut session = Session::new(&mut model, budget(), 80.0);
        let x = session.insert(Tensor::from_slice(&[8.0_f32])).unwrap();
        session.update(x, 2.0, &[]).unwrap();
        let before = session.get(x).unwrap().tensor.data_ptr();
        session.update(x, 2.0, &[]).unwrap();
        assert_eq!(session.get(x).unwrap().tensor.data_ptr(), before);
    }

    #[test]
    fn budgets_are_enforced() {
        let mut model = model();
        let mut session = Session::new(&mut model, Budget { draws_noise: false, ..budget() }, 80.0);
        let x = session.insert(Tensor::from_slice(&[8.0_f32])).unwrap();
        assert_eq!(code(session.gaussian()), ErrorCode::BudgetExhausted);
        let first = session.denoise(x, 1.0).unwrap();
        session.denoise(x, 1.0).unwrap();
        assert_eq!(code(session.denoise(x, 1.0)), ErrorCode::BudgetExhausted);
        session.fork(x).unwrap();
        assert_eq!(code(session.fork(x)), ErrorCode::BudgetExhausted);
        assert!(session.remove(first).is_some());
        session.fork(x).unwrap();
        assert!(Budget { denoise_calls: 97, ..budget() }.admit(10).unwrap_err().contains("at most 96"));
        assert!(Budget { live_latents: 17, ..budget() }.admit(10).unwrap_err().contains("at most 16"));
    }

    #[test]
    fn bad_arguments_are_refused() {
        let mut model = model();
        let mut session = Session::new(&mut model, budget(), 80.0);
        let x = session.insert(Tensor::from_slice(&[8.0_f32])).unwrap();
        for sigma in [0.0, -1.0, f64::NAN, 121.0, f64::INFINITY] {
            assert_eq!(code(session.denoise(x, sigma)), ErrorCode::InvalidArgument, "{sigma}");
        }
        assert_eq!(code(session.lincomb(&[])), ErrorCode::InvalidArgument);
        assert_eq!(code(session.update(x, f64::NAN, &[])), ErrorCode::InvalidArgument);
        assert!(matches!(session.fork(99), Err(Refusal::Stop(_))));
    }

    #[test]
    fn the_models_failure_is_kept() {
        let mut model = model();
        let mut session = Session::new(&mut model, budget(), 80.0);
        let x = session.insert(Tensor::from_slice(&[8.0_f32])).unwrap();
        assert_eq!(code(session.denoise(x, 13.0)), ErrorCode::Numeric);
        assert_eq!(session.failure.unwrap().to_string(), "network: unlucky");
    }

    #[test]
    fn a_sampler_that_ignores_a_stop_is_stopped() {
        let mut model = model();
        let mut session = Session::new(&mut model, budget(), 80.0);
        let x = session.insert(Tensor::from_slice(&[8.0_f32])).unwrap();
        assert!(session.progress(1, 4, 1.0));
        assert!(!session.progress(2, 4, 1.0));
        assert_eq!(code(session.denoise(x, 1.0)), ErrorCode::Cancelled);
        assert!(matches!(session.denoise(x, 1.0), Err(Refusal::Stop(_))));
    }
}
