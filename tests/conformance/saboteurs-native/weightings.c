/* Weightings over the host's operations, each with a fault, and two without: EDM's weights, 1 / sigma^2 + 4, and the same
 * over a learned part, 1 / (1 + p^2), with an offset. */
#include "anneal_plugin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STR(literal) ((anneal_str){literal, sizeof(literal) - 1})

static const anneal_host_api *host;

/* A call while it runs: the first failure stays, and what follows it is not done. */
typedef struct {
  const anneal_call *call;
  anneal_sink *outputs;
  anneal_status status;
  const anneal_tensor *sigmas;
  anneal_tensor *p; /* NULL for those that do not learn */
} run;

static anneal_value tensor(const anneal_tensor *t) {
  return (anneal_value){.tag = ANNEAL_V_TENSOR, .u.tensor = (anneal_tensor *)t};
}
static anneal_value number(double d) { return (anneal_value){.tag = ANNEAL_V_DOUBLE, .u.d = d}; }
static anneal_value integer(int64_t i) { return (anneal_value){.tag = ANNEAL_V_INT, .u.i = i}; }

static void drop(anneal_tensor *t) {
  if (t) host->tensor_release(t);
}

/* An operation of up to three arguments. What `a` is made of is let go of if `takes` says so. */
static anneal_tensor *op(run *r, const char *name, const char *overload, anneal_tensor *a, int takes, anneal_value b,
                         anneal_value c, size_t count) {
  const anneal_value args[3] = {tensor(a), b, c};
  const anneal_op *found = NULL;
  anneal_value result = {0};
  if (r->status == ANNEAL_OK) r->status = host->op_find(r->call->ctx, name, overload, &found);
  if (r->status == ANNEAL_OK)
    r->status = host->op_call(r->call->ctx, found, args, count, NULL, 0, sizeof(anneal_value), &result, 1);
  if (takes) drop(a);
  return r->status == ANNEAL_OK ? result.u.tensor : NULL;
}
static anneal_tensor *with_number(run *r, const char *name, const char *overload, anneal_tensor *a, double d) {
  return op(r, name, overload, a, 1, number(d), number(1), strcmp(name, "aten::add") ? 2 : 3);
}

/* 1 / sigma^2 + 4, EDM's weight for a sigma_data of 0.5. */
static anneal_tensor *edm(run *r) {
  anneal_tensor *power =
      op(r, "aten::pow", "Tensor_Scalar", (anneal_tensor *)r->sigmas, 0, number(-2), number(0), 2);
  return with_number(r, "aten::add", "Scalar", power, 4);
}

static anneal_status emit(run *r, anneal_str slot, anneal_tensor *t) {
  if (r->status != ANNEAL_OK) {
    drop(t);
    return r->status;
  }
  return host->emit_output(r->outputs, slot, t);
}

static anneal_status good(run *r) { return emit(r, STR("weight"), edm(r)); }

static anneal_status learns(run *r) {
  anneal_tensor *square = op(r, "aten::mul", "Tensor", r->p, 0, tensor(r->p), number(0), 2);
  anneal_tensor *share = with_number(r, "aten::add", "Scalar", square, 1), *weights = edm(r), *offsets;
  anneal_tensor *learned = op(r, "aten::div", "Tensor", weights, 1, tensor(share), number(0), 2);
  anneal_status status = emit(r, STR("weight"), learned);
  if (status != ANNEAL_OK) {
    drop(share);
    return status;
  }
  /* The same for every row: log(1 + p^2) + 0 * sigma. */
  offsets = op(r, "aten::mul", "Scalar", (anneal_tensor *)r->sigmas, 0, number(0), number(0), 2);
  share = op(r, "aten::log", "", share, 1, number(0), number(0), 1);
  offsets = op(r, "aten::add", "Tensor", offsets, 1, tensor(share), number(0), 2);
  drop(share);
  return emit(r, STR("offset"), offsets);
}

