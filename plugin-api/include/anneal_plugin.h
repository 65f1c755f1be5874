/* The C ABI between anneal and its native plugins, version 1.1. Valid C11 and C++17.
 *
 * A plugin is a shared library that exports `anneal_plugin_entry_v1`. Beside it lies `plugin.toml`, which the host
 * reads first and without executing anything.
 *
 * Growth. Structs only grow at their end, and each starts with `struct_size`, the size its writer knew. Never compare
 * sizes or minor versions for equality: ask ANNEAL_HAS whether a member exists on the other side. A different
 * `abi_major` means that nothing else may be read.
 *
 * Tensors. An `anneal_tensor *` is a heap-allocated `at::Tensor *` of the one libtorch in the process (what tch calls
 * `C_tensor *`). Inputs and parameters are borrowed for the call and must not be written to. Outputs are handed over:
 * `emit_output` takes them, on success and on failure. A plugin computes in one of two ways:
 *   - by the host's operations (since 1.1): `op_find` and `op_call` reach every operation of libtorch by its name in
 *     native_functions.yaml. The plugin links no libtorch, leaves `torch_version` empty and works with any libtorch
 *     the host has.
 *   - by a libtorch of its own, of the same major and minor version; the host compares `torch_version` before it calls
 *     anything.
 * Autograd records both.
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
#define ANNEAL_ABI_MINOR 1

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
typedef struct anneal_op anneal_op;             /* the host's: an operation of libtorch, lives as long as the process */

/* libtorch's own numbers of what operations take. */
enum {
  ANNEAL_U8 = 0,
  ANNEAL_I8 = 1,
  ANNEAL_I16 = 2,
  ANNEAL_I32 = 3,
  ANNEAL_I64 = 4,
  ANNEAL_F16 = 5,
  ANNEAL_F32 = 6,
  ANNEAL_F64 = 7,
  ANNEAL_BOOL = 11,
  ANNEAL_BF16 = 15
};
enum { ANNEAL_CPU = 0, ANNEAL_CUDA = 1, ANNEAL_META = 14 };
enum { ANNEAL_STRIDED = 0 };
enum { ANNEAL_CONTIGUOUS = 0, ANNEAL_PRESERVE = 1, ANNEAL_CHANNELS_LAST = 2, ANNEAL_CHANNELS_LAST_3D = 3 };

typedef enum anneal_tag {
  ANNEAL_V_NONE = 0,     /* an optional argument that is left out */
  ANNEAL_V_TENSOR = 1,   /* u.tensor */
  ANNEAL_V_TENSORS = 2,  /* u.tensors, len of them; NULL where the list's elements are optional */
  ANNEAL_V_BOOL = 3,     /* u.i, 0 or not */
  ANNEAL_V_INT = 4,      /* u.i; also for a double, and for a list of ints */
  ANNEAL_V_DOUBLE = 5,   /* u.d; also for a list of doubles */
  ANNEAL_V_INTS = 6,     /* u.ints, len of them; also for a list of doubles or bools */
  ANNEAL_V_DOUBLES = 7,  /* u.doubles, len of them */
  ANNEAL_V_STR = 8,      /* u.str */
  ANNEAL_V_DTYPE = 9,    /* u.i */
  ANNEAL_V_DEVICE = 10,  /* u.device */
  ANNEAL_V_LAYOUT = 11,  /* u.i */
  ANNEAL_V_MEMORY_FORMAT = 12 /* u.i */
} anneal_tag;

/* An argument or a result of an operation. */
typedef struct anneal_value {
  uint32_t tag, len;
  union {
    anneal_tensor *tensor;
    anneal_tensor *const *tensors;
    int64_t i;
    double d;
    const int64_t *ints;
    const double *doubles;
    anneal_str str;
    struct {
      int32_t type, index; /* index -1: the current one */
    } device;
  } u;
} anneal_value;

typedef struct anneal_kwarg {
  anneal_str name;
  anneal_value value;
} anneal_kwarg;

