//! Weights, draws, scales and rates that are none.

use plugin_api::wasm::prelude::*;

use crate::misfits::calls;

/// Entries without settings, by what one function makes of its arguments.
macro_rules! simple {
    ($kind:ident $function:ident $arguments:tt -> $result:ty: $($(#[$about:meta])* $name:ident $value:expr;)+) => {
        $(simple! { @ $kind $function $arguments $result, $(#[$about])* $name, $value })+
    };
    (@ $kind:ident $function:ident($($argument:ident: $type:ty),*) $result:ty, $(#[$about:meta])* $name:ident, $value:expr) => {
        $(#[$about])*
        #[derive(Config)]
        pub struct $name {}

        impl $kind for $name {
            fn $function(&self, $($argument: $type),*) -> Result<$result> {
                let value: fn($($type),*) -> $result = $value;
                Ok(value($($argument),*))
            }
        }
    };
}

simple! { Weighting weight(sigma: f64) -> f64:
    /// Breaks nothing.
    GoodWeight |sigma| 1.0 / (1.0 + sigma * sigma);
    /// Breaks nothing, but its manifest remembers other numbers.
    OfAnotherMachine |sigma| 1.0 / (1.0 + sigma * sigma);
    /// No number where there is little noise.
    NoWeightBelow |sigma| if sigma > 0.0 && sigma < 1e-3 { f64::NAN } else { 1.0 };
    /// A weight below zero.
    NegativeWeight |sigma| 1.0 - sigma;
    /// A weight that depends on what was weighed before.
    MindsItsNeighbour |sigma| sigma + calls() as f64 * 1e-9;
    /// Divides whole numbers by what may be zero.
    ZeroPanics |sigma| { assert!(sigma > 0.0, "no noise"); 1.0 };
    /// Weights that no loss survives.
    BlowsUp |sigma| (1e-9 + sigma).powi(-8);
}

simple! { Guidance scales(sigmas: &[f64], num_frames: u32, num_views: u32) -> Vec<f64>:
    /// Breaks nothing.
    GoodScale |sigmas, num_frames, _| vec![2.0; sigmas.len() * num_frames as usize];
    /// One scale a sigma, however many frames there are.
    ForgetsFrames |sigmas, _, _| vec![2.0; sigmas.len()];
    /// An infinite scale.
    InfiniteScale |sigmas, num_frames, _| vec![f64::INFINITY; sigmas.len() * num_frames as usize];
    /// Divides by the number of views.
    DividesByViews |sigmas, num_frames, num_views| {
        assert_eq!(num_frames % num_views, 0);
        vec![2.0; sigmas.len() * num_frames as usize]
    };
    /// A scale that depends on how often it was asked for.
    GrowsWithUse |sigmas, num_frames, _| vec![1.0 + calls() as f64 * 1e-9; sigmas.len() * num_frames as usize];
}

simple! { LearningRate factor(step: u64) -> f64:
    /// Breaks nothing.
    GoodRate |step| 1.0 / (1.0 + step as f64 * 1e-4);
    /// Below zero after a thousand steps.
    NegativeRate |step| 1.0 - step as f64 * 1e-3;
    /// A rate that depends on how often it was asked for.
    CountsBlocks |_| calls() as f64 * 1e-9;
    /// Does not know that a run may be long.
    EndsEarly |step| { assert!(step < 1 << 40, "nobody trains so long"); 1.0 };
}

/// Distributions of sigma by what they make of a draw.
macro_rules! samplings {
    ($($(#[$about:meta])* $name:ident |$draw:ident| $sigma:expr;)+) => {$(
        $(#[$about])*
        #[derive(Config)]
        pub struct $name {}

        impl SigmaSampling for $name {
            fn draw_kind(&self) -> DrawKind {
                DrawKind::Gaussian
            }

            fn sigma(&self, $draw: f64) -> Result<f64> {
                Ok($sigma)
            }
        }
    )+};
}

/// Has a range, and does not keep to it.
#[derive(Config)]
pub struct LeavesItsRange {
    /// The lowest sigma.
    #[config(default = 0.01, exclusive_min = 0.0)]
    sigma_min: f64,
    /// The highest sigma.
    #[config(default = 10.0, exclusive_min = 0.0)]
    sigma_max: f64,
}

impl SigmaSampling for LeavesItsRange {
    fn draw_kind(&self) -> DrawKind {
        DrawKind::Uniform
    }

    fn sigma(&self, draw: f64) -> Result<f64> {
        Ok(self.sigma_min + 1.01 * draw * self.sigma_max)
    }
}

samplings! {
    /// Breaks nothing.
    GoodSampling |draw| (0.7 + 1.6 * draw).exp();
    /// Infinite for draws that are rare.
    EndlessAtExtremes |draw| if draw > 8.0 { f64::INFINITY } else { draw.exp() };
    /// A sigma below zero for half of the draws.
    NegativeSigma |draw| 0.5 * draw;
    /// Largest in the middle.
    GoesUpAndDown |draw| (-draw * draw).exp();
    /// Adds noise of its own.
    DrawsByItself |draw| draw.exp() + calls() as f64 * 1e-9;
}
