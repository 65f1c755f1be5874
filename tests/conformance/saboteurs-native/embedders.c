/* Embedders over the host's operations, each with a fault, and two without: a good one of numbers and one of texts.
 * All but those of texts multiply [n, 4] numbers by a parameter, and do what their name says beside it. */
#define _GNU_SOURCE
#include "anneal_plugin.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STR(literal) ((anneal_str){literal, sizeof(literal) - 1})

static const anneal_host_api *host;

/* A call while it runs: the first failure stays, and what follows it is not done. */
typedef struct {
  const anneal_call *call;
  anneal_sink *outputs;
  anneal_status status;
  const anneal_tensor *x;
  anneal_tensor *w;
} run;

static const anneal_value none;

static anneal_value tensor(const anneal_tensor *t) {
  return (anneal_value){.tag = ANNEAL_V_TENSOR, .u.tensor = (anneal_tensor *)t};
}
static anneal_value integer(int64_t i) { return (anneal_value){.tag = ANNEAL_V_INT, .u.i = i}; }
static anneal_value number(double d) { return (anneal_value){.tag = ANNEAL_V_DOUBLE, .u.d = d}; }

static anneal_tensor *op(run *r, const char *name, const char *overload, anneal_value a, anneal_value b,
                         anneal_value c, size_t count) {
  const anneal_value args[3] = {a, b, c};
  const anneal_op *found = NULL;
  anneal_value result = {0};
  if (r->status == ANNEAL_OK) r->status = host->op_find(r->call->ctx, name, overload, &found);
  if (r->status == ANNEAL_OK)
    r->status =
        host->op_call(r->call->ctx, found, args, count, NULL, 0, sizeof(anneal_value), &result, 1);
  return r->status == ANNEAL_OK ? result.u.tensor : NULL;
}

static anneal_tensor *mul(run *r, const anneal_tensor *a, const anneal_tensor *b) {
  return op(r, "aten::mul", "Tensor", tensor(a), tensor(b), none, 2);
}
static anneal_tensor *times(run *r, const anneal_tensor *a, double d) {
  return op(r, "aten::mul", "Scalar", tensor(a), number(d), none, 2);
}
static void drop(anneal_tensor *t) {
  if (t) host->tensor_release(t);
}

static anneal_status emit(run *r, anneal_tensor *t) {
  if (r->status != ANNEAL_OK) {
    drop(t);
    return r->status;
  }
  return host->emit_output(r->outputs, STR("vector"), t);
}

/* x * w, the product of an entry without a fault. */
static anneal_tensor *product(run *r) { return mul(r, r->x, r->w); }

static anneal_status fail(run *r, const char *why) {
  host->set_error(r->call->ctx, ANNEAL_E_ARGUMENT, (anneal_str){why, strlen(why)}, STR(""));
  return ANNEAL_E_ARGUMENT;
}

static anneal_status good(run *r) { return emit(r, product(r)); }

/* What does not come back. */
static anneal_status segfaults(run *r) {
  static int *volatile nowhere;
  return good(r) + *nowhere;
}
static anneal_status aborts(run *r) { return r ? (abort(), 0) : 0; }
static anneal_status exits(run *r) { return r ? (exit(0), 0) : 0; }
static anneal_status deadlocks(run *r) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  pthread_mutex_lock(&lock);
  return good(r);
}

/* What the host does not take. */
static anneal_status emits_nothing(run *r) { return r->status; }
static anneal_status emits_another_rank(run *r) {
  anneal_tensor *y = product(r), *z = op(r, "aten::unsqueeze", "", tensor(y), integer(1), none, 2);
  drop(y);
  return emit(r, z);
}
static anneal_status emits_whole_numbers(run *r) {
  anneal_tensor *y = product(r), *z = op(r, "aten::_cast_Long", "", tensor(y), none, none, 1);
  drop(y);
  return emit(r, z);
}
static anneal_status fails_in_training(run *r) {
  return r->call->flags & ANNEAL_CALL_TRAINING ? fail(r, "not in training") : good(r);
}

