//! Entries that each break one promise of their kind. The conformance suite has to find every one, and to blame it for
//! nothing else; `tests/cli/conformance.rs` holds the list.

mod grids;
mod misfits;
mod others;
mod settings;
mod solvers;

use plugin_api::wasm::prelude::*;

use grids::*;
use others::*;
use settings::*;
use solvers::*;

export_plugin! {
    discretization
        "good-grid" => GoodGrid,
        "one-too-few" => OneTooFew,
        "not-a-number" => NotANumber,
        "below-zero" => BelowZero,
        "rising" => Rising,
        "flat-in-32-bits" => FlatIn32Bits,
        "panics-at-none" => PanicsAtNone,
        "eats-memory-at-many" => EatsMemoryAtMany,
        "counts-its-calls" => CountsItsCalls,
        "wrong-ends" => WrongEnds,
        "loops" => Loops,
        "panics" => Panics,
        "eats-memory" => EatsMemory,
        "recurses" => Recurses,
        "floods-the-log" => FloodsTheLog,
        "answers-too-much" => AnswersTooMuch,
        "init-loops" => InitLoops,
        "init-panics" => InitPanics,
        "init-refuses" => InitRefuses,
        "leaks" => Leaks,
        "breaks-with-other-settings" => BreaksWithOtherSettings;
    weighting
        "good-weight" => GoodWeight,
        "of-another-machine" => OfAnotherMachine,
        "no-weight-below" => NoWeightBelow,
        "negative-weight" => NegativeWeight,
        "minds-its-neighbour" => MindsItsNeighbour,
        "zero-panics" => ZeroPanics,
        "blows-up" => BlowsUp,
        "takes-anything" => TakesAnything,
        "open-schema" => OpenSchema,
        "wrong-default" => WrongDefault,
        "undocumented" => Undocumented,
        "panics-at-odd-settings" => PanicsAtOddSettings,
        "points-nowhere" => PointsNowhere;
    sigma_sampling
        "good-sampling" => GoodSampling,
        "endless-at-extremes" => EndlessAtExtremes,
        "negative-sigma" => NegativeSigma,
        "draws-by-itself" => DrawsByItself,
        "goes-up-and-down" => GoesUpAndDown,
        "leaves-its-range" => LeavesItsRange;
    guidance
        "good-scale" => GoodScale,
        "forgets-frames" => ForgetsFrames,
        "infinite-scale" => InfiniteScale,
        "divides-by-views" => DividesByViews,
        "grows-with-use" => GrowsWithUse;
    learning_rate
        "good-rate" => GoodRate,
        "negative-rate" => NegativeRate,
        "counts-blocks" => CountsBlocks,
        "ends-early" => EndsEarly;
    sampler
        "good-solver" => GoodSolver,
        "hands-back-noise" => HandsBackNoise,
        "stops-half-way" => StopsHalfWay,
        "claims-too-much" => ClaimsTooMuch,
        "bends" => Bends,
        "asks-at-zero" => AsksAtZero,
        "asks-too-often" => AsksTooOften,
        "keeps-latents" => KeepsLatents,
        "asks-for-ever" => AsksForEver,
        "swallows-errors" => SwallowsErrors,
        "tells-nothing" => TellsNothing,
        "halves-the-noise" => HalvesTheNoise;
}

#[cfg(test)]
mod tests {
    #[test]
    fn committed_schemas_are_those_of_the_settings() {
        super::PLUGIN.assert_schemas(env!("CARGO_MANIFEST_DIR"));
    }
}
