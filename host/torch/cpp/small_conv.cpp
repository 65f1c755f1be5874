// Convolutions over few pixels on the CPU, as one matrix product over all images: oneDNN's kernels vectorise along a row
// of pixels, and a row of two or four leaves them half idle.
#include "conv.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <vector>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// The geometry of a convolution that keeps the size of its input.
struct Shape {
  int64_t n, c, h, w, kh, kw;
  int64_t pixels() const { return h * w; }
  int64_t taps() const { return kh * kw; }
  int64_t padded_w() const { return w + kw - 1; }
  int64_t padded() const { return (h + kh - 1) * padded_w(); }
  // Where a pixel's window starts in the padded image.
  std::vector<int64_t> starts() const {
    std::vector<int64_t> at;
    for (int64_t y = 0; y < h; y++) {
      for (int64_t x = 0; x < w; x++) at.push_back(y * padded_w() + x);
    }
    return at;
  }
  // Where the image's own pixels lie in the padded image, from the first of them.
  int64_t inner() const { return (kh / 2) * padded_w() + kw / 2; }
};

Shape shape_of(const Tensor &x, const Tensor &weight) {
  return {x.size(0), x.size(1), x.size(2), x.size(3), weight.size(2), weight.size(3)};
}

// Runs `each(image, padded, column)` for every image and channel; tap k of the channel is at column + k*n*h*w.
template <typename Each>
void for_each_plane(const Shape &s, Each each) {
  int64_t row = s.n * s.pixels();
  at::parallel_for(0, s.c, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> padded(s.padded());
    for (int64_t c = begin; c < end; c++) {
      for (int64_t n = 0; n < s.n; n++) {
        each((n * s.c + c) * s.pixels(), padded, c * s.taps() * row + n * s.pixels());
      }
    }
  });
}

// [n, c, h, w] -> [c*kh*kw, n*h*w]: row (c, tap) holds what the tap sees of the channel.
Tensor windows(const Tensor &x, const Shape &s) {
  int64_t row = s.n * s.pixels(), inner = s.inner(), wide = s.padded_w();
  Tensor out = at::empty({s.c * s.taps(), row}, x.options());
  const float *from = x.const_data_ptr<float>();
  float *to = out.mutable_data_ptr<float>();
  auto starts = s.starts();
  for_each_plane(s, [&](int64_t image, std::vector<float> &padded, int64_t column) {
    for (int64_t p = 0; p < s.pixels(); p++) padded[inner + starts[p]] = from[image + p];
    for (int64_t k = 0; k < s.taps(); k++) {
      const float *tap = padded.data() + (k / s.kw) * wide + k % s.kw;
      float *at = to + column + k * row;
      for (int64_t p = 0; p < s.pixels(); p++) at[p] = tap[starts[p]];
    }
  });
  return out;
}

// The transpose of `windows`: every pixel sums what the taps that saw it hold.
void sum_windows(const Tensor &columns, Tensor &x, const Shape &s) {
  int64_t row = s.n * s.pixels(), inner = s.inner(), wide = s.padded_w();
  const float *from = columns.const_data_ptr<float>();
  float *to = x.mutable_data_ptr<float>();
  auto starts = s.starts();
  for_each_plane(s, [&](int64_t image, std::vector<float> &padded, int64_t column) {
    std::fill(padded.begin(), padded.end(), 0.0f);
    for (int64_t k = 0; k < s.taps(); k++) {
      float *tap = padded.data() + (k / s.kw) * wide + k % s.kw;
      const float *at = from + column + k * row;
      for (int64_t p = 0; p < s.pixels(); p++) tap[starts[p]] += at[p];
    }
    for (int64_t p = 0; p < s.pixels(); p++) to[image + p] = padded[inner + starts[p]];
  });
}

struct SmallConv : torch::autograd::Function<SmallConv> {
  static Tensor forward(AutogradContext *ctx, const Tensor &input, const Tensor &weight, const Tensor &bias) {
    Tensor x = input.contiguous(), w = weight.contiguous();
    ctx->save_for_backward({x, w});
    Shape s = shape_of(x, w);
    int64_t out = w.size(0);
    Tensor y = at::addmm(bias.view({out, 1}), w.view({out, -1}), windows(x, s));
    return y.view({out, s.n, s.h, s.w}).transpose(0, 1).contiguous();
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "a small convolution has no second derivative");
    auto saved = ctx->get_saved_variables();
    Tensor x = saved[0], w = saved[1];
    Shape s = shape_of(x, w);
    int64_t out = w.size(0);
    Tensor dy = grads[0].transpose(0, 1).reshape({out, s.n * s.pixels()});
    variable_list result(3);
    if (ctx->needs_input_grad(0)) {
      result[0] = at::empty_like(x);
      sum_windows(at::mm(w.view({out, -1}).t(), dy), result[0], s);
    }
    if (ctx->needs_input_grad(1)) result[1] = at::mm(dy, windows(x, s).t()).view_as(w);
    if (ctx->needs_input_grad(2)) result[2] = dy.sum(1);
    return result;
  }
};

}  // namespace

Tensor anneal::small_conv(const Tensor &x, const Tensor &weight, const Tensor &bias) {
  return SmallConv::apply(x, weight, bias);
}
