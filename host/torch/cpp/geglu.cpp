// GEGLU with the bias in front of it, on the CPU in one pass over memory each way; libtorch's separate operations take ten,
// and keep twice as much.
#include "conv.h"
#include "shim.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// exp(-y) for y >= 0: a power of two times a polynomial on [-ln2/2, ln2/2] (Cephes' expf); relative error 2e-7.
inline float exp_neg(float y) {
  float x = -(y < 87.0f ? y : 87.0f);
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  float shifted = x * 1.44269504f + magic;
  float n = shifted - magic;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  uint32_t bits, value;
  std::memcpy(&bits, &shifted, 4);
  std::memcpy(&value, &p, 4);
  value += bits << 23;  // the low bits of `shifted` are n in two's complement
  std::memcpy(&p, &value, 4);
  return p;
}

// The normal distribution function, and its density without 1/sqrt(2 pi), from one exponential: Abramowitz and Stegun
// 7.1.26; in f32 the absolute error is below 4e-7.
inline void normal(float g, float &cdf, float &density) {
  float x = std::fabs(g) * 0.70710678f;
  density = exp_neg(x * x);
  float t = 1.0f / (1.0f + 0.3275911f * x);
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  float tail = 0.5f * p * t * density;
  cdf = g < 0.0f ? tail : 1.0f - tail;
}

// x: rows of value and gate, each `h` wide, without their bias; y: rows of value * gelu(gate).
ANNEAL_WIDE void forward_rows(const float *__restrict x, const float *__restrict bias, float *__restrict y, int64_t rows,
                              int64_t h) {
  for (int64_t row = 0; row < rows; row++, x += 2 * h, y += h) {
    for (int64_t i = 0; i < h; i++) {
      float cdf, density, g = x[h + i] + bias[h + i];
      normal(g, cdf, density);
      y[i] = (x[i] + bias[i]) * (g * cdf);
    }
  }
}

// dbias sums the rows of dx.
ANNEAL_WIDE void backward_rows(const float *__restrict x, const float *__restrict bias, const float *__restrict dy,
                               float *__restrict dx, float *__restrict dbias, int64_t rows, int64_t h) {
  for (int64_t row = 0; row < rows; row++, x += 2 * h, dx += 2 * h, dy += h) {
    for (int64_t i = 0; i < h; i++) {
      float cdf, density, g = x[h + i] + bias[h + i];
      normal(g, cdf, density);
      float value = dy[i] * (g * cdf);
      float gate = dy[i] * (x[i] + bias[i]) * (cdf + g * density * 0.39894228f);
      dx[i] = value;
      dx[h + i] = gate;
      dbias[i] += value;
      dbias[h + i] += gate;
    }
  }
}

constexpr int64_t MOST_BLOCKS = 32;

int64_t grain(int64_t h) { return 1 + 16384 / (h + 1); }

struct Geglu : torch::autograd::Function<Geglu> {
  static Tensor forward(AutogradContext *ctx, const Tensor &input, const Tensor &input_bias) {
    Tensor x = input.contiguous(), bias = input_bias.contiguous();
    ctx->save_for_backward({x, bias});
    int64_t h = x.size(-1) / 2;
    auto shape = x.sizes().vec();
    shape.back() = h;
    Tensor y = at::empty(shape, x.options());
    if (x.is_meta()) return y;
    const float *from = x.const_data_ptr<float>(), *offset = bias.const_data_ptr<float>();
    float *to = y.mutable_data_ptr<float>();
    at::parallel_for(0, h ? y.numel() / h : 0, grain(h), [&](int64_t begin, int64_t end) {
      forward_rows(from + begin * 2 * h, offset, to + begin * h, end - begin, h);
    });
    return y;
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "geglu has no second derivative");
    auto saved = ctx->get_saved_variables();
    Tensor x = saved[0], bias = saved[1];
    Tensor dy = grads[0].contiguous(), dx = at::empty_like(x);
    if (x.is_meta()) return {dx, at::empty_like(bias)};
    int64_t h = x.size(-1) / 2;
    const float *from = x.const_data_ptr<float>(), *offset = bias.const_data_ptr<float>();
    const float *grad = dy.const_data_ptr<float>();
    float *to = dx.mutable_data_ptr<float>();
    // The bias's gradient sums blocks whose number does not depend on the threads, so neither does the result.
    int64_t rows = h ? dy.numel() / h : 0, block = std::max(grain(h), (rows + MOST_BLOCKS - 1) / MOST_BLOCKS);
    int64_t blocks = (rows + block - 1) / block;
    Tensor parts = at::zeros({blocks, 2 * h}, x.options());
    float *part = parts.mutable_data_ptr<float>();
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) {
        int64_t row = b * block, count = std::min(block, rows - row);
        backward_rows(from + row * 2 * h, offset, grad + row * h, to + row * 2 * h, part + b * 2 * h, count, h);
      }
    });
    return {dx, parts.sum(0)};
  }
};

}  // namespace

// x [..., 2h] and bias [2h] -> [..., h]
extern "C" int anneal_torch_geglu(Tensor *x, Tensor *bias, Tensor **out) {
  ANNEAL_GUARD({
    TORCH_CHECK(x->dim() >= 1 && x->size(-1) % 2 == 0 && bias->dim() == 1 && bias->size(0) == x->size(-1),
                "geglu wants an even last axis and a bias of its length, got ", x->sizes(), " and ", bias->sizes());
    auto plain = [](const Tensor &t) {
      return (t.device().is_cpu() || anneal::counts_as_cpu(t)) && t.scalar_type() == at::kFloat;
    };
    if (plain(*x) && plain(*bias)) {
      *out = new Tensor(Geglu::apply(*x, *bias));
    } else {
      auto halves = at::add(*x, bias->to(x->scalar_type())).chunk(2, -1);
      *out = new Tensor(at::mul(halves[0], at::gelu(halves[1])));
    }
  })
}
