// What every entry of the shim shares: errors as text, never an exception across the border.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <string>

namespace anneal {
std::string &last_error();
// Whether a tensor without values is counted as one on the CPU: its operations are then those of the CPU.
bool counts_as_cpu(const at::Tensor &tensor);
inline int fail(const char *text) { last_error() = text; return -1; }
}  // namespace anneal

#define ANNEAL_GUARD(...)                                                              \
  try {                                                                                \
    __VA_ARGS__;                                                                           \
    return 0;                                                                          \
  } catch (const c10::Error &e) {                                                      \
    return anneal::fail(e.what_without_backtrace());                                   \
  } catch (const std::exception &e) {                                                  \
    return anneal::fail(e.what());                                                     \
  } catch (...) {                                                                      \
    return anneal::fail("an unknown C++ exception");                                   \
  }
