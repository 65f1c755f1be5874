// 3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016): 36 multiplications make 16 outputs
// that otherwise take 144. Every step is linear, so backward is the same steps transposed:
//
//   forward   V = B' x B,   U = G w G',  M = U V,    y = A' M A
//   backward  Z = A dy A',  dV = U' Z,   dU = Z V',  dx = B dV B',  dw = G' dU G
//
// The products in the middle are taken over channels and tiles, for each of the 36 frequencies of a tile.
#include "conv.h"
#include "winograd.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

using namespace anneal::winograd;

constexpr int64_t LANES = 8, FREQUENCIES = SIDE * SIDE;
typedef float Lanes __attribute__((vector_size(4 * LANES)));

// One row of M times a column of `in`; zeros of M cost nothing once the loops are unrolled.
template <int OUT, int IN>
ANNEAL_INLINE Lanes row_times(const Matrix<OUT, IN> &m, int row, const Lanes *in, int stride) {
  Lanes sum = {};
#pragma GCC unroll 6
  for (int i = 0; i < IN; i++) {
    if (m.at[row][i] != 0.0f) sum += m.at[row][i] * in[i * stride];
  }
  return sum;
}

// out = M in M', for squares of vectors.
template <int OUT, int IN>
ANNEAL_INLINE void sandwich(const Matrix<OUT, IN> &m, const Lanes *in, Lanes *out) {
  Lanes half[OUT * IN];
#pragma GCC unroll 6
  for (int o = 0; o < OUT; o++) {
#pragma GCC unroll 6
    for (int j = 0; j < IN; j++) half[o * IN + j] = row_times(m, o, in + j, IN);
  }
#pragma GCC unroll 6
  for (int o = 0; o < OUT; o++) {
#pragma GCC unroll 6
    for (int p = 0; p < OUT; p++) out[o * OUT + p] = row_times(m, p, half + o * IN, 1);
  }
}

// The tiles of all images. A channel's images lie in a buffer with a border of zeros, one above and to the left.
struct Grid {
  int64_t n, h, w, rows, cols;
  Grid(const Tensor &x) : n(x.size(0)), h(x.size(2)), w(x.size(3)), rows((h + 3) / TILE), cols((w + 3) / TILE) {}
  int64_t tiles() const { return n * rows * cols; }
  int64_t wide() const { return cols * TILE + 2; }
  int64_t plane() const { return (rows * TILE + 2) * wide(); }
  int64_t inner() const { return wide() + 1; }
  // Where a tile's 6x6 window starts in the buffer; the last one again for the lanes of a last block that has fewer.
  std::vector<int64_t> starts() const {
    std::vector<int64_t> at;
    for (int64_t i = 0; i < n; i++) {
      for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < cols; c++) at.push_back(i * plane() + r * TILE * wide() + c * TILE);
      }
    }
    at.resize((at.size() + LANES - 1) / LANES * LANES, at.back());
    return at;
  }
};

ANNEAL_INLINE Lanes load(const float *from, int64_t count) {
  Lanes v = {};
  if (count >= LANES) {
    std::memcpy(&v, from, sizeof v);
  } else {
    for (int64_t l = 0; l < count; l++) v[l] = from[l];
  }
  return v;
}

ANNEAL_INLINE void store(float *to, const Lanes &v, int64_t count) {
  if (count >= LANES) {
    std::memcpy(to, &v, sizeof v);
  } else {
    for (int64_t l = 0; l < count; l++) to[l] = v[l];
  }
}