/* What comes out. */
static anneal_status doubles(run *r) {
  anneal_tensor *y = product(r), *z = op(r, "aten::_cast_Double", "", tensor(y), none, none, 1);
  drop(y);
  return emit(r, z);
}
static anneal_status blows_up_at_the_end(run *r) { /* w x / (2 - x), of x from -1 to 2 */
  anneal_tensor *y = product(r), *rest = op(r, "aten::rsub", "Scalar", tensor(r->x), number(2), none, 2);
  anneal_tensor *z = op(r, "aten::div", "Tensor", tensor(y), tensor(rest), none, 2);
  drop(y);
  drop(rest);
  return emit(r, z);
}
static anneal_status takes_few(run *r) {
  return r->call->num_scenes > 16 ? fail(r, "too many scenes") : good(r);
}
static anneal_status minds_its_neighbours(run *r) {
  const int64_t axis = 0;
  anneal_tensor *y = product(r), *mean, *z;
  mean = op(r, "aten::sum", "dim_IntList", tensor(y), (anneal_value){.tag = ANNEAL_V_INTS, .len = 1, .u.ints = &axis},
            (anneal_value){.tag = ANNEAL_V_BOOL, .u.i = 1}, 3);
  z = op(r, "aten::add", "Tensor", tensor(y), tensor(mean), none, 2);
  drop(y);
  drop(mean);
  return emit(r, z);
}
static anneal_status differs_by_process(run *r) {
  anneal_tensor *y = product(r), *z = times(r, y, 1 + getpid() * 1e-4);
  drop(y);
  return emit(r, z);
}

/* Gradients. */
static anneal_status stops_the_gradient(run *r) {
  anneal_tensor *y = product(r), *z = op(r, "aten::detach", "", tensor(y), none, none, 1);
  drop(y);
  return emit(r, z);
}
static anneal_status stops_at_its_input(run *r) {
  anneal_tensor *x = op(r, "aten::detach", "", tensor(r->x), none, none, 1), *y = mul(r, x, r->w);
  drop(x);
  return emit(r, y);
}
static anneal_status halves_the_gradient(run *r) {
  anneal_tensor *y = product(r), *fixed = op(r, "aten::detach", "", tensor(y), none, none, 1), *sum, *z;
  sum = op(r, "aten::add", "Tensor", tensor(y), tensor(fixed), none, 2);
  z = times(r, sum, 0.5);
  drop(y);
  drop(fixed);
  drop(sum);
  return emit(r, z);
}

/* Tensors without values. */
static anneal_status reads_values(run *r) {
  float first;
  anneal_tensor *one = op(r, "aten::select", "int", tensor(r->x), integer(0), integer(0), 3), *same = NULL;
  if (one) {
    same = op(r, "aten::select", "int", tensor(one), integer(0), integer(0), 3);
    if (same) r->status = host->tensor_to_host(r->call->ctx, same, &first, sizeof first);
  }
  drop(one);
  drop(same);
  return good(r);
}
static anneal_status other_shape_without_values(run *r) {
  anneal_tensor_info info = {.struct_size = sizeof info};
  anneal_tensor *y = product(r), *z;
  r->status = r->status ? r->status : host->tensor_info(r->call->ctx, r->x, &info);
  if (r->status != ANNEAL_OK || !info.is_meta) return emit(r, y);
  z = op(r, "aten::repeat_interleave", "self_int", tensor(y), integer(2), integer(1), 3);
  drop(y);
  return emit(r, z);
}

/* Misfits and failures. */
static anneal_status crashes_at_another_rank(run *r) {
  anneal_tensor_info info = {.struct_size = sizeof info};
  r->status = host->tensor_info(r->call->ctx, r->x, &info);
  if (r->status == ANNEAL_OK && info.ndim != 2) raise(SIGSEGV);
  return good(r);
}
static anneal_status never_recovers(run *r) {
  static int is_broken;
  anneal_tensor_info info = {.struct_size = sizeof info};
  r->status = host->tensor_info(r->call->ctx, r->x, &info);
  is_broken |= info.ndim != 2;
  return is_broken ? fail(r, "broken for good") : good(r);
}
static anneal_status swallows_failures(run *r) {
  anneal_tensor *y = product(r);
  if (r->status != ANNEAL_OK) {
    r->status = ANNEAL_OK;
    y = host->tensor_retain(r->x);
  }
  return emit(r, y);
}
static anneal_status hides_the_reason(run *r) {
  anneal_tensor *y = product(r);
  return r->status == ANNEAL_OK ? emit(r, y) : fail(r, "something went wrong");
}
static anneal_status leaks_on_failure(run *r) {
  anneal_tensor *y = product(r), *z = times(r, y, 2);
  if (r->status != ANNEAL_OK) return r->status;
  drop(y);
  return emit(r, z);
}

