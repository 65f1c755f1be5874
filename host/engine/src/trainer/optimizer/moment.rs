//! What an optimizer remembers of each value, in 32, 16 or 8 bits.
//!
//! In 16 bits it is bfloat16, rounded up or down at random in proportion to the distances: a second moment moves by a
//! thousandth a step, less than half of bfloat16's step, and would not move at all if it were rounded to the nearest.
//!
//! In 8 bits it is block-wise dynamic quantization (Dettmers et al. 2022, arXiv:2110.02861, section 2): a block is divided
//! by its largest magnitude, and each quotient becomes the nearest entry of a table whose entries are a power of ten and a
//! linear fraction. A second moment above zero never becomes zero, as that would divide by nearly nothing.

use std::sync::LazyLock;

use anneal_torch::random::Stream;
use tch::{Device, Kind, Tensor};

use crate::config::Moments;

/// Values that share a scale.
pub(super) const BLOCK: i64 = 256;

/// Values that are widened to f32 at a time; a multiple of [`BLOCK`].
pub(super) const CHUNK: i64 = 1 << 22;

/// Whether a moment can be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It can: a mean of gradients.
    Either,
    /// It cannot: a mean of squares.
    Positive,
}

/// One moment of all parameters, laid out like them.
#[derive(Debug)]
pub(super) enum Moment {
    /// In f32.
    F32(Tensor),
    /// In bfloat16.
    Bf16(Tensor),
    /// In 8 bits.
    Int8(Quantized),
}

/// A moment in 8 bits.
#[derive(Debug)]
pub(super) struct Quantized {
    /// Entries of the table, `[numel]` u8.
    codes: Tensor,
    /// Largest magnitude of each block, `[numel / BLOCK]`.
    scales: Tensor,
    /// `[256]`, ascending.
    table: Tensor,
    /// Between which quotients an entry is taken, `[255]`.
    borders: Tensor,
}

impl Moment {
    /// Zero for each of `values`.
    pub(super) fn new(kind: Moments, sign: Sign, values: &Tensor) -> Self {
        let (numel, device) = (values.numel() as i64, values.device());
        match kind {
            Moments::F32 => Self::F32(values.zeros_like().detach()),
            Moments::Bf16 => Self::Bf16(Tensor::zeros([numel], (Kind::BFloat16, device))),
            Moments::Int8 => Self::Int8(Quantized::new(sign, numel, device)),
        }
    }

    /// Values that can be widened at a time: all of them where nothing is to be widened.
    pub(super) fn chunk(&self) -> i64 {
        if matches!(self, Self::F32(_)) { i64::MAX } else { CHUNK }
    }

    /// The `len` values from `offset` on, in f32: the values themselves, or a copy to be put back by [`Moment::close`].
    pub(super) fn open(&self, offset: i64, len: i64) -> Tensor {
        match self {
            Self::F32(flat) => flat.narrow(0, offset, len),
            Self::Bf16(flat) => flat.narrow(0, offset, len).to_kind(Kind::Float),
            Self::Int8(flat) => flat.read(offset, len),
        }
    }

    /// Keeps what became of the values that [`Moment::open`] gave. `step` is the step that they made, for the rounding.
    pub(super) fn close(&self, offset: i64, values: &Tensor, step: i64) {
        let len = values.numel() as i64;
        match self {
            Self::F32(_) => {}
            Self::Bf16(flat) => {
                let rounded = rounded_at_random(values, offset, step);
                flat.narrow(0, offset, len).copy_(&rounded);
            }
            Self::Int8(flat) => flat.write(offset, values),
        }
    }

    /// Its tensors: what is added to its name, the tensor, and the values that one element of it stands for.
    pub(super) fn tensors(&self) -> Vec<(&'static str, &Tensor, i64)> {
        match self {
            Self::F32(flat) | Self::Bf16(flat) => vec![("", flat, 1)],
            Self::Int8(flat) => vec![("", &flat.codes, 1), ("_scale", &flat.scales, BLOCK)],
        }
    }
}