// Channels [begin, end) of images [n, c, h, w] -> [36, c, tiles]: M times each IN x IN window times M'. `shift` is where
// the window starts in the tile's 6x6.
template <int IN>
ANNEAL_INLINE void to_frequencies(const Matrix<6, IN> &m, const Grid &g, int64_t shift, const float *images, float *out,
                                  int64_t channels, int64_t begin, int64_t end) {
  std::vector<float> buffer(g.n * g.plane());
  std::vector<int64_t> starts = g.starts();
  int64_t tiles = g.tiles(), wide = g.wide();
  for (int64_t c = begin; c < end; c++) {
    for (int64_t i = 0; i < g.n; i++) {
      for (int64_t y = 0; y < g.h; y++) {
        float *to = buffer.data() + i * g.plane() + g.inner() + y * wide;
        std::memcpy(to, images + ((i * channels + c) * g.h + y) * g.w, g.w * sizeof(float));
      }
    }
    for (int64_t t = 0; t < tiles; t += LANES) {
      const int64_t *at = starts.data() + t;
      Lanes in[IN * IN], f[FREQUENCIES];
      for (int i = 0; i < IN; i++) {
        for (int j = 0; j < IN; j++) {
          const float *p = buffer.data() + shift + i * wide + j;
          in[i * IN + j] = Lanes{p[at[0]], p[at[1]], p[at[2]], p[at[3]], p[at[4]], p[at[5]], p[at[6]], p[at[7]]};
        }
      }
      sandwich(m, in, f);
      for (int64_t k = 0; k < FREQUENCIES; k++) store(out + (k * channels + c) * tiles + t, f[k], tiles - t);
    }
  }
}

// The transpose: [36, c, tiles] -> [n, c, h, w]; windows that overlap are summed, `bias` is added if it is not null.
template <int OUT>
ANNEAL_INLINE void from_frequencies(const Matrix<OUT, 6> &m, const Grid &g, int64_t shift, const float *in,
                                    const float *bias, float *images, int64_t channels, int64_t begin, int64_t end) {
  std::vector<float> buffer(g.n * g.plane());
  std::vector<int64_t> starts = g.starts();
  int64_t tiles = g.tiles(), wide = g.wide();
  for (int64_t c = begin; c < end; c++) {
    std::fill(buffer.begin(), buffer.end(), bias ? bias[c] : 0.0f);
    for (int64_t t = 0; t < tiles; t += LANES) {
      int64_t count = std::min(LANES, tiles - t);
      Lanes f[FREQUENCIES], out[OUT * OUT];
      for (int64_t k = 0; k < FREQUENCIES; k++) f[k] = load(in + (k * channels + c) * tiles + t, tiles - t);
      sandwich(m, f, out);
      for (int64_t l = 0; l < count; l++) {
        float *to = buffer.data() + starts[t + l] + shift;
        for (int i = 0; i < OUT; i++) {
          for (int j = 0; j < OUT; j++) to[i * wide + j] += out[i * OUT + j][l];
        }
      }
    }
    for (int64_t i = 0; i < g.n; i++) {
      for (int64_t y = 0; y < g.h; y++) {
        const float *from = buffer.data() + i * g.plane() + g.inner() + y * wide;
        std::memcpy(images + ((i * channels + c) * g.h + y) * g.w, from, g.w * sizeof(float));
      }
    }
  }
}

ANNEAL_WIDE void transform_x(const Grid &g, const float *x, float *v, int64_t channels, int64_t begin, int64_t end) {
  to_frequencies(BT, g, 0, x, v, channels, begin, end);
}

ANNEAL_WIDE void transform_dy(const Grid &g, const float *dy, float *z, int64_t channels, int64_t begin, int64_t end) {
  to_frequencies(A, g, g.inner(), dy, z, channels, begin, end);
}

ANNEAL_WIDE void transform_back_y(const Grid &g, const float *m, const float *bias, float *y, int64_t channels,
                                  int64_t begin, int64_t end) {
  from_frequencies(AT, g, g.inner(), m, bias, y, channels, begin, end);
}

ANNEAL_WIDE void transform_back_dx(const Grid &g, const float *dv, float *dx, int64_t channels, int64_t begin,
                                   int64_t end) {
  from_frequencies(B, g, 0, dv, nullptr, dx, channels, begin, end);
}

// Output channels [begin, end) of weights [out, c, 3, 3] -> [36, out, c].
ANNEAL_WIDE void transform_w(const float *w, float *u, int64_t out, int64_t c, int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; o++) {
    for (int64_t i = 0; i < c; i += LANES) {
      int64_t count = std::min(LANES, c - i);
      Lanes in[TAPS * TAPS] = {}, f[FREQUENCIES];
      for (int64_t l = 0; l < count; l++) {
        for (int64_t k = 0; k < TAPS * TAPS; k++) in[k][l] = w[(o * c + i + l) * TAPS * TAPS + k];
      }
      sandwich(G, in, f);
      for (int64_t k = 0; k < FREQUENCIES; k++) store(u + (k * out + o) * c + i, f[k], c - i);
    }
  }
}

