// The choice among ways to convolve on the CPU.
#include "conv.h"
#include "shim.h"
#include "winograd.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/conv2d.h>

#include <algorithm>

using at::Tensor;

namespace {
// Up to so many pixels an image, all images are one matrix product.
constexpr int64_t FEW_PIXELS = 16;
// From so many pixels and channels, Winograd's fewer multiplications outweigh its transforms.
constexpr int64_t MANY_PIXELS = 64, MANY_CHANNELS = 32, MANY_FRAMES = 4;

enum class Way { libtorch, few_pixels, winograd, winograd_time };

Way way_of(const Tensor &x, const Tensor &weight) {
  int64_t kh = weight.size(2), kw = weight.size(3), pixels = x.size(2) * x.size(3);
  auto plain = [](const Tensor &t) {
    return (t.device().is_cpu() || anneal::counts_as_cpu(t)) && t.scalar_type() == at::kFloat;
  };
  if (!plain(x) || !plain(weight) || x.size(0) == 0 || at::autocast::is_autocast_enabled(at::kCPU)) return Way::libtorch;
  if (pixels <= FEW_PIXELS) return Way::few_pixels;
  bool wide = std::min(weight.size(0), weight.size(1)) >= MANY_CHANNELS;
  if (kh == 3 && kw == 3 && wide && pixels >= MANY_PIXELS) return Way::winograd;
  bool video = x.size(2) >= MANY_FRAMES && pixels >= MANY_PIXELS;
  return kh == 3 && kw == 1 && wide && video ? Way::winograd_time : Way::libtorch;
}

Tensor conv_same(const Tensor &x, const Tensor &weight, const Tensor &bias) {
  bool has_values = !x.is_meta() && bias.scalar_type() == at::kFloat;
  switch (has_values ? way_of(x, weight) : Way::libtorch) {
    case Way::few_pixels: return anneal::small_conv(x, weight, bias);
    case Way::winograd: return anneal::winograd_conv(x, weight, bias);
    case Way::winograd_time: return anneal::winograd_time_conv(x, weight, bias);
    case Way::libtorch: break;
  }
  // By this name, because autocast lowers its precision and leaves the general `convolution` alone.
  return at::conv2d(x, weight, bias, {1, 1}, {weight.size(2) / 2, weight.size(3) / 2});
}
}  // namespace

int64_t anneal::conv_workspace(const Tensor &x, const Tensor &weight) {
  using namespace winograd;
  int64_t n = x.size(0), h = x.size(2), w = x.size(3), out = weight.size(0), c = weight.size(1);
  auto tiles = [](int64_t side) { return (side + TILE - 1) / TILE; };
  auto transformed = [&](int64_t frequencies, int64_t count) { return frequencies * (count * (c + out) + c * out); };
  switch (way_of(x, weight)) {
    case Way::few_pixels: return n * h * w * (c * weight.size(2) * weight.size(3) + out);
    case Way::winograd: return transformed(SIDE * SIDE, n * tiles(h) * tiles(w));
    case Way::winograd_time: return transformed(SIDE, n * tiles(h) * w);
    case Way::libtorch: break;
  }
  return 0;
}

extern "C" int anneal_torch_conv_same(Tensor *x, Tensor *weight, Tensor *bias, Tensor **out) {
  ANNEAL_GUARD({
    TORCH_CHECK(x->dim() == 4 && weight->dim() == 4 && x->size(1) == weight->size(1) && weight->size(2) % 2 == 1 &&
                    weight->size(3) % 2 == 1,
                "no convolution of ", x->sizes(), " by ", weight->sizes(), " keeps the size");
    *out = new Tensor(conv_same(*x, *weight, *bias));
  })
}