/* What is left behind. */
static anneal_status leaks_handles(run *r) {
  host->tensor_retain(r->x);
  return good(r);
}
static anneal_status leaks_memory(run *r) {
  static char *volatile last; /* so that the compiler does not leave it out */
  last = malloc(4096);
  if (last) memset(last, 1, 4096);
  return good(r);
}
static anneal_status opens_files(run *r) {
  static int count;
  if (count < 100 && open("/dev/null", O_RDONLY) >= 0) count++;
  return good(r);
}
static void *idle(void *nothing) {
  for (;;) pause();
  return nothing;
}
static anneal_status starts_a_thread(run *r) {
  static int count;
  pthread_t thread;
  if (count++ == 0) pthread_create(&thread, NULL, idle, NULL);
  return good(r);
}
static anneal_status leaves_the_folder(run *r) { return chdir("/") ? fail(r, "chdir") : good(r); }
static anneal_status changes_the_environment(run *r) {
  setenv("OMP_NUM_THREADS", "7", 1);
  return good(r);
}
static anneal_status changes_the_umask(run *r) {
  umask(0);
  return good(r);
}
static void ignore(int signal_number) { (void)signal_number; }
static anneal_status handles_a_signal(run *r) {
  signal(SIGUSR2, ignore);
  return good(r);
}
static anneal_status one_at_a_time(run *r) {
  static volatile int is_running;
  anneal_status status;
  if (is_running) return fail(r, "another instance is running");
  is_running = 1;
  usleep(5000);
  status = good(r);
  is_running = 0;
  return status;
}

/* Texts: as many numbers as there are letters. */
static anneal_status texts(run *r, int is_careless) {
  const anneal_input *input = r->call->inputs;
  const int64_t sizes[2] = {(int64_t)input->num_texts, 4};
  anneal_tensor *lengths = NULL, *y;
  float *numbers;
  if (input->tensor) return fail(r, "texts are wanted");
  numbers = malloc(sizeof *numbers * 4 * input->num_texts);
  if (!numbers) return ANNEAL_E_INTERNAL;
  for (size_t i = 0; i < input->num_texts; i++) {
    if (is_careless && input->texts[i].len == 0) raise(SIGSEGV);
    for (size_t j = 0; j < 4; j++) numbers[4 * i + j] = (float)input->texts[i].len;
  }
  r->status = host->tensor_from_host(r->call->ctx, numbers, ANNEAL_F32, 2, sizes, &lengths);
  free(numbers);
  if (r->status != ANNEAL_OK) return r->status;
  y = mul(r, lengths, r->w);
  drop(lengths);
  return emit(r, y);
}
static anneal_status good_texts(run *r) { return texts(r, 0); }
static anneal_status crashes_at_empty_texts(run *r) { return texts(r, 1); }

/* [n] numbers to [n, 4096]; not a fault until a network is told another width. */
static anneal_status widens(run *r) {
  const int64_t sizes[2] = {-1, 4096};
  const anneal_value wide = {.tag = ANNEAL_V_INTS, .len = 2, .u.ints = sizes};
  anneal_tensor *y = op(r, "aten::unsqueeze", "", tensor(r->x), integer(1), none, 2);
  anneal_tensor *z = op(r, "aten::expand", "", tensor(y), wide, none, 2);
  drop(y);
  return emit(r, z);
}

/* Those that fail before forward. */
enum { IN_FORWARD, IN_CREATE, IN_CREATE_CRASHES, IN_DECLARE, IN_UNUSED };