// The transpose: [36, out, c] -> [out, c, 3, 3].
ANNEAL_WIDE void transform_back_dw(const float *du, float *dw, int64_t out, int64_t c, int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; o++) {
    for (int64_t i = 0; i < c; i += LANES) {
      int64_t count = std::min(LANES, c - i);
      Lanes f[FREQUENCIES], taps[TAPS * TAPS];
      for (int64_t k = 0; k < FREQUENCIES; k++) f[k] = load(du + (k * out + o) * c + i, c - i);
      sandwich(GT, f, taps);
      for (int64_t l = 0; l < count; l++) {
        for (int64_t k = 0; k < TAPS * TAPS; k++) dw[(o * c + i + l) * TAPS * TAPS + k] = taps[k][l];
      }
    }
  }
}

Tensor frequencies_of_x(const Tensor &x, const Grid &g) {
  int64_t c = x.size(1);
  Tensor v = at::empty({FREQUENCIES, c, g.tiles()}, x.options());
  const float *from = x.const_data_ptr<float>();
  float *to = v.mutable_data_ptr<float>();
  over_channels(c, [&](int64_t begin, int64_t end) { transform_x(g, from, to, c, begin, end); });
  return v;
}

Tensor frequencies_of_w(const Tensor &w) {
  int64_t out = w.size(0), c = w.size(1);
  Tensor u = at::empty({FREQUENCIES, out, c}, w.options());
  const float *from = w.const_data_ptr<float>();
  float *to = u.mutable_data_ptr<float>();
  over_channels(out, [&](int64_t begin, int64_t end) { transform_w(from, to, out, c, begin, end); });
  return u;
}

struct WinogradConv : torch::autograd::Function<WinogradConv> {
  static Tensor forward(AutogradContext *ctx, const Tensor &input, const Tensor &weight, const Tensor &bias) {
    Tensor x = input.contiguous(), w = weight.contiguous(), b = bias.contiguous();
    ctx->save_for_backward({x, w});
    Grid g(x);
    int64_t out = w.size(0);
    Tensor m = at::bmm(frequencies_of_w(w), frequencies_of_x(x, g));
    Tensor y = at::empty({g.n, out, g.h, g.w}, x.options());
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
    int64_t out = w.size(0), c = w.size(1);
    Tensor z = at::empty({FREQUENCIES, out, g.tiles()}, x.options());
    const float *grad = dy.const_data_ptr<float>();
    float *frequencies = z.mutable_data_ptr<float>();
    over_channels(out, [&](int64_t begin, int64_t end) { transform_dy(g, grad, frequencies, out, begin, end); });
    variable_list result(3);
    if (ctx->needs_input_grad(0)) {
      Tensor dv = at::bmm(frequencies_of_w(w).transpose(1, 2), z);
      result[0] = at::empty_like(x);
      const float *from = dv.const_data_ptr<float>();
      float *to = result[0].mutable_data_ptr<float>();
      over_channels(c, [&](int64_t begin, int64_t end) { transform_back_dx(g, from, to, c, begin, end); });
    }
    if (ctx->needs_input_grad(1)) {
      Tensor du = at::bmm(z, frequencies_of_x(x, g).transpose(1, 2));
      result[1] = at::empty_like(w);
      const float *from = du.const_data_ptr<float>();
      float *to = result[1].mutable_data_ptr<float>();
      over_channels(out, [&](int64_t begin, int64_t end) { transform_back_dw(from, to, out, c, begin, end); });
    }
    if (ctx->needs_input_grad(2)) result[2] = dy.sum(at::IntArrayRef({0, 2, 3}));
    return result;
  }
};

}  // namespace

Tensor anneal::winograd_conv(const Tensor &x, const Tensor &weight, const Tensor &bias) {
  return WinogradConv::apply(x, weight, bias);
}
