/* An embedder in C over the host's operations: a learned row for each class.
 *
 *   cc -std=c11 -shared -fPIC -I plugin-api/include class.c -o libclass_c.so
 */
#include "anneal_json.h"
#include "anneal_plugin.h"

#define STR(literal) ((anneal_str){literal, sizeof(literal) - 1})

struct anneal_instance {
  int64_t n_classes, dim;
  int add_sequence_dim;
  const anneal_op *embedding, *unsqueeze;
};

static const anneal_host_api *host;

static anneal_status init(const anneal_host_api *api, anneal_ctx *ctx) {
  (void)ctx;
  host = api;
  return ANNEAL_HAS(api, anneal_host_api, op_call) ? ANNEAL_OK : ANNEAL_E_VERSION;
}

static anneal_status create(anneal_ctx *ctx, anneal_str entry, anneal_str config, anneal_instance **out) {
  anneal_status status;
  anneal_instance *instance;
  if (entry.len != 7 || memcmp(entry.ptr, "class-c", 7) != 0) {
    host->set_error(ctx, ANNEAL_E_UNSUPPORTED, STR("there is no such entry"), STR(""));
    return ANNEAL_E_UNSUPPORTED;
  }
  instance = calloc(1, sizeof *instance);
  if (!instance) return ANNEAL_E_INTERNAL;
  instance->n_classes = anneal_json_int(config, "n_classes", 1000);
  instance->dim = anneal_json_int(config, "dim", 256);
  instance->add_sequence_dim = anneal_json_bool(config, "add_sequence_dim", 0);
  status = host->op_find(ctx, "aten::embedding", "", &instance->embedding);
  if (status == ANNEAL_OK) status = host->op_find(ctx, "aten::unsqueeze", "", &instance->unsqueeze);
  if (status != ANNEAL_OK) {
    free(instance);
    return status;
  }
  *out = instance;
  return ANNEAL_OK;
}

static void destroy(anneal_instance *instance) { free(instance); }

static anneal_status declare(anneal_instance *instance, anneal_ctx *ctx, anneal_sink *params) {
  const int64_t sizes[2] = {instance->n_classes, instance->dim};
  (void)ctx;
  return host->declare_param(params, STR("embedding.weight"), 2, sizes, STR("{\"normal\":{\"std\":1.0}}"), 0);
}

/* Calls an operation of two arguments and one result. What fails is reported by the host. */
static anneal_status call2(anneal_ctx *ctx, const anneal_op *op, anneal_value first, anneal_value second,
                           anneal_tensor **out) {
  const anneal_value args[2] = {first, second};
  anneal_value result = {0};
  const anneal_status status = host->op_call(ctx, op, args, 2, NULL, 0, sizeof(anneal_value), &result, 1);
  *out = result.u.tensor;
  return status;
}

/* labels [n] to vector [n, dim], or crossattn [n, 1, dim]; autograd records it */
static anneal_status forward(anneal_instance *instance, const anneal_call *call, anneal_sink *outputs) {
  const anneal_value table = {.tag = ANNEAL_V_TENSOR, .u.tensor = call->params[0]};
  const anneal_value labels = {.tag = ANNEAL_V_TENSOR, .u.tensor = (anneal_tensor *)call->inputs[0].tensor};
  anneal_tensor *rows = NULL, *tokens = NULL;
  anneal_status status = call2(call->ctx, instance->embedding, table, labels, &rows);
  if (status != ANNEAL_OK) return status;
  if (!instance->add_sequence_dim) return host->emit_output(outputs, STR("vector"), rows);
  status = call2(call->ctx, instance->unsqueeze, (anneal_value){.tag = ANNEAL_V_TENSOR, .u.tensor = rows},
                 (anneal_value){.tag = ANNEAL_V_INT, .u.i = 1}, &tokens);
  host->tensor_release(rows);
  return status == ANNEAL_OK ? host->emit_output(outputs, STR("crossattn"), tokens) : status;
}

static const anneal_embedder_v1 embedder = {sizeof embedder, NULL, create, destroy, declare, forward};

static const void *get_extension(const char *id) { return strcmp(id, ANNEAL_EMBEDDER_V1) == 0 ? &embedder : NULL; }

#define DESCRIPTOR "{\"sdk\":\"c\",\"entries\":[{\"name\":\"class-c\",\"kind\":\"embedder\"}]}"

static const anneal_plugin_api plugin = {
    sizeof plugin, ANNEAL_ABI_MAJOR, ANNEAL_ABI_MINOR,
    1, /* op_find and op_call came with 1.1 */
    {0}, {NULL, 0}, /* no libtorch of its own */
    {DESCRIPTOR, sizeof DESCRIPTOR - 1}, init, get_extension};

const anneal_plugin_api *anneal_plugin_entry_v1(void) { return &plugin; }
