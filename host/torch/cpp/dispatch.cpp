// The shim's entries for operations by name, and for tensors from and to plain memory.
#include "dispatch.h"

#include "shim.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

using anneal::dispatch::Kwarg;
using anneal::dispatch::Op;
using anneal::dispatch::Param;
using anneal::dispatch::Refusal;
using anneal::dispatch::Value;
using at::Tensor;

namespace {

template <typename Body>
int guarded(const std::string &what, Body body) {
  try {
    body();
    return 0;
  } catch (const Refusal &refusal) {
    anneal::fail(refusal.what());
    return refusal.fault;
  } catch (const c10::Error &error) {
    return anneal::fail((what + "libtorch: " + error.what_without_backtrace()).c_str());
  } catch (const std::exception &error) {
    return anneal::fail((what + error.what()).c_str());
  } catch (...) {
    return anneal::fail((what + "an unknown C++ exception").c_str());
  }
}

// The i-th of what lies `stride` bytes apart: the caller's values may be longer than ours.
template <typename T>
T &at_stride(T *first, size_t i, size_t stride) {
  using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
  return *reinterpret_cast<T *>(reinterpret_cast<Byte *>(first) + i * stride);
}

struct Call {
  const Op &op;
  c10::Device device;
  const Value *args;
  size_t num_args;
  const Kwarg *kwargs;
  size_t num_kwargs;
  size_t value_size;
};

[[noreturn]] void refuse(const Op &op, const std::string &what) {
  throw Refusal(anneal::dispatch::ARGUMENT, "`" + op.name + "` " + what);
}

size_t param_named(const Op &op, const std::string &name) {
  for (size_t i = 0; i < op.params.size(); ++i) {
    if (op.params[i].name == name) return i;
  }
  refuse(op, "has no argument `" + name + "`");
}

// The arguments in the operation's order: given, or as the schema has them.
std::vector<c10::IValue> arguments(const Call &call) {
  const Op &op = call.op;
  const size_t count = op.params.size();
  c10::SmallVector<const Value *, 16> given(count, nullptr);
  size_t positional = 0;
  while (positional < count && !op.params[positional].is_by_name) ++positional;
  if (call.num_args > positional) {
    refuse(op, "takes " + std::to_string(positional) + " arguments by position, got " + std::to_string(call.num_args));
  }
  for (size_t i = 0; i < call.num_args; ++i) given[i] = &at_stride(call.args, i, call.value_size);
  for (size_t i = 0; i < call.num_kwargs; ++i) {
    const Kwarg &kwarg = at_stride(call.kwargs, i, offsetof(Kwarg, value) + call.value_size);
    const size_t place = param_named(op, kwarg.name.text());
    if (given[place]) refuse(op, "got `" + op.params[place].name + "` twice");
    given[place] = &kwarg.value;
  }
  std::vector<c10::IValue> stack;
  stack.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Param &param = op.params[i];
    if (given[i]) {
      stack.push_back(anneal::dispatch::convert(op, param, *given[i]));
    } else if (param.initial) {
      stack.push_back(*param.initial);
    } else {
      refuse(op, "lacks its argument `" + param.name + "`");
    }
  }
  if (op.device_param >= 0 && stack[op.device_param].isNone()) stack[op.device_param] = call.device;
  if (op.dropout_param >= 0 && stack[op.dropout_param].toDouble() != 0.0) {
    refuse(op, "draws random numbers for dropout, which come from draw_normal alone");
  }
  return stack;
}

void run(const Call &call, Value *results, size_t num_results) {
  std::vector<c10::IValue> stack = arguments(call);
  call.op.handle.callBoxed(&stack);
  const std::vector<Value> values = anneal::dispatch::returned(call.op, stack);
  for (size_t i = 0; i < num_results; ++i) {
    at_stride(results, i, call.value_size) = i < values.size() ? values[i] : Value{};
  }
  for (size_t i = num_results; i < values.size(); ++i) {
    if (values[i].tag == anneal::dispatch::TENSOR) delete values[i].u.tensor;
    if (values[i].tag == anneal::dispatch::TENSORS) {
      for (uint32_t j = 0; j < values[i].len; ++j) delete values[i].u.tensors[j];
    }
  }
}

