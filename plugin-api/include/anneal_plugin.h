/* The C ABI between anneal and its native plugins, version 1.0. Valid C11 and C++17.
 *
 * A plugin is a shared library that exports `anneal_plugin_entry_v1`. Beside it lies `plugin.toml`, which the host
 * reads first and without executing anything.
 *
 * Growth. Structs only grow at their end, and each starts with `struct_size`, the size its writer knew. Never compare
 * sizes or minor versions for equality: ask ANNEAL_HAS whether a member exists on the other side. A different
 * `abi_major` means that nothing else may be read.
 *
 * Tensors. An `anneal_tensor *` is a heap-allocated `at::Tensor *` of the one libtorch in the process (what tch calls
 * `C_tensor *`). A plugin may look inside only when its own libtorch has the same major and minor version; the host
 * compares `torch_version` before it calls anything. Inputs and parameters are borrowed for the call and must not be
 * written to. Outputs are handed over: `emit_output` takes them, on success and on failure.
 *
 * Errors. A function that fails calls `set_error`, which copies, and returns a code other than ANNEAL_OK. Nothing
 * may unwind across this border: no C++ exception, no Rust panic. After ANNEAL_E_PANIC the host only calls `destroy`.
 *
 * Threads. An instance is never entered twice at once, but may move between threads. Each host function says where
 * it may be called: [any] from any thread at any time, [call] only inside the plugin function that is running, on its
 * thread. Grad mode, thread counts and the random generators belong to the host and must be left as found.
 */
#ifndef ANNEAL_PLUGIN_H
#define ANNEAL_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ANNEAL_ABI_MAJOR 1
#define ANNEAL_ABI_MINOR 0

#if defined(__GNUC__)
#define ANNEAL_EXPORT __attribute__((visibility("default")))
#else
#define ANNEAL_EXPORT
#endif

/* Whether the struct at `p`, of type T, reaches as far as the function pointer `f`, and `f` is set. */
#define ANNEAL_HAS(p, T, f) ((p)->struct_size >= offsetof(T, f) + sizeof((p)->f) && (p)->f)

typedef int32_t anneal_status;
enum {
  ANNEAL_OK = 0,
  ANNEAL_E_CONFIG = 1,      /* the entry's settings are wrong */
  ANNEAL_E_ARGUMENT = 2,    /* an input is wrong */
  ANNEAL_E_UNSUPPORTED = 3, /* cannot be done */
  ANNEAL_E_NUMERIC = 4,     /* a result is not finite */
  ANNEAL_E_TORCH = 5,       /* libtorch refused an operation */
  ANNEAL_E_PANIC = 6,       /* the plugin broke inside; its instance is lost */
  ANNEAL_E_VERSION = 7,     /* this host is too old for the plugin */
  ANNEAL_E_INTERNAL = 8     /* anything else */
};

enum { ANNEAL_TRACE = 0, ANNEAL_DEBUG = 1, ANNEAL_INFO = 2, ANNEAL_WARN = 3, ANNEAL_ERROR = 4 };

/* UTF-8, not NUL-terminated. `ptr` may be NULL when `len` is 0. */
typedef struct anneal_str {
  const char *ptr;
  size_t len;
} anneal_str;

typedef struct anneal_tensor anneal_tensor;     /* at::Tensor of the process's libtorch */
typedef struct anneal_ctx anneal_ctx;           /* the host's, one per plugin and one per instance */
typedef struct anneal_instance anneal_instance; /* the plugin's */
typedef struct anneal_sink anneal_sink;         /* the host's: collects parameters or outputs */

