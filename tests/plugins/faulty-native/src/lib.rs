//! An embedder that does what an embedder must not do, one fault at a time.

mod saboteurs;

use plugin_api::tch::prelude::*;
use plugin_api::tch::{self, Device};

use crate::saboteurs::Saboteur;

/// Which fault it has.
#[derive(Config, Clone, Copy, PartialEq)]
enum Fault {
    None,
    PanicInNew,
    Panic,
    LibtorchPanic,
    LibtorchError,
    Error,
    WritesToInput,
    WritesToParam,
    WrongRank,
    WrongRows,
    Integers,
    NoOutput,
    UndefinedOutput,
    GradModeOff,
    WrongDraw,
    SameParamTwice,
}

/// What the embedder does.
#[derive(Config)]
struct Settings {
    /// Which fault it has.
    #[config(default = Fault::None)]
    fault: Fault,
}

struct Faulty {
    fault: Fault,
    scale: Param,
}

impl Embedder<Tensor> for Faulty {
    type Config = Settings;

    fn new(Settings { fault }: Settings, params: &mut Params) -> Result<Self> {
        assert!(fault != Fault::PanicInNew, "told to panic in new");
        let scale = params.declare("scale", &[1], Init::Ones);
        if fault == Fault::SameParamTwice {
            params.declare("scale", &[1], Init::Zeros);
        }
        Ok(Self { fault, scale })
    }

    fn forward(&self, call: &Call<'_>, inputs: &Inputs<'_>) -> Result<Outputs> {
        let input = inputs.tensor()?;
        let scaled = input * call.param(self.scale);
        let options = (Kind::Float, Device::Cpu);
        match self.fault {
            Fault::None | Fault::PanicInNew | Fault::SameParamTwice => Ok(Outputs::by_rank(scaled)),
            Fault::Panic => panic!("told to panic with {} scenes", call.num_scenes()),
            Fault::LibtorchPanic => Ok(Outputs::by_rank(input.matmul(&Tensor::zeros([1000, 3], options)))),
            Fault::LibtorchError => Ok(Outputs::by_rank(input.f_matmul(&Tensor::zeros([1000, 3], options))?)),
            Fault::Error => Err(Error::config("/fault", "told to fail")),
            Fault::WritesToInput => {
                let _ = input.shallow_clone().fill_(0.0);
                Ok(Outputs::by_rank(scaled))
            }
            Fault::WritesToParam => {
                let _ = tch::no_grad(|| call.param(self.scale).shallow_clone().fill_(0.0));
                Ok(Outputs::by_rank(scaled))
            }
            Fault::WrongRank => Ok(Outputs::to(Slot::Vector, scaled.unsqueeze(1))),
            Fault::WrongRows => Ok(Outputs::by_rank(Tensor::zeros([call.num_scenes() + 1, 2], options))),
            Fault::Integers => Ok(Outputs::by_rank(scaled.to_kind(Kind::Int64))),
            Fault::NoOutput => Ok(Outputs::default()),
            Fault::UndefinedOutput => Ok(Outputs::by_rank(Tensor::new())),
            Fault::GradModeOff => {
                std::mem::forget(tch::no_grad_guard());
                tch::set_num_threads(tch::get_num_threads() + 1);
                Ok(Outputs::by_rank(scaled))
            }
            Fault::WrongDraw => Ok(Outputs::by_rank(call.normal("noise", &[call.num_scenes() + 1, 2])?)),
        }
    }
}

export_plugin! {
    embedder "faulty" => Faulty,
    embedder "good" => Saboteur<{ saboteurs::GOOD }>,
    embedder "draws-by-itself" => Saboteur<{ saboteurs::DRAWS_BY_ITSELF }>,
    embedder "never-frozen" => Saboteur<{ saboteurs::NEVER_FROZEN }>,
    embedder "ignores-grad-mode" => Saboteur<{ saboteurs::IGNORES_GRAD_MODE }>,
    embedder "leaves-grad-mode" => Saboteur<{ saboteurs::LEAVES_GRAD_MODE }>,
    embedder "changes-threads" => Saboteur<{ saboteurs::CHANGES_THREADS }>,
    embedder "writes-unseen" => Saboteur<{ saboteurs::WRITES_UNSEEN }>,
    embedder "panics-at-another-rank" => Saboteur<{ saboteurs::PANICS_AT_ANOTHER_RANK }>,
}
