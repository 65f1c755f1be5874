// Plain values to the arguments of an operation, and its results to plain values.
#include "dispatch.h"

#include <ATen/core/List.h>
#include <c10/core/Device.h>
#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>

#include <deque>

namespace anneal::dispatch {
namespace {

const char *tag_name(uint32_t tag) {
  static const char *const names[] = {"none",   "a tensor", "tensors", "a bool",  "an int",   "a double",       "ints",
                                      "doubles", "a text",   "a dtype", "a device", "a layout", "a memory format"};
  return tag <= MEMORY_FORMAT ? names[tag] : "of an unknown tag";
}

[[noreturn]] void refuse(const Op &op, const Param &param, const std::string &what) {
  throw Refusal(ARGUMENT, "`" + op.name + "`: `" + param.name + "` is " + what + ", wanted is " + param.type_text);
}

const at::Tensor &tensor_of(const Op &op, const Param &param, const at::Tensor *tensor) {
  if (!tensor) refuse(op, param, "a null handle");
  return *tensor;
}

template <typename T>
void check_array(const Op &op, const Param &param, const T *array, uint32_t len) {
  if (!array && len > 0) refuse(op, param, "a null array");
}

// One element stands for all where the operation has a number of axes of its own.
template <typename To, typename From>
c10::IValue list_of(const Op &op, const Param &param, const From *array, uint32_t len) {
  check_array(op, param, array, len);
  const uint32_t wanted = len == 1 && param.length > 1 ? static_cast<uint32_t>(param.length) : len;
  c10::List<To> list;
  list.reserve(wanted);
  for (uint32_t i = 0; i < wanted; ++i) list.push_back(static_cast<To>(array[len == 1 ? 0 : i]));
  return list;
}

c10::IValue number_of(const Op &op, const Param &param, const Value &value, int64_t end) {
  if (value.u.i < 0 || value.u.i >= end) refuse(op, param, "the unknown number " + std::to_string(value.u.i));
  return value.u.i;
}

c10::IValue tensors_of(const Op &op, const Param &param, const Value &value) {
  check_array(op, param, value.u.tensors, value.len);
  if (param.type == Type::OptionalTensors) {
    c10::List<std::optional<at::Tensor>> list;
    list.reserve(value.len);
    for (uint32_t i = 0; i < value.len; ++i) {
      const at::Tensor *tensor = value.u.tensors[i];
      list.push_back(tensor ? std::optional<at::Tensor>(*tensor) : std::nullopt);
    }
    return list;
  }
  c10::List<at::Tensor> list;
  list.reserve(value.len);
  for (uint32_t i = 0; i < value.len; ++i) list.push_back(tensor_of(op, param, value.u.tensors[i]));
  return list;
}

c10::IValue device_of(const Op &op, const Param &param, const Value &value) {
  const auto [type, index] = value.u.device;
  if (type < 0 || type >= c10::COMPILE_TIME_MAX_DEVICE_TYPES || index < -1 || index > 127) {
    refuse(op, param, "the unknown device " + std::to_string(type) + ":" + std::to_string(index));
  }
  return c10::Device(static_cast<c10::DeviceType>(type), static_cast<c10::DeviceIndex>(index));
}

// One returned value. Arrays and texts go into what outlives the call.
struct Kept {
  std::deque<std::vector<at::Tensor *>> tensors;
  std::deque<std::vector<int64_t>> ints;
  std::deque<std::vector<double>> doubles;
  std::deque<std::string> texts;
};

Value value_of(const Op &op, const c10::IValue &result, Kept &kept) {
  Value value{};
  if (result.isTensor()) {
    value.tag = TENSOR;
    value.u.tensor = new at::Tensor(result.toTensor());
  } else if (result.isTensorList()) {
    auto &handles = kept.tensors.emplace_back();
    for (const at::Tensor &tensor : result.toTensorVector()) handles.push_back(new at::Tensor(tensor));
    value.tag = TENSORS;
    value.len = static_cast<uint32_t>(handles.size());
    value.u.tensors = handles.data();
  } else if (result.isInt() || result.isSymInt()) {
    value.tag = INT;
    value.u.i = result.isInt() ? result.toInt() : result.toSymInt().expect_int();
  } else if (result.isDouble()) {
    value.tag = DOUBLE;
    value.u.d = result.toDouble();
  } else if (result.isBool()) {
    value.tag = BOOL;
    value.u.i = result.toBool();
  } else if (result.isIntList()) {
    auto &ints = kept.ints.emplace_back(result.toIntVector());
    value.tag = INTS;
    value.len = static_cast<uint32_t>(ints.size());
    value.u.ints = ints.data();
  } else if (result.isDoubleList()) {
    auto &doubles = kept.doubles.emplace_back(result.toDoubleVector());
    value.tag = DOUBLES;
    value.len = static_cast<uint32_t>(doubles.size());
    value.u.doubles = doubles.data();
  } else if (result.isString()) {
    auto &text = kept.texts.emplace_back(result.toStringRef());
    value.tag = STR;
    value.u.str = {text.data(), text.size()};
  } else if (!result.isNone()) {
    throw Refusal(UNSUPPORTED, "`" + op.name + "` returns a value of type " + result.tagKind());
  }
  return value;
}

void release(const Value &value) {
  if (value.tag == TENSOR) delete value.u.tensor;
  if (value.tag == TENSORS) {
    for (uint32_t i = 0; i < value.len; ++i) delete value.u.tensors[i];
  }
}

}  // namespace

c10::IValue convert(const Op &op, const Param &param, const Value &value) {
  const uint32_t tag = value.tag;
  if (tag == NONE && (param.is_optional || param.initial)) {
    return param.is_optional ? c10::IValue() : *param.initial;
  }
  switch (param.type) {
    case Type::Tensor:
      if (tag == TENSOR) return tensor_of(op, param, value.u.tensor);
      break;
    case Type::Tensors:
    case Type::OptionalTensors:
      if (tag == TENSORS) return tensors_of(op, param, value);
      break;
    case Type::Scalar:
      if (tag == DOUBLE) return value.u.d;
      if (tag == BOOL) return value.u.i != 0;
      if (tag == INT) return value.u.i;
      break;
    case Type::Int:
      if (tag == INT) return value.u.i;
      break;
    case Type::Double:
      if (tag == DOUBLE) return value.u.d;
      if (tag == INT) return static_cast<double>(value.u.i);
      break;
    case Type::Bool:
      if (tag == BOOL) return value.u.i != 0;
      break;
    case Type::Ints:
      if (tag == INTS) return list_of<int64_t>(op, param, value.u.ints, value.len);
      if (tag == INT) return list_of<int64_t>(op, param, &value.u.i, 1);
      break;
    case Type::Doubles:
      if (tag == DOUBLES) return list_of<double>(op, param, value.u.doubles, value.len);
      if (tag == INTS) return list_of<double>(op, param, value.u.ints, value.len);
      if (tag == DOUBLE) return list_of<double>(op, param, &value.u.d, 1);
      break;
    case Type::Bools:
      if (tag == INTS) return list_of<bool>(op, param, value.u.ints, value.len);
      break;
    case Type::Str:
      if (tag == STR) return value.u.str.text();
      break;
    case Type::Dtype:
      if (tag == DTYPE) return number_of(op, param, value, static_cast<int64_t>(c10::ScalarType::NumOptions));
      break;
    case Type::Device:
      if (tag == DEVICE) return device_of(op, param, value);
      break;
    case Type::Layout:
      if (tag == LAYOUT) return number_of(op, param, value, static_cast<int64_t>(c10::Layout::NumOptions));
      break;
    case Type::MemoryFormat:
      if (tag == MEMORY_FORMAT) return number_of(op, param, value, static_cast<int64_t>(c10::MemoryFormat::NumOptions));
      break;
    case Type::Other:
      break;
  }
  refuse(op, param, tag_name(tag));
}

std::vector<Value> returned(const Op &op, const std::vector<c10::IValue> &stack) {
  thread_local Kept kept;
  kept = Kept();
  std::vector<Value> values;
  try {
    for (const c10::IValue &result : stack) values.push_back(value_of(op, result, kept));
  } catch (...) {
    for (const Value &value : values) release(value);
    throw;
  }
  return values;
}

}  // namespace anneal::dispatch