typedef struct anneal_host_api {
  size_t struct_size;
  uint16_t abi_major, abi_minor;
  uint32_t reserved;
  anneal_str host_version, torch_version;

  /* [call] Says why the running function fails. `config_path` is a JSON pointer into the settings, or empty. In
   * `check_config` every call adds a problem; elsewhere the last one counts. */
  void (*set_error)(anneal_ctx *ctx, anneal_status code, anneal_str message, anneal_str config_path);
  /* [any] Whether anyone reads log lines of this level; 0 is no. */
  int32_t (*log_enabled)(anneal_ctx *ctx, int32_t level);
  /* [any] A line for the host's log. */
  void (*log)(anneal_ctx *ctx, int32_t level, anneal_str message);
  /* [any] Another handle of the same tensor, to be released or emitted. */
  anneal_tensor *(*tensor_retain)(const anneal_tensor *tensor);
  /* [any] Frees a handle the plugin owns. */
  void (*tensor_release)(anneal_tensor *tensor);
  /* [call, in forward] Standard normal numbers, f32 on the CPU, drawn from the random streams of the scenes in the
   * call. sizes[0] is a multiple of num_scenes; `purpose` tells apart the draws of one call. The result is owned. */
  anneal_status (*draw_normal)(anneal_ctx *ctx, anneal_str purpose, int32_t ndim, const int64_t *sizes,
                               anneal_tensor **out);
  /* [call, in declare] Asks the host to own a parameter. `init_json` is {"zeros":{}}, {"ones":{}},
   * {"normal":{"std":1.0}} or {"uniform":{"bound":0.1}}. */
  anneal_status (*declare_param)(anneal_sink *sink, anneal_str name, int32_t ndim, const int64_t *sizes,
                                 anneal_str init_json, uint32_t flags);
  /* [call, in forward] Hands over an embedding. `slot` is vector, crossattn, concat, cond_view or cond_motion; when
   * it is empty the rank decides: 2 vector, 3 crossattn, 4 or 5 concat. */
  anneal_status (*emit_output)(anneal_sink *sink, anneal_str slot, anneal_tensor *owned);
} anneal_host_api;

/* A flag of declare_param: saved with the weights, never trained. */
#define ANNEAL_PARAM_BUFFER 1u

/* An entry of the batch: a tensor, or texts (one a scene) when `tensor` is NULL. */
typedef struct anneal_input {
  anneal_str name;
  const anneal_tensor *tensor;
  const anneal_str *texts;
  size_t num_texts;
} anneal_input;

/* The call is part of training: random augmentation is on. */
#define ANNEAL_CALL_TRAINING 1u

typedef struct anneal_call {
  size_t struct_size;
  anneal_ctx *ctx;
  const anneal_input *inputs;
  size_t num_inputs, input_size; /* walk `inputs` by input_size bytes, so that anneal_input can grow */
  anneal_tensor *const *params;  /* in the order of declaration, borrowed */
  size_t num_params;
  int64_t num_scenes, frames_per_scene; /* b and t */
  uint32_t flags, reserved;
} anneal_call;

/* What `get_extension("anneal.embedder/1")` points to. */
typedef struct anneal_embedder_v1 {
  size_t struct_size;
  /* What the JSON Schema cannot say about the settings (a JSON object). May be NULL. */
  anneal_status (*check_config)(anneal_ctx *ctx, anneal_str entry, anneal_str config);
  /* An instance for checked settings. `ctx` outlives it. */
  anneal_status (*create)(anneal_ctx *ctx, anneal_str entry, anneal_str config, anneal_instance **out);
  void (*destroy)(anneal_instance *instance);
  /* Declares the parameters, in the same order every time. May be NULL when there are none. */
  anneal_status (*declare)(anneal_instance *instance, anneal_ctx *ctx, anneal_sink *params);
  /* Embeds the inputs of one call. Autograd records what it does as the host's grad mode says. */
  anneal_status (*forward)(anneal_instance *instance, const anneal_call *call, anneal_sink *outputs);
} anneal_embedder_v1;

#define ANNEAL_EMBEDDER_V1 "anneal.embedder/1"

typedef struct anneal_plugin_api {
  size_t struct_size;
  uint16_t abi_major, abi_minor_built; /* the header the plugin was built with */
  uint16_t abi_minor_min;              /* the oldest minor whose members it cannot do without */
  uint16_t reserved[5];
  anneal_str torch_version; /* the libtorch the plugin was built with, "2.11.0"; empty if it uses none */
  /* {"sdk": "...", "entries": [{"name", "kind", "schema"}]}: must agree with plugin.toml. */
  anneal_str descriptor_json;
  /* Called before anything else, and possibly again. `host` and `ctx` live as long as the process. */
  anneal_status (*init)(const anneal_host_api *host, anneal_ctx *ctx);
  /* The table of a kind of component, or NULL if the plugin has none of it. */
  const void *(*get_extension)(const char *id);
} anneal_plugin_api;

/* Returns a constant and has no side effects. */
ANNEAL_EXPORT const anneal_plugin_api *anneal_plugin_entry_v1(void);

#ifdef __cplusplus
}
#endif

#endif /* ANNEAL_PLUGIN_H */