/* What the host does not take. */
static anneal_status weighs_nothing(run *r) { return emit(r, STR("offset"), edm(r)); }
static anneal_status weighs_twice(run *r) { return good(r) ? r->status : good(r); }
static anneal_status uses_another_slot(run *r) { return emit(r, STR("vector"), edm(r)); }
static anneal_status one_too_few(run *r) {
  const anneal_value begin = integer(0), len = integer(r->call->num_scenes ? r->call->num_scenes - 1 : 0);
  anneal_tensor *whole = edm(r);
  const anneal_value args[4] = {tensor(whole), integer(0), begin, len};
  const anneal_op *found = NULL;
  anneal_value result = {0};
  if (r->status == ANNEAL_OK) r->status = host->op_find(r->call->ctx, "aten::narrow", "", &found);
  if (r->status == ANNEAL_OK)
    r->status = host->op_call(r->call->ctx, found, args, 4, NULL, 0, sizeof(anneal_value), &result, 1);
  drop(whole);
  return emit(r, STR("weight"), r->status == ANNEAL_OK ? result.u.tensor : NULL);
}
static anneal_status keeps_an_axis(run *r) {
  return emit(r, STR("weight"), op(r, "aten::unsqueeze", "", edm(r), 1, integer(1), number(0), 2));
}
static anneal_status draws(run *r) {
  anneal_tensor *drawn = NULL;
  const int64_t sizes[1] = {r->call->num_scenes};
  const anneal_status status = host->draw_normal(r->call->ctx, STR("noise"), 1, sizes, &drawn);
  if (status != ANNEAL_OK) return status;
  drop(drawn);
  return good(r);
}

/* What comes out. */
static anneal_status negative(run *r) {
  anneal_tensor *weights = edm(r); /* 1 / sigma^2 + 4 - 5 */
  return emit(r, STR("weight"), with_number(r, "aten::add", "Scalar", weights, -5));
}
static anneal_status means(run *r) { /* all rows get the mean weight */
  const anneal_value keep = {.tag = ANNEAL_V_BOOL, .u.i = 1};
  const int64_t axis = 0;
  const anneal_value axes = {.tag = ANNEAL_V_INTS, .len = 1, .u.ints = &axis};
  anneal_tensor *weights = edm(r);
  anneal_tensor *mean = op(r, "aten::mean", "dim", weights, 0, axes, keep, 3), *all;
  all = op(r, "aten::mul", "Scalar", weights, 1, number(0), number(0), 2);
  all = op(r, "aten::add", "Tensor", all, 1, tensor(mean), number(0), 2);
  drop(mean);
  return emit(r, STR("weight"), all);
}
static anneal_status hides_what_is_no_number(run *r) {
  return emit(r, STR("weight"), op(r, "aten::nan_to_num", "", edm(r), 1, number(1), number(0), 2));
}
static anneal_status blows_up(run *r) {
  return emit(r, STR("weight"), with_number(r, "aten::pow", "Tensor_Scalar", edm(r), 4));
}
/* What goes wrong at large sigmas alone, for runs that leave such steps out: 0 * log(limit - sigma), or a hill. */
static const double limit = 4;
static anneal_status no_number_at_large_sigmas(run *r) {
  anneal_tensor *below = op(r, "aten::rsub", "Scalar", (anneal_tensor *)r->sigmas, 0, number(limit), number(1), 3);
  anneal_tensor *nothing = with_number(r, "aten::mul", "Scalar", op(r, "aten::log", "", below, 1, number(0), number(0), 1), 0);
  anneal_tensor *weights = op(r, "aten::add", "Tensor", edm(r), 1, tensor(nothing), number(0), 2);
  drop(nothing);
  return emit(r, STR("weight"), weights);
}
static anneal_status a_hill_at_large_sigmas(run *r) {
  anneal_tensor *above = op(r, "aten::sub", "Scalar", (anneal_tensor *)r->sigmas, 0, number(limit), number(1), 3);
  anneal_tensor *hill = with_number(r, "aten::mul", "Scalar", op(r, "aten::relu", "", above, 1, number(0), number(0), 1), 1e6);
  anneal_tensor *weights = op(r, "aten::add", "Tensor", edm(r), 1, tensor(hill), number(0), 2);
  drop(hill);
  return emit(r, STR("weight"), weights);
}
static anneal_status counts_its_calls(run *r) {
  static int calls;
  return emit(r, STR("weight"), with_number(r, "aten::mul", "Scalar", edm(r), 1 + 0.01 * calls++));
}
static anneal_status stops_the_gradient(run *r) {
  anneal_tensor *p = op(r, "aten::detach", "", r->p, 0, number(0), number(0), 1), *mine = r->p;
  r->p = p;
  const anneal_status status = learns(r);
  r->p = mine;
  drop(p);
  return status;
}

