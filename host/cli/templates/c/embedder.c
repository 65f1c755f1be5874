/* {{description}}, over the host's operations: a learned row for each class. */
#include "anneal_json.h"
#include "anneal_plugin.h"

#define STR(literal) ((anneal_str){literal, sizeof(literal) - 1})
#define ENTRY "{{entry}}"

struct anneal_instance {
  int64_t n_classes, dim;
  const anneal_op *embedding;
};

static const anneal_host_api *host;

static anneal_status init(const anneal_host_api *api, anneal_ctx *ctx) {
  (void)ctx;
  host = api;
  return ANNEAL_HAS(api, anneal_host_api, op_call) ? ANNEAL_OK : ANNEAL_E_VERSION;
}

/* From settings, which the host has checked against the schema, to an embedder. */
static anneal_status create(anneal_ctx *ctx, anneal_str entry, anneal_str config, anneal_instance **out) {
  if (entry.len != sizeof ENTRY - 1 || memcmp(entry.ptr, ENTRY, entry.len) != 0) {
    host->set_error(ctx, ANNEAL_E_ARGUMENT, STR("there is no entry but " ENTRY), (anneal_str){NULL, 0});
    return ANNEAL_E_ARGUMENT;
  }
  anneal_instance *instance = calloc(1, sizeof *instance);
  if (!instance) return ANNEAL_E_INTERNAL;
  instance->n_classes = anneal_json_int(config, "n_classes", 1000);
  instance->dim = anneal_json_int(config, "dim", 0);
  const anneal_status status = host->op_find(ctx, "aten::embedding", "", &instance->embedding);
  if (status != ANNEAL_OK) {
    free(instance);
    return status;
  }
  *out = instance;
  return ANNEAL_OK;
}

static void destroy(anneal_instance *instance) { free(instance); }

/* Declares the parameters; the host allocates, trains and saves them. */
static anneal_status declare(anneal_instance *instance, anneal_ctx *ctx, anneal_sink *params) {
  const int64_t sizes[2] = {instance->n_classes, instance->dim};
  (void)ctx;
  return host->declare_param(params, STR("table"), 2, sizes, STR("{\"normal\":{\"std\":1.0}}"), 0);
}

/* labels [n] to vector [n, dim]; autograd records it. The host reports what fails in an operation. */
static anneal_status forward(anneal_instance *instance, const anneal_call *call, anneal_sink *outputs) {
  const anneal_value args[2] = {{.tag = ANNEAL_V_TENSOR, .u.tensor = call->params[0]},
                                {.tag = ANNEAL_V_TENSOR, .u.tensor = (anneal_tensor *)call->inputs[0].tensor}};
  anneal_value rows = {0};
  const anneal_status status =
      host->op_call(call->ctx, instance->embedding, args, 2, NULL, 0, sizeof(anneal_value), &rows, 1);
  return status == ANNEAL_OK ? host->emit_output(outputs, STR("vector"), rows.u.tensor) : status;
}

static const anneal_embedder_v1 embedder = {sizeof embedder, NULL, create, destroy, declare, forward};

static const void *get_extension(const char *id) { return strcmp(id, ANNEAL_EMBEDDER_V1) == 0 ? &embedder : NULL; }

#define DESCRIPTOR "{\"sdk\":\"c\",\"entries\":[{\"name\":\"" ENTRY "\",\"kind\":\"embedder\"}]}"

static const anneal_plugin_api plugin = {
    sizeof plugin, ANNEAL_ABI_MAJOR, ANNEAL_ABI_MINOR,
    1, /* op_find and op_call came with 1.1 */
    {0}, {NULL, 0}, /* no libtorch of its own */
    {DESCRIPTOR, sizeof DESCRIPTOR - 1}, init, get_extension};

const anneal_plugin_api *anneal_plugin_entry_v1(void) { return &plugin; }
