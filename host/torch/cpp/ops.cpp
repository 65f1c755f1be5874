// Operations that tch leaves out: fused optimizer steps, gradients as views, autocast, meta tensors, version counters.
#include "shim.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/version.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace anneal {
std::string &last_error() {
  thread_local std::string text;
  return text;
}
}  // namespace anneal

using at::Tensor;

namespace {
// Moves the first gradient that arrives into a tensor of ours; backward adds the next ones there by itself. The first is
// thus copied, not added to zeros, and its own memory is free again before the next parameter's gradient comes.
struct GradHome : torch::autograd::PostAccumulateGradHook {
  Tensor home;
  explicit GradHome(Tensor home) : home(std::move(home)) {}
  void operator()(const Tensor &param) override {
    Tensor &grad = param.mutable_grad();
    if (!grad.defined() || grad.is_alias_of(home)) return;
    at::NoGradGuard no_grad;
    home.copy_(grad);
    grad = home;
  }
};

std::optional<Tensor> optional(Tensor *tensor) { return tensor ? std::optional<Tensor>(*tensor) : std::nullopt; }
}  // namespace

extern "C" {

const char *anneal_torch_last_error() { return anneal::last_error().c_str(); }
const char *anneal_torch_version() { return TORCH_VERSION; }

// The gradient is divided by grad_scale, a tensor or null. With max_exp_avg_sq, a tensor or null, it is AMSGrad.
int anneal_torch_fused_adam(Tensor *param, Tensor *grad, Tensor *exp_avg, Tensor *exp_avg_sq, Tensor *max_exp_avg_sq,
                            Tensor *step, Tensor *grad_scale, int decoupled, double lr, double beta1, double beta2,
                            double weight_decay, double eps) {
  ANNEAL_GUARD({
    at::NoGradGuard no_grad;
    std::vector<Tensor> largest;
    if (max_exp_avg_sq) largest.push_back(*max_exp_avg_sq);
    const bool amsgrad = max_exp_avg_sq != nullptr;
    auto scale = optional(grad_scale);
    if (decoupled) {
      at::_fused_adamw_({*param}, {*grad}, {*exp_avg}, {*exp_avg_sq}, largest, {*step}, lr, beta1, beta2, weight_decay,
                        eps, amsgrad, /*maximize=*/false, scale);
    } else {
      at::_fused_adam_({*param}, {*grad}, {*exp_avg}, {*exp_avg_sq}, largest, {*step}, lr, beta1, beta2, weight_decay,
                       eps, amsgrad, /*maximize=*/false, scale);
    }
  })
}

// The gradient is divided by grad_scale, a tensor or null. The buffer may be null where momentum is 0.
int anneal_torch_fused_sgd(Tensor *param, Tensor *grad, Tensor *momentum_buffer, Tensor *grad_scale, double lr,
                           double momentum, double dampening, double weight_decay, int nesterov, int is_first) {
  ANNEAL_GUARD({
    at::NoGradGuard no_grad;
    std::vector<Tensor> buffers;
    if (momentum_buffer) buffers.push_back(*momentum_buffer);
    at::_fused_sgd_({*param}, {*grad}, buffers, weight_decay, momentum, lr, dampening, nesterov != 0,
                    /*maximize=*/false, is_first != 0, optional(grad_scale));
  })
}

int anneal_torch_keep_grad_in(Tensor *param, Tensor *home) {
  ANNEAL_GUARD({
    TORCH_CHECK(home->sizes() == param->sizes() && home->dtype() == param->dtype() && home->device() == param->device(),
                "a gradient of shape ", home->sizes(), " for a parameter of shape ", param->sizes());
    torch::autograd::impl::set_post_acc_grad_hooks(*param, std::make_unique<GradHome>(*home));
  })
}

int anneal_torch_clear_grad(Tensor *param) {
  ANNEAL_GUARD({ param->mutable_grad().reset(); })
}

int anneal_torch_has_grad(Tensor *param) { return param->grad().defined() ? 1 : 0; }

int64_t anneal_torch_version_counter(Tensor *t) { return static_cast<int64_t>(t->_version()); }

int anneal_torch_is_meta(Tensor *t) { return t->is_meta() ? 1 : 0; }

int anneal_torch_empty_meta(const int64_t *sizes, size_t rank, int kind, Tensor **out) {
  ANNEAL_GUARD({
    *out = new Tensor(at::empty(c10::IntArrayRef(sizes, rank),
                                at::TensorOptions().device(at::kMeta).dtype(static_cast<at::ScalarType>(kind))));
  })
}

int anneal_torch_arange_like(int64_t n, Tensor *like, Tensor **out) {
  ANNEAL_GUARD({ *out = new Tensor(at::arange(n, at::TensorOptions().device(like->device()).dtype(at::kFloat))); })
}

int anneal_torch_zeros_like(const int64_t *sizes, size_t rank, Tensor *like, Tensor **out) {
  ANNEAL_GUARD({
    *out = new Tensor(at::zeros(c10::IntArrayRef(sizes, rank), at::TensorOptions().device(like->device()).dtype(at::kFloat)));
  })
}

int anneal_torch_to_like(Tensor *tensor, Tensor *like, Tensor **out) {
  ANNEAL_GUARD({ *out = new Tensor(tensor->to(like->device())); })
}

struct anneal_autocast_state {
  int enabled, dtype, cache;
};

// kind: a ScalarType, or -1 to switch autocast off. The old state goes to *old and is restored by pop.
int anneal_torch_autocast_push(int cuda, int kind, anneal_autocast_state *old) {
  ANNEAL_GUARD({
    auto device = cuda ? at::kCUDA : at::kCPU;
    *old = {at::autocast::is_autocast_enabled(device), static_cast<int>(at::autocast::get_autocast_dtype(device)),
            at::autocast::is_autocast_cache_enabled()};
    at::autocast::set_autocast_enabled(device, kind >= 0);
    if (kind >= 0) at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(kind));
    at::autocast::increment_nesting();
  })
}

int anneal_torch_autocast_pop(int cuda, const anneal_autocast_state *old) {
  ANNEAL_GUARD({
    auto device = cuda ? at::kCUDA : at::kCPU;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, old->enabled != 0);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(old->dtype));
    at::autocast::set_autocast_cache_enabled(old->cache != 0);
  })
}

}  // extern "C"