typedef struct {
  const char *name;
  anneal_status (*forward)(run *);
  int learns;
} weighting;

static const weighting weightings[] = {
    {"good", good, 0},
    {"good-learns", learns, 1},
    {"weighs-nothing", weighs_nothing, 0},
    {"weighs-twice", weighs_twice, 0},
    {"uses-another-slot", uses_another_slot, 0},
    {"one-too-few", one_too_few, 0},
    {"keeps-an-axis", keeps_an_axis, 0},
    {"draws", draws, 0},
    {"negative", negative, 0},
    {"means", means, 0},
    {"hides-what-is-no-number", hides_what_is_no_number, 0},
    {"blows-up", blows_up, 0},
    {"no-number-at-large-sigmas", no_number_at_large_sigmas, 0},
    {"a-hill-at-large-sigmas", a_hill_at_large_sigmas, 0},
    {"counts-its-calls", counts_its_calls, 0},
    {"stops-the-gradient", stops_the_gradient, 1},
};

static anneal_status create(anneal_ctx *ctx, anneal_str entry, anneal_str config, anneal_instance **out) {
  (void)config;
  for (size_t i = 0; i < sizeof weightings / sizeof *weightings; i++)
    if (strlen(weightings[i].name) == entry.len && !memcmp(weightings[i].name, entry.ptr, entry.len)) {
      *out = (anneal_instance *)&weightings[i];
      return ANNEAL_OK;
    }
  host->set_error(ctx, ANNEAL_E_UNSUPPORTED, STR("there is no such weighting"), STR(""));
  return ANNEAL_E_UNSUPPORTED;
}

static void destroy(anneal_instance *instance) { (void)instance; }

static anneal_status declare(anneal_instance *instance, anneal_ctx *ctx, anneal_sink *params) {
  const int64_t sizes[1] = {1};
  (void)ctx;
  if (!((const weighting *)instance)->learns) return ANNEAL_OK;
  return host->declare_param(params, STR("p"), 1, sizes, STR("{\"normal\":{\"std\":0.5}}"), 0);
}

static anneal_status forward(anneal_instance *instance, const anneal_call *call, anneal_sink *outputs) {
  const weighting *mine = (const weighting *)instance;
  run r = {call, outputs, ANNEAL_OK, call->inputs[0].tensor, mine->learns ? call->params[0] : NULL};
  return mine->forward(&r);
}

static const anneal_weighting_v1 table = {sizeof(anneal_weighting_v1), NULL, create, destroy, declare, forward};

static const void *get_extension(const char *id) { return strcmp(id, ANNEAL_WEIGHTING_V1) ? NULL : &table; }

static anneal_status init(const anneal_host_api *api, anneal_ctx *ctx) {
  (void)ctx;
  if (!ANNEAL_HAS(api, anneal_host_api, op_call)) return ANNEAL_E_VERSION;
  host = api;
  return ANNEAL_OK;
}

static const anneal_plugin_api plugin = {sizeof(anneal_plugin_api), ANNEAL_ABI_MAJOR, ANNEAL_ABI_MINOR, 1, {0},
                                         {NULL, 0}, {DESCRIPTOR, sizeof(DESCRIPTOR) - 1}, init, get_extension};

ANNEAL_EXPORT const anneal_plugin_api *anneal_plugin_entry_v1(void) { return &plugin; }