c10::ScalarType dtype_of(int number) {
  if (number < 0 || number >= static_cast<int>(c10::ScalarType::NumOptions)) {
    throw Refusal(anneal::dispatch::ARGUMENT, std::to_string(number) + " is no dtype");
  }
  return static_cast<c10::ScalarType>(number);
}

c10::Device device_of(int type, int index) {
  return c10::Device(static_cast<c10::DeviceType>(type), static_cast<c10::DeviceIndex>(index));
}

}  // namespace

extern "C" {

int anneal_torch_op_find(const char *name, const char *overload, const Op **out) {
  return guarded("", [&] { *out = &anneal::dispatch::find(name, overload); });
}

int anneal_torch_op_call(const Op *op, int device_type, int device_index, const Value *args, size_t num_args,
                         const Kwarg *kwargs, size_t num_kwargs, size_t value_size, Value *results,
                         size_t num_results) {
  return guarded("`" + op->name + "`: ", [&] {
    const c10::Device device = device_of(device_type, device_index);
    run({*op, device, args, num_args, kwargs, num_kwargs, value_size}, results, num_results);
  });
}

// The arrays live as long as the tensor.
int anneal_torch_tensor_info(const Tensor *tensor, int *dtype, int *device_type, int *device_index, int *rank,
                             const int64_t **sizes, const int64_t **strides, int *requires_grad, int *is_meta) {
  return guarded("", [&] {
    if (!tensor->defined()) throw Refusal(anneal::dispatch::ARGUMENT, "the tensor is undefined");
    *dtype = static_cast<int>(tensor->scalar_type());
    *device_type = static_cast<int>(tensor->device().type());
    *device_index = tensor->device().index();
    *rank = static_cast<int>(tensor->dim());
    *sizes = tensor->sizes().data();
    *strides = tensor->strides().data();
    *requires_grad = tensor->requires_grad();
    *is_meta = tensor->is_meta();
  });
}

// A copy of memory, on a device. A device without values takes the shape alone.
int anneal_torch_from_host(const void *data, int dtype, const int64_t *sizes, size_t rank, int device_type,
                           int device_index, Tensor **out) {
  return guarded("", [&] {
    const auto options = at::TensorOptions().dtype(dtype_of(dtype));
    const auto device = device_of(device_type, device_index);
    const at::IntArrayRef shape(sizes, rank);
    for (const int64_t size : shape) {
      if (size < 0) throw Refusal(anneal::dispatch::ARGUMENT, "a size is " + std::to_string(size));
    }
    if (device.is_meta() || c10::multiply_integers(shape) == 0) {
      *out = new Tensor(at::empty(shape, options.device(device)));
      return;
    }
    if (!data) throw Refusal(anneal::dispatch::ARGUMENT, "the values are a null pointer");
    const Tensor view = at::from_blob(const_cast<void *>(data), shape, options);
    *out = new Tensor(device.is_cpu() ? view.clone() : view.to(device));
  });
}

// Copies a tensor's values, in row-major order, into `bytes` bytes.
int anneal_torch_to_host(const Tensor *tensor, void *dst, size_t bytes) {
  return guarded("", [&] {
    if (!tensor->defined() || tensor->is_meta()) {
      throw Refusal(anneal::dispatch::ARGUMENT, "the tensor has no values");
    }
    const size_t wanted = static_cast<size_t>(tensor->numel()) * tensor->element_size();
    if (wanted != bytes) {
      throw Refusal(anneal::dispatch::ARGUMENT, "the tensor has " + std::to_string(wanted) + " bytes, the place for it " +
                                                    std::to_string(bytes));
    }
    at::NoGradGuard no_grad;
    const Tensor values = tensor->detach().to(c10::kCPU).resolve_conj().resolve_neg().contiguous();
    if (bytes > 0) std::memcpy(dst, values.const_data_ptr(), bytes);
  });
}

}  // extern "C"
