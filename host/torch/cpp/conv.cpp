// The choice among ways to convolve on the CPU.
#include "conv.h"
#include "shim.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/conv2d.h>

#include <algorithm>

using at::Tensor;

namespace {
// Up to so many pixels an image, all images are one matrix product.
constexpr int64_t FEW_PIXELS = 16;
// From so many pixels and channels, Winograd's fewer multiplications outweigh its transforms.
constexpr int64_t MANY_PIXELS = 64, MANY_CHANNELS = 32, MANY_FRAMES = 4;

Tensor conv_same(const Tensor &x, const Tensor &weight, const Tensor &bias) {
  int64_t kh = weight.size(2), kw = weight.size(3), pixels = x.size(2) * x.size(3);
  auto plain = [](const Tensor &t) { return t.device().is_cpu() && t.scalar_type() == at::kFloat; };
  if (plain(x) && plain(weight) && plain(bias) && x.size(0) > 0 && !at::autocast::is_autocast_enabled(at::kCPU)) {
    if (pixels <= FEW_PIXELS) return anneal::small_conv(x, weight, bias);
    bool wide = std::min(weight.size(0), weight.size(1)) >= MANY_CHANNELS;
    if (kh == 3 && kw == 3 && wide && pixels >= MANY_PIXELS) return anneal::winograd_conv(x, weight, bias);
    bool video = x.size(2) >= MANY_FRAMES && pixels >= MANY_PIXELS;
    if (kh == 3 && kw == 1 && wide && video) return anneal::winograd_time_conv(x, weight, bias);
  }
  // By this name, because autocast lowers its precision and leaves the general `convolution` alone.
  return at::conv2d(x, weight, bias, {1, 1}, {kh / 2, kw / 2});
}
}  // namespace

extern "C" int anneal_torch_conv_same(Tensor *x, Tensor *weight, Tensor *bias, Tensor **out) {
  ANNEAL_GUARD({
    TORCH_CHECK(x->dim() == 4 && weight->dim() == 4 && x->size(1) == weight->size(1) && weight->size(2) % 2 == 1 &&
                    weight->size(3) % 2 == 1,
                "no convolution of ", x->sizes(), " by ", weight->sizes(), " keeps the size");
    *out = new Tensor(conv_same(*x, *weight, *bias));
  })
}
