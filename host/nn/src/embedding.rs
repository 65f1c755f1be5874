//! Embedding of the noise level and of the vector condition.

use tch::{Kind, Tensor};

use crate::config::{NumClasses, NumberCondition};
use crate::layers::{Linear, LinearConfig, Mlp, timestep_embedding};
use crate::params::{Init, Path};

const MAX_PERIOD: f64 = 10_000.0;

#[derive(Debug)]
enum Label {
    Table(Tensor),
    Continuous(Linear),
    Timestep(Mlp),
    Sequential(Mlp),
}

/// The sum of the embedded noise level and the embedded vector condition.
#[derive(Debug)]
pub(crate) struct Embedding {
    time: Mlp,
    label: Option<Label>,
    model_channels: i64,
}

impl Embedding {
    /// Keys `time_embed.{0,2}` and `label_emb`.
    pub fn new(
        path: &Path,
        model_channels: i64,
        num_classes: Option<NumClasses>,
        adm_in_channels: Option<u32>,
    ) -> Self {
        let width = 4 * model_channels;
        let time = Mlp::new(&path.sub("time_embed"), model_channels, width, width);
        let at = path.sub("label_emb");
        let label = num_classes.map(|kind| match kind {
            NumClasses::Table(classes) => {
                Label::Table(at.param("weight", &[classes.into(), width], Init::Normal { std: 1.0 }))
            }
            NumClasses::Numbers(NumberCondition::Continuous) => {
                Label::Continuous(Linear::new(&at, LinearConfig::new(1, width)))
            }
            NumClasses::Numbers(NumberCondition::Timestep) => {
                Label::Timestep(Mlp::new(&at.sub(1), model_channels, width, width))
            }
            NumClasses::Numbers(NumberCondition::Sequential) => {
                let inputs = adm_in_channels.unwrap_or_else(|| panic!("a sequential condition needs adm_in_channels"));
                Label::Sequential(Mlp::new(&at.sub(0), inputs.into(), width, width))
            }
        });
        Self { time, label, model_channels }
    }

    /// # Shapes
    /// - `c_noise`: `[n]`
    /// - `y`: `[n, d]`; class indices or one number for each row: `[n]` or `[n, 1]`
    /// - result: `[n, 4*model_channels]`
    ///
    /// # Panics
    /// When `y` is given to a network without vector condition, or the other way round.
    pub fn forward(&self, c_noise: &Tensor, y: Option<&Tensor>, train: bool) -> Tensor {
        let emb = self.time.forward(&timestep_embedding(c_noise, self.model_channels, MAX_PERIOD), train);
        match (&self.label, y) {
            (None, None) => emb,
            (Some(label), Some(y)) => {
                assert_eq!(y.size()[0], c_noise.size()[0], "rows of y and of c_noise");
                emb + label.forward(y, self.model_channels, train)
            }
            (Some(_), None) => panic!("num_classes is set, and there is no vector condition y"),
            (None, Some(_)) => panic!("num_classes is not set, and there is a vector condition y"),
        }
    }
}

impl Label {
    fn forward(&self, y: &Tensor, model_channels: i64, train: bool) -> Tensor {
        match self {
            Self::Table(table) => Tensor::embedding(table, &y.reshape([-1]).to_kind(Kind::Int64), -1, false, false),
            Self::Continuous(linear) => linear.forward(&y.reshape([-1, 1]), train),
            Self::Timestep(mlp) => {
                mlp.forward(&timestep_embedding(&y.reshape([-1]), model_channels, MAX_PERIOD), train)
            }
            Self::Sequential(mlp) => mlp.forward(y, train),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use tch::Device;

    fn keys(num_classes: NumClasses) -> Vec<String> {
        let params = Params::meta();
        Embedding::new(&params.root(), 8, Some(num_classes), Some(5));
        let labels = params.into_entries().into_iter().skip(4);
        labels.map(|p| format!("{} {:?}", p.path, p.tensor.size())).collect()
    }

    #[test]
    fn each_condition_has_its_keys() {
        assert_eq!(keys(NumClasses::Table(3)), ["label_emb.weight [3, 32]"]);
        assert_eq!(keys(NumClasses::Numbers(NumberCondition::Continuous))[0], "label_emb.weight [32, 1]");
        assert_eq!(keys(NumClasses::Numbers(NumberCondition::Timestep))[0], "label_emb.1.0.weight [32, 8]");
        assert_eq!(keys(NumClasses::Numbers(NumberCondition::Sequential))[0], "label_emb.0.0.weight [32, 5]");
    }

    #[test]
    fn class_indices_may_come_as_floats() {
        let embedding = Embedding::new(&Params::new(Device::Cpu, 1).root(), 8, Some(NumClasses::Table(3)), None);
        let c_noise = Tensor::from_slice(&[0.5f32, 0.5]);
        let by_index = embedding.forward(&c_noise, Some(&Tensor::from_slice(&[2i64, 0])), false);
        let by_float = embedding.forward(&c_noise, Some(&Tensor::from_slice(&[2f32, 0.0]).view([2, 1])), false);
        assert!(by_index.equal(&by_float) && !by_index.select(0, 0).equal(&by_index.select(0, 1)));
    }

    #[test]
    #[should_panic(expected = "no vector condition y")]
    fn a_missing_condition_is_named() {
        let embedding = Embedding::new(&Params::new(Device::Cpu, 1).root(), 8, Some(NumClasses::Table(3)), None);
        let _ = embedding.forward(&Tensor::from_slice(&[0.5f32]), None, false);
    }
}