static const struct {
  const char *name;
  anneal_status (*forward)(run *);
  int where;
} entries[] = {
    {"good", good, 0},
    {"good-through", good, 0},
    {"good-texts", good_texts, 0},
    {"will-not-start", good, IN_CREATE},
    {"crashes-at-start", good, IN_CREATE_CRASHES},
    {"declares-something-else", good, IN_DECLARE},
    {"segfaults", segfaults, 0},
    {"aborts", aborts, 0},
    {"exits", exits, 0},
    {"deadlocks", deadlocks, 0},
    {"emits-nothing", emits_nothing, 0},
    {"emits-another-rank", emits_another_rank, 0},
    {"emits-whole-numbers", emits_whole_numbers, 0},
    {"fails-in-training", fails_in_training, 0},
    {"doubles", doubles, 0},
    {"blows-up-at-the-end", blows_up_at_the_end, 0},
    {"takes-few", takes_few, 0},
    {"minds-its-neighbours", minds_its_neighbours, 0},
    {"differs-by-process", differs_by_process, 0},
    {"stops-the-gradient", stops_the_gradient, 0},
    {"stops-at-its-input", stops_at_its_input, 0},
    {"halves-the-gradient", halves_the_gradient, 0},
    {"has-an-idle-parameter", good, IN_UNUSED},
    {"reads-values", reads_values, 0},
    {"other-shape-without-values", other_shape_without_values, 0},
    {"crashes-at-another-rank", crashes_at_another_rank, 0},
    {"never-recovers", never_recovers, 0},
    {"swallows-failures", swallows_failures, 0},
    {"hides-the-reason", hides_the_reason, 0},
    {"leaks-on-failure", leaks_on_failure, 0},
    {"leaks-handles", leaks_handles, 0},
    {"leaks-memory", leaks_memory, 0},
    {"opens-files", opens_files, 0},
    {"starts-a-thread", starts_a_thread, 0},
    {"leaves-the-folder", leaves_the_folder, 0},
    {"changes-the-environment", changes_the_environment, 0},
    {"changes-the-umask", changes_the_umask, 0},
    {"handles-a-signal", handles_a_signal, 0},
    {"one-at-a-time", one_at_a_time, 0},
    {"crashes-at-empty-texts", crashes_at_empty_texts, 0},
    {"widens", widens, 0},
};
enum { ENTRIES = sizeof entries / sizeof *entries };

struct anneal_instance {
  int64_t number;
};

static anneal_status init(const anneal_host_api *api, anneal_ctx *ctx) {
  (void)ctx;
  host = api;
  return ANNEAL_HAS(api, anneal_host_api, op_call) ? ANNEAL_OK : ANNEAL_E_VERSION;
}

static anneal_status create(anneal_ctx *ctx, anneal_str entry, anneal_str config, anneal_instance **out) {
  (void)ctx;
  (void)config;
  for (int64_t i = 0; i < ENTRIES; i++) {
    if (strlen(entries[i].name) != entry.len || memcmp(entries[i].name, entry.ptr, entry.len) != 0) continue;
    if (entries[i].where == IN_CREATE) return ANNEAL_E_UNSUPPORTED;
    if (entries[i].where == IN_CREATE_CRASHES) raise(SIGSEGV);
    *out = calloc(1, sizeof **out);
    if (!*out) return ANNEAL_E_INTERNAL;
    (*out)->number = i;
    return ANNEAL_OK;
  }
  return ANNEAL_E_UNSUPPORTED;
}

static void destroy(anneal_instance *instance) { free(instance); }

static anneal_status declare(anneal_instance *instance, anneal_ctx *ctx, anneal_sink *params) {
  static int64_t declared;
  const int where = entries[instance->number].where;
  const int64_t size = where == IN_DECLARE ? 4 + declared++ : 4;
  anneal_status status;
  (void)ctx;
  status = host->declare_param(params, STR("weight"), 1, &size, STR("{\"ones\":{}}"), 0);
  if (status == ANNEAL_OK && where == IN_UNUSED)
    status = host->declare_param(params, STR("idle"), 1, &size, STR("{\"ones\":{}}"), 0);
  return status;
}

static anneal_status forward(anneal_instance *instance, const anneal_call *call, anneal_sink *outputs) {
  run r = {call, outputs, ANNEAL_OK, call->inputs[0].tensor, call->params[0]};
  return entries[instance->number].forward(&r);
}

static const anneal_embedder_v1 embedder = {sizeof embedder, NULL, create, destroy, declare, forward};

static const void *get_extension(const char *id) { return strcmp(id, ANNEAL_EMBEDDER_V1) == 0 ? &embedder : NULL; }

/* The list of entries is the manifest's; the host compares them, so it is given when this is compiled. */
static const anneal_plugin_api plugin = {
    sizeof plugin, ANNEAL_ABI_MAJOR, ANNEAL_ABI_MINOR,
    1, {0}, {NULL, 0}, {DESCRIPTOR, sizeof DESCRIPTOR - 1}, init, get_extension};

const anneal_plugin_api *anneal_plugin_entry_v1(void) { return &plugin; }
