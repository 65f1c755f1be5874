// Activation checkpointing: forward without a graph, recomputed in backward under the same random and autocast state.
#include "shim.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <mutex>
#include <vector>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// run: maps n inputs (borrowed) to at most capacity outputs (owned by the caller); returns their number, or -1 after
// writing a text through anneal_torch_set_error. drop: frees the closure.
typedef int (*anneal_run)(void *closure, Tensor *const *inputs, size_t n, Tensor **outputs, size_t capacity);
typedef void (*anneal_drop)(void *closure);

extern "C" void anneal_torch_set_error(const char *text, size_t len) { anneal::last_error().assign(text, len); }

namespace {
constexpr size_t MAX_OUTPUTS = 8;

struct Closure : torch::CustomClassHolder {
  void *data;
  anneal_run run;
  anneal_drop drop;
  Closure(void *d, anneal_run r, anneal_drop f) : data(d), run(r), drop(f) {}
  ~Closure() override { drop(data); }

  variable_list call(const variable_list &inputs) const {
    std::vector<Tensor *> in;
    for (auto &t : inputs) in.push_back(const_cast<Tensor *>(&t));
    Tensor *out[MAX_OUTPUTS];
    int n = run(data, in.data(), in.size(), out, MAX_OUTPUTS);
    TORCH_CHECK(n >= 0, anneal::last_error());
    variable_list result;
    for (int i = 0; i < n; i++) {
      result.push_back(*out[i]);
      delete out[i];
    }
    return result;
  }
};

// Random and autocast state as a value that can be put back.
struct Ambient {
  Tensor cpu_rng, cuda_rng;
  at::Device device = at::kCPU;
  bool cpu_on, cuda_on, cache;
  at::ScalarType cpu_dtype, cuda_dtype;

  static Tensor rng(at::Device d) {
    auto g = at::globalContext().defaultGenerator(d);
    std::lock_guard<std::mutex> lock(g.mutex());
    return g.get_state();
  }
  static void set_rng(at::Device d, const Tensor &state) {
    auto g = at::globalContext().defaultGenerator(d);
    std::lock_guard<std::mutex> lock(g.mutex());
    g.set_state(state);
  }
  static Ambient now(at::Device device) {
    Ambient a;
    a.device = device;
    a.cpu_rng = rng(at::kCPU);
    if (device.is_cuda()) a.cuda_rng = rng(device);
    a.cpu_on = at::autocast::is_autocast_enabled(at::kCPU);
    a.cuda_on = at::autocast::is_autocast_enabled(at::kCUDA);
    a.cpu_dtype = at::autocast::get_autocast_dtype(at::kCPU);
    a.cuda_dtype = at::autocast::get_autocast_dtype(at::kCUDA);
    a.cache = at::autocast::is_autocast_cache_enabled();
    return a;
  }
  void restore() const {
    set_rng(at::kCPU, cpu_rng);
    if (device.is_cuda()) set_rng(device, cuda_rng);
    at::autocast::set_autocast_enabled(at::kCPU, cpu_on);
    at::autocast::set_autocast_enabled(at::kCUDA, cuda_on);
    at::autocast::set_autocast_dtype(at::kCPU, cpu_dtype);
    at::autocast::set_autocast_dtype(at::kCUDA, cuda_dtype);
    at::autocast::set_autocast_cache_enabled(cache);
  }
};

struct Record : torch::CustomClassHolder {
  c10::intrusive_ptr<Closure> closure;
  Ambient ambient;
};

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static variable_list forward(AutogradContext *ctx, at::TensorList inputs, c10::intrusive_ptr<Closure> closure) {
    auto record = c10::make_intrusive<Record>();
    record->closure = closure;
    record->ambient = Ambient::now(inputs[0].device());
    variable_list all(inputs.begin(), inputs.end());
    ctx->save_for_backward(all);
    ctx->saved_data["record"] = c10::IValue::make_capsule(record);
    // The last input is only there to carry a gradient; the closure does not see it.
    variable_list seen(all.begin(), all.end() - 1);
    at::AutoGradMode no_grad(false);
    return closure->call(seen);
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    auto saved = ctx->get_saved_variables();
    auto record = c10::static_intrusive_pointer_cast<Record>(ctx->saved_data["record"].toCapsule());
    variable_list inputs;
    for (size_t i = 0; i + 1 < saved.size(); i++) {
      inputs.push_back(saved[i].detach().set_requires_grad(saved[i].requires_grad()));
    }
    Ambient before = Ambient::now(saved[0].device());
    variable_list outputs;
    try {
      record->ambient.restore();
      at::AutoGradMode with_grad(true);
      outputs = record->closure->call(inputs);
    } catch (...) {
      before.restore();
      throw;
    }
    before.restore();
    variable_list roots, root_grads;
    for (size_t i = 0; i < outputs.size(); i++) {
      if (outputs[i].requires_grad() && grads[i].defined()) {
        roots.push_back(outputs[i]);
        root_grads.push_back(grads[i]);
      }
    }
    if (!roots.empty()) torch::autograd::backward(roots, root_grads);
    variable_list result;
    for (auto &t : inputs) result.push_back(t.requires_grad() ? t.grad() : Tensor());
    result.push_back(Tensor());  // the gradient carrier
    result.push_back(Tensor());  // the closure
    return result;
  }
};
}  // namespace

extern "C" int anneal_torch_checkpoint(Tensor *const *inputs, size_t n, void *closure, anneal_run run, anneal_drop drop,
                                       Tensor **outputs, size_t capacity, size_t *num_outputs) {
  auto held = c10::make_intrusive<Closure>(closure, run, drop);
  ANNEAL_GUARD({
    variable_list all;
    for (size_t i = 0; i < n; i++) all.push_back(*inputs[i]);
    // Without an input that needs a gradient autograd would skip the node, and with it the parameters inside.
    auto device = all.empty() ? at::Device(at::kCPU) : all[0].device();
    all.push_back(at::empty({0}, at::TensorOptions().device(device)).set_requires_grad(true));
    auto result = Checkpoint::apply(at::TensorList(all), held);
    TORCH_CHECK(result.size() <= capacity, "a checkpointed block has more than ", capacity, " outputs");
    for (size_t i = 0; i < result.size(); i++) outputs[i] = new Tensor(result[i]);
    *num_outputs = result.size();
  })
}