impl Quantized {
    fn new(sign: Sign, numel: i64, device: Device) -> Self {
        let table = match sign {
            Sign::Either => &*SIGNED,
            Sign::Positive => &*UNSIGNED,
        };
        let mut borders: Vec<f32> = table.windows(2).map(|two| f32::midpoint(two[0], two[1])).collect();
        if sign == Sign::Positive {
            borders[0] = 0.0;
        }
        let zero = table.iter().position(|entry| *entry == 0.0).unwrap_or_default() as i64;
        Self {
            codes: Tensor::full([numel], zero, (Kind::Uint8, device)),
            scales: Tensor::zeros([(numel + BLOCK - 1) / BLOCK], (Kind::Float, device)),
            table: Tensor::from_slice(table).to_device(device),
            borders: Tensor::from_slice(&borders).to_device(device),
        }
    }

    fn read(&self, offset: i64, len: i64) -> Tensor {
        let codes = self.codes.narrow(0, offset, len).to_kind(Kind::Int);
        let parts = self.table.index_select(0, &codes).view([-1, BLOCK]);
        let scales = self.scales.narrow(0, offset / BLOCK, len / BLOCK).unsqueeze(1);
        (parts * scales).view([len])
    }

    fn write(&self, offset: i64, values: &Tensor) {
        let blocks = values.view([-1, BLOCK]);
        let scales = blocks.abs().amax([1], true);
        // A block of zeros has no scale; whatever divides it, zeros stay.
        let parts = &blocks / scales.clamp_min(f64::from(f32::MIN_POSITIVE));
        let codes = parts.bucketize(&self.borders, true, false).view([-1]);
        self.codes.narrow(0, offset, values.numel() as i64).copy_(&codes);
        self.scales.narrow(0, offset / BLOCK, blocks.size()[0]).copy_(&scales.view([-1]));
    }
}

/// Powers of ten in a table, 1 the largest.
const EXPONENTS: i32 = 7;

static SIGNED: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let positive = fractions(0);
    let negative = positive.iter().map(|entry| -entry);
    ascending(negative.chain(positive.iter().copied()).collect())
});

static UNSIGNED: LazyLock<Vec<f32>> = LazyLock::new(|| ascending(fractions(1)));

/// The entries above zero but for 1: for each power of ten twice as many fractions as for the one below, `2^more_bits` for
/// the lowest. A fraction is the middle of one of as many equal parts from 0.1 to 1.
fn fractions(more_bits: i32) -> Vec<f32> {
    let of_power = |i: i32| {
        let (count, power) = (1 << (i + more_bits), 10f64.powi(i - (EXPONENTS - 1)));
        (0..count).map(move |j| (power * (0.1 + 0.9 * (f64::from(j) + 0.5) / f64::from(count))) as f32)
    };
    (0..EXPONENTS).flat_map(of_power).collect()
}

fn ascending(mut table: Vec<f32>) -> Vec<f32> {
    table.extend([0.0, 1.0]);
    table.sort_by(f32::total_cmp);
    table
}

/// `values` in bfloat16: up or down, in proportion to the distances. Which one is a function of a value's place and the
/// step alone, so a resumed run rounds as the unbroken one.
fn rounded_at_random(values: &Tensor, offset: i64, step: i64) -> Tensor {
    let start = (Stream::new(0, "moments", 0, step as u64).bits() & MASK as u64) as i64;
    let first = (start + offset) & MASK;
    let places = Tensor::arange_start(first, first + values.numel() as i64, (Kind::Int64, values.device()));
    // What is cut off are the lower 16 bits: whatever is added to them first carries over that often.
    let noise = mixed(&places).bitwise_and(0xffff).to_kind(Kind::Int);
    let bits = (values.view_dtype(Kind::Int) + noise).bitwise_and(-0x1_0000);
    // A second moment at f32's largest would turn into something else; none is.
    bits.view_dtype(Kind::Float).to_kind(Kind::BFloat16)
}

const MASK: i64 = 0x7fff_ffff;

