// Convolutions of 3 frames at one pixel by Winograd's minimal filtering: 6 multiplications make 4 outputs that otherwise take
// 12. The steps are those of winograd.cpp, along one axis; pixels lie side by side and need no shuffling.
#include "conv.h"
#include "winograd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

using namespace anneal::winograd;

// A video [b, c, t, pixels]; its tiles are four frames high and one pixel wide, all pixels of a tile of frames together.
struct Grid {
  int64_t b, t, pixels, rows;
  Grid(const Tensor &x) : b(x.size(0)), t(x.size(2)), pixels(x.size(3)), rows((t + TILE - 1) / TILE) {}
  int64_t tiles() const { return b * rows * pixels; }
};

// out = M in over whole rows of numbers; with `add`, out += M in. Rows beyond the video's ends are null.
template <bool ADD, int OUT, int IN>
ANNEAL_INLINE void rows_times(const Matrix<OUT, IN> &m, const float *const *in, float *const *out, int64_t count) {
  for (int o = 0; o < OUT; o++) {
    float *__restrict to = out[o];
    if (!to) continue;
    if (!ADD) std::fill(to, to + count, 0.0f);
    for (int i = 0; i < IN; i++) {
      const float factor = m.at[o][i], *__restrict from = in[i];
      if (factor == 0.0f || !from) continue;
      for (int64_t p = 0; p < count; p++) to[p] += factor * from[p];
    }
  }
}

// The frames of a tile, from its `first` on, in one channel's video; null outside.
template <typename Number>
ANNEAL_INLINE void frames_of(const Grid &g, Number *video, int64_t first, int count, Number **rows) {
  for (int i = 0; i < count; i++) {
    int64_t t = first + i;
    rows[i] = t >= 0 && t < g.t ? video + t * g.pixels : nullptr;
  }
}

// Channels [begin, end) of [b, c, t, pixels] -> [6, c, tiles]; the IN frames begin `before` the tile.
template <int IN>
ANNEAL_INLINE void to_frequencies(const Matrix<SIDE, IN> &m, const Grid &g, int64_t before, const float *video, float *out,
                                  int64_t channels, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c++) {
    for (int64_t tile = 0; tile < g.b * g.rows; tile++) {
      const float *frames[IN];
      float *to[SIDE];
      const float *own = video + (tile / g.rows * channels + c) * g.t * g.pixels;
      frames_of(g, own, tile % g.rows * TILE - before, IN, frames);
      for (int64_t k = 0; k < SIDE; k++) to[k] = out + (k * channels + c) * g.tiles() + tile * g.pixels;
      rows_times<false>(m, frames, to, g.pixels);
    }
  }
}

// The transpose; `video` holds what the result is added to.
template <int OUT>
ANNEAL_INLINE void from_frequencies(const Matrix<OUT, SIDE> &m, const Grid &g, int64_t before, const float *in,
                                    float *video, int64_t channels, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; c++) {
    for (int64_t tile = 0; tile < g.b * g.rows; tile++) {
      const float *from[SIDE];
      float *frames[OUT];
      float *own = video + (tile / g.rows * channels + c) * g.t * g.pixels;
      frames_of(g, own, tile % g.rows * TILE - before, OUT, frames);
      for (int64_t k = 0; k < SIDE; k++) from[k] = in + (k * channels + c) * g.tiles() + tile * g.pixels;
      rows_times<true>(m, from, frames, g.pixels);
    }
  }
}

ANNEAL_WIDE void transform_x(const Grid &g, const float *x, float *v, int64_t channels, int64_t begin, int64_t end) {
  to_frequencies(BT, g, 1, x, v, channels, begin, end);
}

ANNEAL_WIDE void transform_dy(const Grid &g, const float *dy, float *z, int64_t channels, int64_t begin, int64_t end) {
  to_frequencies(A, g, 0, dy, z, channels, begin, end);
}

ANNEAL_WIDE void transform_back_y(const Grid &g, const float *m, const float *bias, float *y, int64_t channels,
                                  int64_t begin, int64_t end) {
  int64_t plane = g.t * g.pixels;
  for (int64_t b = 0; b < g.b; b++) {
    for (int64_t c = begin; c < end; c++) std::fill_n(y + (b * channels + c) * plane, plane, bias[c]);
  }
  from_frequencies(AT, g, 0, m, y, channels, begin, end);
}

