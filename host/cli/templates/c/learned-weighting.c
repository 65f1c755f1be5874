/* {{description}}, over the host's operations: the loss of a row becomes weight / exp(u) * distance + u, with EDM's weight
 * and u = a + b ln(sigma). a and b are learned, and u on its own keeps the weights from vanishing. */
#include "anneal_json.h"
#include "anneal_plugin.h"

#define STR(literal) ((anneal_str){literal, sizeof(literal) - 1})
#define ENTRY "{{entry}}"

struct anneal_instance {
  double sigma_data;
};

static const anneal_host_api *host;

static anneal_status init(const anneal_host_api *api, anneal_ctx *ctx) {
  (void)ctx;
  host = api;
  return ANNEAL_HAS(api, anneal_host_api, op_call) ? ANNEAL_OK : ANNEAL_E_VERSION;
}

/* From settings, which the host has checked against the schema, to a weighting. */
static anneal_status create(anneal_ctx *ctx, anneal_str entry, anneal_str config, anneal_instance **out) {
  if (entry.len != sizeof ENTRY - 1 || memcmp(entry.ptr, ENTRY, entry.len) != 0) {
    host->set_error(ctx, ANNEAL_E_ARGUMENT, STR("there is no entry but " ENTRY), (anneal_str){NULL, 0});
    return ANNEAL_E_ARGUMENT;
  }
  anneal_instance *instance = calloc(1, sizeof *instance);
  if (!instance) return ANNEAL_E_INTERNAL;
  instance->sigma_data = anneal_json_double(config, "sigma_data", 0.5);
  *out = instance;
  return ANNEAL_OK;
}

static void destroy(anneal_instance *instance) { free(instance); }

/* Declares the parameters; the host allocates, trains and saves them. */
static anneal_status declare(anneal_instance *instance, anneal_ctx *ctx, anneal_sink *params) {
  const int64_t sizes[1] = {1};
  const anneal_status status = host->declare_param(params, STR("a"), 1, sizes, STR("{\"zeros\":{}}"), 0);
  (void)instance;
  (void)ctx;
  return status == ANNEAL_OK ? host->declare_param(params, STR("b"), 1, sizes, STR("{\"zeros\":{}}"), 0) : status;
}

static anneal_value tensor(const anneal_tensor *t) {
  return (anneal_value){.tag = ANNEAL_V_TENSOR, .u.tensor = (anneal_tensor *)t};
}
static anneal_value number(double d) { return (anneal_value){.tag = ANNEAL_V_DOUBLE, .u.d = d}; }

/* An operation of one or two arguments. After a failure, which the host has reported, nothing is done any more. */
static anneal_tensor *op(const anneal_call *call, anneal_status *status, const char *name, const char *overload,
                         const anneal_tensor *x, const anneal_value *y) {
  const anneal_value args[2] = {tensor(x), y ? *y : tensor(NULL)};
  const anneal_op *found = NULL;
  anneal_value result = {0};
  if (*status == ANNEAL_OK) *status = host->op_find(call->ctx, name, overload, &found);
  if (*status == ANNEAL_OK)
    *status = host->op_call(call->ctx, found, args, y ? 2 : 1, NULL, 0, sizeof(anneal_value), &result, 1);
  return *status == ANNEAL_OK ? result.u.tensor : NULL;
}

static void drop(anneal_tensor *t) {
  if (t) host->tensor_release(t);
}

/* sigmas [n] to weights [n] and offsets [n]; autograd records it. */
static anneal_status forward(anneal_instance *instance, const anneal_call *call, anneal_sink *outputs) {
  const anneal_tensor *sigmas = call->inputs[0].tensor;
  const anneal_value a = tensor(call->params[0]), b = tensor(call->params[1]), minus_two = number(-2);
  const anneal_value rest = number(1 / (instance->sigma_data * instance->sigma_data));
  anneal_status status = ANNEAL_OK;

  anneal_tensor *log_sigma = op(call, &status, "aten::log", "", sigmas, NULL);
  anneal_tensor *slope = op(call, &status, "aten::mul", "Tensor", log_sigma, &b);
  anneal_tensor *u = op(call, &status, "aten::add", "Tensor", slope, &a);
  /* (sigma^2 + sigma_data^2) / (sigma * sigma_data)^2 */
  anneal_tensor *power = op(call, &status, "aten::pow", "Tensor_Scalar", sigmas, &minus_two);
  anneal_tensor *edm = op(call, &status, "aten::add", "Scalar", power, &rest);
  anneal_tensor *exp_u = op(call, &status, "aten::exp", "", u, NULL);
  const anneal_value divisor = tensor(exp_u);
  anneal_tensor *weights = op(call, &status, "aten::div", "Tensor", edm, &divisor);
  drop(log_sigma);
  drop(slope);
  drop(power);
  drop(edm);
  drop(exp_u);
  if (status != ANNEAL_OK) {
    drop(u);
    return status;
  }
  status = host->emit_output(outputs, STR("weight"), weights);
  if (status != ANNEAL_OK) {
    drop(u);
    return status;
  }
  return host->emit_output(outputs, STR("offset"), u);
}

static const anneal_weighting_v1 weighting = {sizeof weighting, NULL, create, destroy, declare, forward};

static const void *get_extension(const char *id) { return strcmp(id, ANNEAL_WEIGHTING_V1) == 0 ? &weighting : NULL; }

#define DESCRIPTOR "{\"sdk\":\"c\",\"entries\":[{\"name\":\"" ENTRY "\",\"kind\":\"weighting\"}]}"

static const anneal_plugin_api plugin = {
    sizeof plugin, ANNEAL_ABI_MAJOR, ANNEAL_ABI_MINOR,
    1, /* op_find and op_call came with 1.1 */
    {0}, {NULL, 0}, /* no libtorch of its own */
    {DESCRIPTOR, sizeof DESCRIPTOR - 1}, init, get_extension};

const anneal_plugin_api *anneal_plugin_entry_v1(void) { return &plugin; }
