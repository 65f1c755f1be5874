//! Scaled dot-product attention of any number of rows.

use tch::Tensor;

/// Rows times heads that are attended at a time: fused kernels have a block of threads for each, and no grid of CUDA's is
/// longer in its second or third direction.
const GRID_MAX: i64 = 65_535;

/// What attention is seldom given.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttendOptions<'a> {
    /// Broadcast to `[b, k, s, s']`: added to the scores, or where boolean, what a token may attend to.
    pub mask: Option<&'a Tensor>,
    /// Probability of dropping a weight.
    pub dropout: f64,
    /// Factor of the scores; one over the root of a head's width if not given.
    pub scale: Option<f64>,
}

/// Softmax attention, in as few parts as kernels can take.
///
/// # Shapes
/// - `q`, result: `[b, k, s, d/k]`
/// - `k`, `v`: `[b, k, s', d/k]`
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, options: AttendOptions<'_>) -> Tensor {
    attend_in_parts([q, k, v], options, GRID_MAX)
}

/// As [`attend`], with at most `grid_max` rows times heads at a time (but one row at least).
fn attend_in_parts(qkv: [&Tensor; 3], options: AttendOptions<'_>, grid_max: i64) -> Tensor {
    let AttendOptions { mask, dropout, scale } = options;
    let attend = |[q, k, v]: [&Tensor; 3], mask: Option<&Tensor>| {
        Tensor::scaled_dot_product_attention(q, k, v, mask, dropout, false, scale, false)
    };
    let (b, heads) = (qkv[0].size()[0], qkv[0].size()[1]);
    let rows = (grid_max / heads).max(1);
    if b <= rows {
        return attend(qkv, mask);
    }
    let [q, k, v] = qkv.map(|x| x.split(rows, 0));
    // A mask that all rows share stays whole.
    let masks = mask.filter(|mask| mask.dim() == 4 && mask.size()[0] == b).map(|mask| mask.split(rows, 0));
    let parts: Vec<Tensor> = (0..q.len())
        .map(|i| attend([&q[i], &k[i], &v[i]], masks.as_ref().map_or(mask, |masks| Some(&masks[i]))))
        .collect();
    Tensor::cat(&parts, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{F32, close};

    /// Values and gradients are those of the whole, whatever the parts.
    #[test]
    fn parts_make_the_whole() {
        let (b, heads, s, other) = (7, 2, 5, 4);
        let inputs = || [s, other, other].map(|s| Tensor::randn([b, heads, s, 3], F32).set_requires_grad(true));
        let per_row = Tensor::randn([b, 1, s, other], F32);
        let shared = Tensor::randn([s, other], F32).ge(-0.5);
        for (mask, scale) in [(None, None), (Some(&per_row), None), (Some(&shared), Some(0.3))] {
            let options = AttendOptions { mask, scale, ..AttendOptions::default() };
            let [q, k, v] = inputs();
            let grads = |grid_max: i64| {
                let out = attend_in_parts([&q, &k, &v], options, grid_max);
                let loss = (&out * &out).sum(tch::Kind::Float);
                std::iter::once(out)
                    .chain(Tensor::run_backward(&[loss], &[&q, &k, &v], false, false))
                    .collect::<Vec<_>>()
            };
            let whole = grads(i64::MAX);
            // Parts of 3 rows with one left over, of one row, and of one row where even that is above the limit.
            for grid_max in [7, 2, 1] {
                for (part, whole) in grads(grid_max).iter().zip(&whole) {
                    close(part, whole, 1e-6);
                }
            }
        }
    }

    #[test]
    fn more_rows_than_a_grid_holds_are_split() {
        let x = Tensor::randn([40_000, 2, 2, 1], F32);
        let split = attend(&x, &x, &x, AttendOptions::default());
        close(&split, &attend_in_parts([&x, &x, &x], AttendOptions::default(), i64::MAX), 1e-6);
    }
}