ANNEAL_WIDE void transform_back_dx(const Grid &g, const float *dv, float *dx, int64_t channels, int64_t begin,
                                   int64_t end) {
  from_frequencies(B, g, 1, dv, dx, channels, begin, end);
}

// Weights [begin, end) of `all`, three taps each -> [6, all].
ANNEAL_WIDE void transform_w(const float *w, float *u, int64_t all, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    const float *tap = w + i * TAPS;
    for (int64_t k = 0; k < SIDE; k++) u[k * all + i] = G.at[k][0] * tap[0] + G.at[k][1] * tap[1] + G.at[k][2] * tap[2];
  }
}

// The transpose.
ANNEAL_WIDE void transform_back_dw(const float *du, float *dw, int64_t all, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    for (int64_t tap = 0; tap < TAPS; tap++) {
      float sum = 0.0f;
      for (int64_t k = 0; k < SIDE; k++) sum += G.at[k][tap] * du[k * all + i];
      dw[i * TAPS + tap] = sum;
    }
  }
}

Tensor frequencies_of_x(const Tensor &x, const Grid &g) {
  int64_t c = x.size(1);
  Tensor v = at::empty({SIDE, c, g.tiles()}, x.options());
  const float *from = x.const_data_ptr<float>();
  float *to = v.mutable_data_ptr<float>();
  over_channels(c, [&](int64_t begin, int64_t end) { transform_x(g, from, to, c, begin, end); });
  return v;
}

Tensor frequencies_of_w(const Tensor &w) {
  int64_t out = w.size(0), c = w.size(1), all = out * c;
  Tensor u = at::empty({SIDE, out, c}, w.options());
  const float *from = w.const_data_ptr<float>();
  float *to = u.mutable_data_ptr<float>();
  over_channels(all, [&](int64_t begin, int64_t end) { transform_w(from, to, all, begin, end); });
  return u;
}

struct WinogradTimeConv : torch::autograd::Function<WinogradTimeConv> {
  static Tensor forward(AutogradContext *ctx, const Tensor &input, const Tensor &weight, const Tensor &bias) {
    Tensor x = input.contiguous(), w = weight.contiguous(), b = bias.contiguous();
    ctx->save_for_backward({x, w});
    Grid g(x);
    int64_t out = w.size(0);
    Tensor m = at::bmm(frequencies_of_w(w), frequencies_of_x(x, g));
    Tensor y = at::empty({g.b, out, g.t, g.pixels}, x.options());
    const float *from = m.const_data_ptr<float>(), *offset = b.const_data_ptr<float>();
    float *to = y.mutable_data_ptr<float>();
    over_channels(out, [&](int64_t begin, int64_t end) { transform_back_y(g, from, offset, to, out, begin, end); });
    return y;
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "a Winograd convolution has no second derivative");
    auto saved = ctx->get_saved_variables();
    Tensor x = saved[0], w = saved[1], dy = grads[0].contiguous();
    Grid g(x);
    int64_t out = w.size(0), c = w.size(1), all = out * c;
    Tensor z = at::empty({SIDE, out, g.tiles()}, x.options());
    const float *grad = dy.const_data_ptr<float>();
    float *frequencies = z.mutable_data_ptr<float>();
    over_channels(out, [&](int64_t begin, int64_t end) { transform_dy(g, grad, frequencies, out, begin, end); });
    variable_list result(3);
    if (ctx->needs_input_grad(0)) {
      Tensor dv = at::bmm(frequencies_of_w(w).transpose(1, 2), z);
      result[0] = at::zeros_like(x);
      const float *from = dv.const_data_ptr<float>();
      float *to = result[0].mutable_data_ptr<float>();
      over_channels(c, [&](int64_t begin, int64_t end) { transform_back_dx(g, from, to, c, begin, end); });
    }
    if (ctx->needs_input_grad(1)) {
      Tensor du = at::bmm(z, frequencies_of_x(x, g).transpose(1, 2));
      result[1] = at::empty_like(w);
      const float *from = du.const_data_ptr<float>();
      float *to = result[1].mutable_data_ptr<float>();
      over_channels(all, [&](int64_t begin, int64_t end) { transform_back_dw(from, to, all, begin, end); });
    }
    if (ctx->needs_input_grad(2)) result[2] = dy.sum(at::IntArrayRef({0, 2, 3}));
    return result;
  }
};

}  // namespace

Tensor anneal::winograd_time_conv(const Tensor &x, const Tensor &weight, const Tensor &bias) {
  return WinogradTimeConv::apply(x, weight, bias);
}
