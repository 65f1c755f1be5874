// Tensors without values, counted: what a network would allocate and multiply, found by running it on the meta device.
//
// libtorch's C++ library has shapes for most operations without values; those that networks need beyond them are here, with
// what each keeps for its gradient on a CPU or with fused kernels.
// libtorch is built without assertions, which add fields to one of its classes that are read here.
#ifndef NDEBUG
#define NDEBUG
#endif

#include "conv.h"
#include "shim.h"

#include <ATen/Functions.h>
#include <ATen/native/ConvUtils.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// What one thread allocated and did. It outlives the thread: others may free what it allocated.
struct Counter {
  std::atomic<int64_t> live{0}, peak{0}, flops{0};
};

Counter &mine() {
  static thread_local auto *counter = new Counter;
  return *counter;
}

// A piece of memory, or of none, and whose it is.
struct Block {
  Counter *counter;
  int64_t bytes;
};

Block take(size_t bytes) {
  Counter &counter = mine();
  int64_t now = counter.live += static_cast<int64_t>(bytes);
  if (now > counter.peak) counter.peak = now;
  return {&counter, static_cast<int64_t>(bytes)};
}

void give_back(const Block &block) { block.counter->live -= block.bytes; }

// On the meta device there is no memory to give.
struct MetaAllocator final : c10::Allocator {
  static void free(void *context) {
    auto *block = static_cast<Block *>(context);
    give_back(*block);
    delete block;
  }
  c10::DataPtr allocate(size_t bytes) override {
    return {nullptr, new Block(take(bytes)), &free, at::Device(at::kMeta)};
  }
  void copy_data(void *, const void *, std::size_t) const override {}
};

// On the CPU the allocator that was there gives it. Some of libtorch wants nothing but the pointer, so blocks are found by it.
struct CpuAllocator final : c10::Allocator {
  static CpuAllocator &only() {
    static auto *allocator = new CpuAllocator;
    return *allocator;
  }
  static void free(void *data) {
    auto &self = only();
    {
      std::lock_guard<std::mutex> lock(self.mutex);
      auto found = self.blocks.find(data);
      if (found != self.blocks.end()) {
        give_back(found->second);
        self.blocks.erase(found);
      }
    }
    self.inner->raw_deallocate(data);
  }
  c10::DataPtr allocate(size_t bytes) override {
    void *data = inner->raw_allocate(bytes);
    if (data) {
      std::lock_guard<std::mutex> lock(mutex);
      blocks.emplace(data, take(bytes));
    }
    return {data, data, &free, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free; }
  void copy_data(void *to, const void *from, std::size_t bytes) const override { inner->copy_data(to, from, bytes); }
  c10::Allocator *inner = c10::GetAllocator(at::kCPU);
  std::mutex mutex;
  std::unordered_map<void *, Block> blocks;
};

int64_t multiplications(const Tensor &weight, int64_t positions) { return 2 * weight.numel() * positions; }

// Rows and positions of a convolution's output: each multiplies all of the weight.
int64_t positions_of(const Tensor &out) { return out.numel() / out.size(1); }

// Takes for a moment what a convolution of ours takes before it makes its result: those that keep the size of their input,
// on the CPU.
void take_workspace(const Tensor &x, const Tensor &weight, at::IntArrayRef stride, at::IntArrayRef padding, bool transposed) {
  auto all = [](at::IntArrayRef values, int64_t value) {
    return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == value; });
  };
  bool ours = x.dim() == 4 && !transposed && all(stride, 1) && x.size(1) == weight.size(1) &&
              2 * padding[0] + 1 == weight.size(2) && 2 * padding[1] + 1 == weight.size(3);
  if (ours) at::empty({anneal::conv_workspace(x, weight)}, x.options());
}

