// Operations of libtorch's dispatcher, prepared to be called with plain values.
#pragma once
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <vector>

namespace anneal::dispatch {

// Who is at fault when a call fails; what the entries of the shim return.
enum Fault : int { TORCH = -1, ARGUMENT = -2, UNSUPPORTED = -3 };

// A fault that is found before libtorch is called.
struct Refusal : std::exception {
  Fault fault;
  std::string text;
  Refusal(Fault fault, std::string text) : fault(fault), text(std::move(text)) {}
  const char *what() const noexcept override { return text.c_str(); }
};

// The tags and the layout are those of `anneal_value` in plugin-api/include/anneal_plugin.h.
enum Tag : uint32_t { NONE, TENSOR, TENSORS, BOOL, INT, DOUBLE, INTS, DOUBLES, STR, DTYPE, DEVICE, LAYOUT, MEMORY_FORMAT };

struct Str {
  const char *ptr;
  size_t len;
  std::string text() const { return ptr ? std::string(ptr, len) : std::string(); }
};

struct Value {
  uint32_t tag, len;
  union {
    at::Tensor *tensor;
    at::Tensor *const *tensors;
    int64_t i;
    double d;
    const int64_t *ints;
    const double *doubles;
    Str str;
    struct {
      int32_t type, index;
    } device;
  } u;
};
static_assert(sizeof(Value) == 24, "the layout of anneal_value");

struct Kwarg {
  Str name;
  Value value;
};

enum class Type {
  Tensor, Tensors, OptionalTensors, Scalar, Int, Double, Bool, Ints, Doubles, Bools, Str, Dtype, Device, Layout,
  MemoryFormat, Other
};

// An argument of an operation.
struct Param {
  std::string name;
  std::string type_text;
  Type type = Type::Other;
  bool is_optional = false, is_by_name = false;
  // How many elements one alone stands for in a list, or 0.
  int32_t length = 0;
  std::optional<c10::IValue> initial;
};

struct Op {
  c10::OperatorHandle handle;
  // `aten::add.Tensor`
  std::string name;
  std::vector<Param> params;
  // The argument that says where an operation without tensors makes its result, or -1.
  int device_param = -1;
  // The argument that must be 0, because the operation draws random numbers otherwise, or -1.
  int dropout_param = -1;

  explicit Op(c10::OperatorHandle handle) : handle(std::move(handle)) {}
};

// The operation of this name, prepared once and kept as long as the process.
const Op &find(const std::string &name, const std::string &overload);

// A value as the argument wants it.
c10::IValue convert(const Op &op, const Param &param, const Value &value);

// What an operation returned, as values. The handles in them are the caller's; the arrays and texts last until the next
// call on this thread.
std::vector<Value> returned(const Op &op, const std::vector<c10::IValue> &stack);

}  // namespace anneal::dispatch