typedef struct anneal_tensor_info {
  size_t struct_size;                                /* set by the plugin; the host writes no further */
  int32_t dtype, device_type, device_index, ndim;
  const int64_t *sizes, *strides;                    /* ndim of each, as long as the handle lives */
  int32_t requires_grad, is_meta;                    /* 0 is no. A meta tensor has no values. */
} anneal_tensor_info;

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
  /* [call, in forward] Hands over a result. An embedder's `slot` is vector, crossattn, concat, cond_view or
   * cond_motion; when it is empty the rank decides: 2 vector, 3 crossattn, 4 or 5 concat. A weighting's is weight or
   * offset. */
  anneal_status (*emit_output)(anneal_sink *sink, anneal_str slot, anneal_tensor *owned);

  /* Since 1.1. A function of these that fails has called set_error itself, so a plugin may just return its status. */

  /* [call] What a tensor is, without its values. */
  anneal_status (*tensor_info)(anneal_ctx *ctx, const anneal_tensor *tensor, anneal_tensor_info *out);
  /* [call, in forward] A copy of host memory in row-major order, where the call's parameters and inputs are. A meta
   * tensor when those are meta tensors. The result is owned. */
  anneal_status (*tensor_from_host)(anneal_ctx *ctx, const void *data, int32_t dtype, int32_t ndim,
                                    const int64_t *sizes, anneal_tensor **out);
  /* [call, in forward] Copies a tensor's values to host memory in row-major order; waits for a GPU. `bytes` must be
   * the size of all values. */
  anneal_status (*tensor_to_host)(anneal_ctx *ctx, const anneal_tensor *tensor, void *dst, size_t bytes);
  /* [call] The operation of a name and an overload: "aten::add", "Tensor"; most have the overload "". Operations that
   * write to an argument (add_, out=) or draw random numbers are refused: use the form that returns its result, and
   * draw_normal. The operation lives as long as the process. */
  anneal_status (*op_find)(anneal_ctx *ctx, const char *name, const char *overload, const anneal_op **out);
  /* [call, in forward] Calls an operation. Arguments may be left out where the schema has a default; operations that
   * take no tensor make their result where tensor_from_host would. `value_size` is sizeof(anneal_value) of the plugin.
   * The first `num_results` results are written to `results`: handles in them are owned by the plugin, arrays and
   * texts last until its next op_call. After a failure there are no results. */
  anneal_status (*op_call)(anneal_ctx *ctx, const anneal_op *op, const anneal_value *args, size_t num_args,
                           const anneal_kwarg *kwargs, size_t num_kwargs, size_t value_size, anneal_value *results,
                           size_t num_results);
  /* [call] Why the last of these functions failed in this call, or empty. Lasts until the next one fails. */
  anneal_str (*last_error)(anneal_ctx *ctx);
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
  /* Embeds the inputs of one call. A plugin over the host's operations is first called with meta tensors, before a
   * model is built: what looks at values asks tensor_info for is_meta. Autograd records what it does as the host's grad mode says. */
  anneal_status (*forward)(anneal_instance *instance, const anneal_call *call, anneal_sink *outputs);
} anneal_embedder_v1;

#define ANNEAL_EMBEDDER_V1 "anneal.embedder/1"

/* What `get_extension("anneal.weighting/1")` points to: the same functions, for weightings of the loss that compute with
 * tensors or learn. A call has one input, `sigma` [n] f32, the noise level of each row of the batch, where the parameters
 * are; `num_scenes` is n. `forward` emits `weight` [n], what each row's loss is multiplied by, not below zero; and, if it
 * likes, `offset` [n], what is then added to it. Parameters are always trained; gradients reach them from both. A row's
 * results depend on its own sigma alone. Meta tensors come first, as with embedders. */
typedef anneal_embedder_v1 anneal_weighting_v1;

#define ANNEAL_WEIGHTING_V1 "anneal.weighting/1"

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
