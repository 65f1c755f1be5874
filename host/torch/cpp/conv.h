// Convolutions of our own on the CPU in f32: stride 1, odd kernels, padding that keeps the size.
#pragma once
#include <ATen/core/Tensor.h>

// The loops vectorise; where the machine has AVX2 and FMA their wider version runs.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define ANNEAL_WIDE __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define ANNEAL_WIDE
#endif

#define ANNEAL_INLINE __attribute__((always_inline)) inline

namespace anneal {
// x [n, c, h, w], weight [out, c, kh, kw], bias [out] -> [n, out, h, w]; with a gradient.
at::Tensor small_conv(const at::Tensor &x, const at::Tensor &weight, const at::Tensor &bias);
// The same for 3x3 kernels.
at::Tensor winograd_conv(const at::Tensor &x, const at::Tensor &weight, const at::Tensor &bias);
// The same for 3x1 kernels: x [b, c, t, pixels], a convolution over time.
at::Tensor winograd_time_conv(const at::Tensor &x, const at::Tensor &weight, const at::Tensor &bias);
// Numbers that the way of one that is in front of these takes while it runs, beside what it is given and gives.
int64_t conv_workspace(const at::Tensor &x, const at::Tensor &weight);
}  // namespace anneal