Tensor convolution(const Tensor &x, const Tensor &weight, const std::optional<Tensor> &, at::IntArrayRef stride,
                   at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding,
                   int64_t groups) {
  auto sizes = transposed ? at::native::conv_input_size(x.sizes(), weight.sizes(), padding, output_padding, stride, dilation, groups)
                          : at::native::conv_output_size(x.sizes(), weight.sizes(), padding, stride, dilation);
  take_workspace(x, weight, stride, padding, transposed);
  Tensor out = at::empty(sizes, x.options());
  mine().flops += multiplications(weight, positions_of(transposed ? x : out));
  return out;
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(const Tensor &grad, const Tensor &x, const Tensor &weight,
                                                        at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef,
                                                        bool transposed, at::IntArrayRef, int64_t,
                                                        std::array<bool, 3> wanted) {
  take_workspace(x, weight, stride, padding, transposed);
  int64_t once = multiplications(weight, positions_of(transposed ? x : grad));
  mine().flops += once * (wanted[0] + wanted[1]);
  return {wanted[0] ? at::empty(x.sizes(), x.options()) : Tensor(),
          wanted[1] ? at::empty(weight.sizes(), weight.options()) : Tensor(),
          wanted[2] ? at::empty({grad.size(1)}, weight.options()) : Tensor()};
}

std::tuple<Tensor, Tensor, Tensor> group_norm(const Tensor &x, const std::optional<Tensor> &, const std::optional<Tensor> &,
                                              int64_t n, int64_t, int64_t, int64_t groups, double) {
  auto moment = [&] { return at::empty({n, groups}, x.options()); };
  return {at::empty(x.sizes(), x.options()), moment(), moment()};
}

std::tuple<Tensor, Tensor, Tensor> group_norm_backward(const Tensor &, const Tensor &x, const Tensor &, const Tensor &,
                                                       const std::optional<Tensor> &, int64_t, int64_t channels, int64_t,
                                                       int64_t, std::array<bool, 3> wanted) {
  auto affine = [&](bool is_wanted) { return is_wanted ? at::empty({channels}, x.options()) : Tensor(); };
  return {wanted[0] ? at::empty(x.sizes(), x.options()) : Tensor(), affine(wanted[1]), affine(wanted[2])};
}

std::tuple<Tensor, Tensor, Tensor> layer_norm(const Tensor &x, at::IntArrayRef shape, const std::optional<Tensor> &,
                                              const std::optional<Tensor> &, double) {
  auto sizes = x.sizes().vec();
  for (size_t i = sizes.size() - shape.size(); i < sizes.size(); ++i) sizes[i] = 1;
  return {at::empty(x.sizes(), x.options()), at::empty(sizes, x.options()), at::empty(sizes, x.options())};
}

std::tuple<Tensor, Tensor, Tensor> layer_norm_backward(const Tensor &, const Tensor &x, at::IntArrayRef shape, const Tensor &,
                                                       const Tensor &, const std::optional<Tensor> &,
                                                       const std::optional<Tensor> &, std::array<bool, 3> wanted) {
  auto affine = [&](bool is_wanted) { return is_wanted ? at::empty(shape, x.options()) : Tensor(); };
  return {wanted[0] ? at::empty(x.sizes(), x.options()) : Tensor(), affine(wanted[1]), affine(wanted[2])};
}

std::tuple<Tensor, Tensor, Tensor> batch_norm(const Tensor &x, const std::optional<Tensor> &, const std::optional<Tensor> &,
                                              const std::optional<Tensor> &, const std::optional<Tensor> &, bool train, double,
                                              double) {
  auto moment = [&] { return at::empty({train ? x.size(1) : 0}, x.options()); };
  return {at::empty(x.sizes(), x.options()), moment(), moment()};
}

std::tuple<Tensor, Tensor, Tensor> batch_norm_backward(const Tensor &, const Tensor &x, const std::optional<Tensor> &,
                                                       const std::optional<Tensor> &, const std::optional<Tensor> &,
                                                       const std::optional<Tensor> &, const std::optional<Tensor> &, bool,
                                                       double, std::array<bool, 3> wanted) {
  auto affine = [&](bool is_wanted) { return is_wanted ? at::empty({x.size(1)}, x.options()) : Tensor(); };
  return {wanted[0] ? at::empty(x.sizes(), x.options()) : Tensor(), affine(wanted[1]), affine(wanted[2])};
}

Tensor of_each_value(const Tensor &x) { return at::empty(x.sizes(), x.options()); }

Tensor &in_place(Tensor &x, const Tensor &) { return x; }

int64_t attention_flops(const Tensor &q, const Tensor &k) { return 4 * q.numel() * k.size(-2); }

// Fused attention: the scores exist a block at a time; kept are the inputs, the output and a number for each row of scores.
struct Attention : torch::autograd::Function<Attention> {
  static Tensor forward(AutogradContext *ctx, const Tensor &q, const Tensor &k, const Tensor &v) {
    auto sizes = q.sizes().vec();
    sizes.back() = v.size(-1);
    Tensor out = at::empty(sizes, q.options());
    sizes.pop_back();
    ctx->save_for_backward({q, k, v, out, at::empty(sizes, q.options())});
    mine().flops += attention_flops(q, k);
    return out;
  }
  static variable_list backward(AutogradContext *ctx, const variable_list &) {
    auto saved = ctx->get_saved_variables();
    // The scores are made once more, and four more products of their size.
    mine().flops += attention_flops(saved[0], saved[1]) / 2 * 5;
    auto like = [](const Tensor &t) { return at::empty(t.sizes(), t.options()); };
    return {like(saved[0]), like(saved[1]), like(saved[2])};
  }
};

Tensor attention(const Tensor &q, const Tensor &k, const Tensor &v, const std::optional<Tensor> &, double, bool,
                 std::optional<double>, bool) {
  return Attention::apply(q, k, v);
}

Tensor index_select(const Tensor &x, int64_t axis, const Tensor &index) {
  auto sizes = x.sizes().vec();
  sizes[axis < 0 ? axis + x.dim() : axis] = index.numel();
  return at::empty(sizes, x.options());
}

Tensor reflection_pad2d(const Tensor &x, c10::SymIntArrayRef padding) {
  auto sizes = x.sizes().vec();
  sizes[x.dim() - 1] += (padding[0] + padding[1]).expect_int();
  sizes[x.dim() - 2] += (padding[2] + padding[3]).expect_int();
  return at::empty(sizes, x.options());
}

Tensor embedding_backward(const Tensor &grad, const Tensor &, c10::SymInt rows, c10::SymInt, bool) {
  return at::empty({rows.expect_int(), grad.size(-1)}, grad.options());
}

Tensor where(const Tensor &condition, const Tensor &a, const Tensor &b) {
  return at::empty(at::infer_size(at::infer_size(condition.sizes(), a.sizes()), b.sizes()), a.options());
}

// Products of matrices have shapes in libtorch; only what they cost is to be noted.
std::unique_ptr<at::ObserverContext> count_product(const at::RecordFunction &function) {
  std::string_view name = function.name();
  bool adds = name == "aten::addmm" || name == "aten::baddbmm";
  if (!adds && name != "aten::mm" && name != "aten::bmm") return nullptr;
  auto inputs = function.inputs();
  if (inputs.size() < (adds ? 3u : 2u) || !inputs[adds].isTensor() || !inputs[adds + 1].isTensor()) return nullptr;
  const Tensor &a = inputs[adds].toTensor(), &b = inputs[adds + 1].toTensor();
  mine().flops += 2 * a.numel() * b.size(-1);
  return nullptr;
}

std::once_flag installed;
thread_local at::CallbackHandle products = 0;
thread_local bool as_cpu = false;

// Only a process that counts gets allocators and kernels of ours, and keeps them.
void install() {
  // They stand above the priority of those that are there.
  c10::SetAllocator(at::kCPU, &CpuAllocator::only(), 1);
  c10::SetAllocator(at::kMeta, new MetaAllocator, 1);
  auto library = [](c10::DispatchKey key) { return new torch::Library(torch::Library::IMPL, "aten", key, __FILE__, __LINE__); };
  auto &meta = *library(c10::DispatchKey::Meta);
  meta.impl("convolution_overrideable", &convolution);
  meta.impl("convolution_backward_overrideable", &convolution_backward);
  meta.impl("native_group_norm", &group_norm);
  meta.impl("native_group_norm_backward", &group_norm_backward);
  meta.impl("native_batch_norm", &batch_norm);
  meta.impl("native_batch_norm_backward", &batch_norm_backward);
  meta.impl("abs", &of_each_value);
  meta.impl("relu", &of_each_value);
  meta.impl("logical_and_", &in_place);
  meta.impl("native_layer_norm", &layer_norm);
  meta.impl("native_layer_norm_backward", &layer_norm_backward);
  meta.impl("scaled_dot_product_attention", &attention);
  meta.impl("index_select", &index_select);
  meta.impl("where.self", &where);
  meta.impl("reflection_pad2d", &reflection_pad2d);
  meta.impl("embedding_dense_backward", &embedding_backward);
  library(c10::DispatchKey::AutogradMeta)->impl("scaled_dot_product_attention", &attention);
}

}  // namespace

bool anneal::counts_as_cpu(const Tensor &tensor) { return as_cpu && tensor.is_meta(); }

extern "C" {

// From here on what this thread allocates counts, on the CPU and on the meta device. Operations are counted from zero, the
// peak from what lives, which is given. Without values, the operations are those of the CPU, or those of CUDA.
int anneal_torch_count(int for_cpu, int64_t *live) {
  ANNEAL_GUARD({
    as_cpu = for_cpu != 0;
    std::call_once(installed, &install);
    Counter &counter = mine();
    *live = counter.live;
    counter.peak = counter.live.load();
    counter.flops = 0;
    if (products == 0) {
      auto observer = at::RecordFunctionCallback(&count_product).needsInputs(true);
      products = at::addThreadLocalCallback(observer.scopes({at::RecordScope::FUNCTION}));
    }
  })
}

// Ends the count of operations, which costs each a little, and says what was counted.
int anneal_torch_counted(int64_t *live, int64_t *peak, int64_t *flops) {
  ANNEAL_GUARD({
    if (products != 0) at::removeCallback(products);
    products = 0;
    as_cpu = false;
    *live = mine().live;
    *peak = mine().peak;
    *flops = mine().flops;
  })
}
}
