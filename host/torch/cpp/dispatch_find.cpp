// Operations found by name, and which of them a caller may not have.
#include "dispatch.h"

#include <ATen/core/enum_tag.h>
#include <ATen/core/jit_type.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace anneal::dispatch {
namespace {

std::string full_name(const std::string &name, const std::string &overload) {
  return overload.empty() ? name : name + "." + overload;
}

Type scalar_type(c10::TypeKind kind) {
  switch (kind) {
    case c10::TypeKind::TensorType: return Type::Tensor;
    case c10::TypeKind::NumberType: return Type::Scalar;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: return Type::Int;
    case c10::TypeKind::FloatType:
    case c10::TypeKind::SymFloatType: return Type::Double;
    case c10::TypeKind::BoolType:
    case c10::TypeKind::SymBoolType: return Type::Bool;
    case c10::TypeKind::StringType: return Type::Str;
    case c10::TypeKind::ScalarTypeType: return Type::Dtype;
    case c10::TypeKind::DeviceObjType: return Type::Device;
    case c10::TypeKind::LayoutType: return Type::Layout;
    case c10::TypeKind::MemoryFormatType: return Type::MemoryFormat;
    default: return Type::Other;
  }
}

Type list_type(const c10::TypePtr &element) {
  if (auto optional = element->cast<c10::OptionalType>()) {
    const bool tensors = optional->getElementType()->kind() == c10::TypeKind::TensorType;
    return tensors ? Type::OptionalTensors : Type::Other;
  }
  switch (scalar_type(element->kind())) {
    case Type::Tensor: return Type::Tensors;
    case Type::Int: return Type::Ints;
    case Type::Double: return Type::Doubles;
    case Type::Bool: return Type::Bools;
    default: return Type::Other;
  }
}

Param param_of(const c10::Argument &argument) {
  Param param;
  // The real type tells a dtype from a number, which `type()` does not.
  c10::TypePtr type = argument.real_type();
  param.type_text = type->str();
  if (auto optional = type->cast<c10::OptionalType>()) {
    param.is_optional = true;
    type = optional->getElementType();
  }
  param.name = argument.name();
  param.type = type->kind() == c10::TypeKind::ListType ? list_type(type->expectRef<c10::ListType>().getElementType())
                                                       : scalar_type(type->kind());
  param.is_by_name = argument.kwarg_only();
  param.length = argument.N().value_or(0);
  param.initial = argument.default_value();
  if (!param.initial && param.type == Type::Other && param.is_optional) param.initial = c10::IValue();
  return param;
}

bool writes(const c10::OperatorHandle &handle) {
  const auto &arguments = handle.schema().arguments();
  return std::any_of(arguments.begin(), arguments.end(), [](const c10::Argument &argument) {
    return argument.alias_info() && argument.alias_info()->isWrite();
  });
}

// Names the form of an operation that returns its result, where there is one; that of the same overload before others.
std::string functional_form(const std::string &name, const std::string &overload) {
  auto &dispatcher = c10::Dispatcher::singleton();
  std::string plain = name;
  if (!plain.empty() && plain.back() == '_') plain.pop_back();
  const auto text = [&](const std::string &of) { return "; `" + full_name(plain, of) + "` returns its result instead"; };
  const auto same = dispatcher.findSchema({plain, overload});
  if (same && !writes(*same)) return text(overload);
  for (const auto &known : dispatcher.getAllOpNames()) {
    if (known.name != plain) continue;
    const auto handle = dispatcher.findSchema(known);
    if (handle && !writes(*handle)) return text(known.overload_name);
  }
  return "";
}

[[noreturn]] void refuse_unknown(const std::string &name, const std::string &overload) {
  std::string overloads;
  for (const auto &known : c10::Dispatcher::singleton().getAllOpNames()) {
    if (known.name != name) continue;
    overloads += (overloads.empty() ? "`" : ", `") + known.overload_name + "`";
  }
  std::string text = "libtorch has no operation `" + full_name(name, overload) + "`";
  if (!overloads.empty()) text += "; overloads of `" + name + "` are " + overloads;
  if (name.find("::") == std::string::npos) text += "; names begin with a namespace, as `aten::add` does";
  throw Refusal(UNSUPPORTED, text);
}

std::unique_ptr<Op> prepare(const std::string &name, const std::string &overload) {
  auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!handle) refuse_unknown(name, overload);
  auto op = std::make_unique<Op>(*handle);
  op->name = full_name(name, overload);
  bool has_tensors = false;
  for (const auto &argument : handle->schema().arguments()) {
    if (argument.alias_info() && argument.alias_info()->isWrite()) {
      throw Refusal(UNSUPPORTED,
                    "`" + op->name + "` writes to its argument `" + argument.name() + "`" +
                        functional_form(name, overload));
    }
    const int index = static_cast<int>(op->params.size());
    op->params.push_back(param_of(argument));
    const Param &param = op->params.back();
    has_tensors |= param.type == Type::Tensor || param.type == Type::Tensors || param.type == Type::OptionalTensors;
    if (param.type == Type::Device && param.is_optional) op->device_param = index;
    if (param.name == "dropout_p" || param.name == "dropout") op->dropout_param = index;
  }
  // An operation on tensors puts its result where they are.
  if (has_tensors) op->device_param = -1;
  if (!handle->hasTag(at::Tag::nondeterministic_seeded)) {
    op->dropout_param = -1;
  } else if (op->dropout_param < 0) {
    throw Refusal(UNSUPPORTED, "`" + op->name + "` draws random numbers, which come from draw_normal alone");
  }
  // It adds to the gradients of whatever led to its argument.
  if (name == "aten::_backward") throw Refusal(UNSUPPORTED, "`" + op->name + "` runs autograd, which is the host's");
  return op;
}

}  // namespace

const Op &find(const std::string &name, const std::string &overload) {
  static std::mutex lock;
  // Never freed: operations are handed out as long as the process lives.
  static auto &known = *new std::unordered_map<std::string, std::unique_ptr<Op>>();
  const std::string key = name + "\n" + overload;
  const std::lock_guard<std::mutex> guard(lock);
  auto place = known.find(key);
  if (place == known.end()) place = known.emplace(key, prepare(name, overload)).first;
  return *place->second;
}

}  // namespace anneal::dispatch