/// Numbers of 31 bits that look as if drawn, of neighbouring ones. No product passes 62 bits.
fn mixed(places: &Tensor) -> Tensor {
    let shifted = |x: &Tensor, by: i64| x.bitwise_xor_tensor(&x.bitwise_right_shift_tensor_scalar(by));
    let x = places.bitwise_and(MASK);
    let x = (shifted(&x, 15) * 0x2c1b_3c6d_i64).bitwise_and(MASK);
    let x = (shifted(&x, 12) * 0x297a_2d39_i64).bitwise_and(MASK);
    shifted(&x, 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: i64, seed: u64) -> Tensor {
        Stream::new(seed, "values", 0, 0).normal_tensor(&[len])
    }

    #[test]
    fn tables_are_those_of_the_paper() {
        for table in [&*SIGNED, &*UNSIGNED] {
            assert_eq!(table.len(), 256);
            assert!(table.windows(2).all(|two| two[0] < two[1]) && table.contains(&0.0) && table.contains(&1.0));
        }
        // The smallest: half way from a tenth to one at a millionth; without a sign a quarter and three quarters.
        let smallest = |table: &[f32]| table.iter().copied().filter(|entry| *entry > 0.0).fold(1.0, f32::min);
        assert!((smallest(&SIGNED) - 5.5e-7).abs() < 1e-12 && (smallest(&UNSIGNED) - 3.25e-7).abs() < 1e-12);
        assert!((SIGNED[0] + 0.992_968_75).abs() < 1e-6, "{}", SIGNED[0]);
    }

    #[test]
    fn eight_bits_keep_values_to_a_few_hundredths_of_their_power_of_ten() {
        let zeros = Tensor::zeros([2 * BLOCK], (Kind::Float, Device::Cpu));
        for (sign, worst) in [(Sign::Either, 0.5), (Sign::Positive, 0.3)] {
            let given = match sign {
                Sign::Either => values(BLOCK, 1) * 3.0,
                Sign::Positive => values(BLOCK, 1).square() * 1e-8,
            };
            let moment = Moment::new(Moments::Int8, sign, &zeros);
            assert_eq!(moment.open(0, 2 * BLOCK).abs().max().double_value(&[]), 0.0);
            moment.close(BLOCK, &given, 1);
            let got = moment.open(BLOCK, BLOCK);
            let scale = given.abs().max().double_value(&[]);
            let off = ((&got - &given) / scale).abs().max().double_value(&[]);
            assert!(off < 0.008, "of the largest: {off}");
            // Small values keep their power of ten.
            let relative = ((&got - &given) / &given).abs() * given.abs().gt(scale * 1e-5);
            assert!(relative.max().double_value(&[]) < worst, "{relative}");
            assert_eq!(moment.open(0, BLOCK).abs().max().double_value(&[]), 0.0, "the other block is left alone");
            // What was read is written as it was.
            moment.close(BLOCK, &got, 2);
            assert!(((moment.open(BLOCK, BLOCK) - &got) / scale).abs().max().double_value(&[]) < 0.008);
        }
    }

    #[test]
    fn squares_above_zero_stay_above_zero() {
        let given = Tensor::full([BLOCK], 1e-12, (Kind::Float, Device::Cpu));
        let _ = given.get(0).fill_(1.0);
        let _ = given.get(1).fill_(0.0);
        let moment = Moment::new(Moments::Int8, Sign::Positive, &given);
        moment.close(0, &given, 1);
        let got = Vec::<f32>::try_from(moment.open(0, BLOCK)).unwrap();
        assert_eq!(got[..2], [1.0, 0.0]);
        assert!(got[2..].iter().all(|value| (1e-12..1e-6).contains(value)));
    }

    #[test]
    fn bfloat16_is_right_on_average_and_the_same_for_the_same_step() {
        let exact = 1.0 + 0.3 / 128.0;
        let given = Tensor::full([100_000], exact, (Kind::Float, Device::Cpu));
        let round = |step| {
            let moment = Moment::new(Moments::Bf16, Sign::Either, &given);
            moment.close(0, &given, step);
            moment.open(0, 100_000)
        };
        let rounded = round(3);
        let mean = rounded.mean(Kind::Double).double_value(&[]);
        assert!((mean - exact).abs() < 0.01 / 128.0, "{mean}");
        assert_eq!((rounded.min().double_value(&[]), rounded.max().double_value(&[])), (1.0, 1.0 + 1.0 / 128.0));
        assert!(rounded.equal(&round(3)) && !rounded.equal(&round(4)));
        // Negative numbers, and numbers that need no rounding.
        let moment = Moment::new(Moments::Bf16, Sign::Either, &given.narrow(0, 0, 2));
        moment.close(0, &Tensor::from_slice(&[-0.5_f32, -1.0 - 0.5 / 128.0]), 1);
        let got = Vec::<f32>::try_from(moment.open(0, 2)).unwrap();
        assert!(got[0] == -0.5 && (got[1] == -1.0 || got[1] == -1.0 - 1.0 / 128.0), "{got:?}");
    }
}
