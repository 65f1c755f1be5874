/* A native plugin with a fault of its library, one a build: -DFAULT=NAME. Its embedder multiplies its input. */
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

/* Macros, because some faults are the preprocessor's. */
#define NONE 0
#define CRASHES_WHEN_LOADED 1
#define EXITS_WHEN_LOADED 2
#define HANGS_WHEN_LOADED 3
#define RETURNS_NOTHING 4
#define SHORT_STRUCT 5
#define LACKS_INIT 6
#define OTHER_MAJOR 7
#define DESCRIBES_ANOTHER 8
#define DESCRIBES_NOTHING 9
#define REFUSES_TO_START 10
#define ABORTS_WHEN_STARTED 11
#define HAS_NO_EMBEDDERS 12
#define EXPORTS_MORE 13
#define HAS_A_DISPATCHER 14
#define NEEDS_MORE_THAN_BUILT 15
#define FOLLOWS_WHAT_IS_NEWER 16
#define WANTS_ITS_OWN_SIZE 17
#define USES_WHAT_IS_NEWER 18
#define HAS_ANY_EXTENSION 19
#define STARTS_A_THREAD 20
#define LEAVES_THE_FOLDER 21
#define CHANGES_THE_ENVIRONMENT 22
#define OPENS_A_FILE 23
#define HANDLES_A_SIGNAL 24
#define STARTS_A_PROCESS 25
#define NEVER_THE_SAME 26
#define STARTS_ONCE 27
#define MAKES_ANYTHING 28

static const anneal_host_api *host;

struct anneal_instance {
  const anneal_op *mul;
};

#if FAULT == CRASHES_WHEN_LOADED || FAULT == EXITS_WHEN_LOADED || FAULT == HANGS_WHEN_LOADED
__attribute__((constructor)) static void when_loaded(void) {
  if (FAULT == CRASHES_WHEN_LOADED) raise(SIGSEGV);
  if (FAULT == EXITS_WHEN_LOADED) exit(0);
  for (;;) pause();
}
#endif

#if FAULT == EXPORTS_MORE
ANNEAL_EXPORT int somebody_elses_name(void) { return 1; }
#endif

#if FAULT == HAS_A_DISPATCHER
/* What a libtorch that is linked into the plugin would bring with it. */
__attribute__((visibility("hidden"), used)) void _ZN3c1010Dispatcher13realSingletonEv(void) {}
#endif

static void *idle(void *nothing) {
  for (;;) pause();
  return nothing;
}

static void ignore(int number) { (void)number; }

static anneal_status init(const anneal_host_api *api, anneal_ctx *ctx) {
  static int started;
  pthread_t thread;
  (void)ctx;
  host = api;
  switch (FAULT) {
    case REFUSES_TO_START: return ANNEAL_E_INTERNAL;
    case ABORTS_WHEN_STARTED: abort();
    case WANTS_ITS_OWN_SIZE: return api->struct_size == sizeof *api ? ANNEAL_OK : ANNEAL_E_VERSION;
    case FOLLOWS_WHAT_IS_NEWER:
      if (api->abi_minor > ANNEAL_ABI_MINOR) (*(void (*const *)(void))((const char *)api + sizeof *api))();
      break;
    case STARTS_A_THREAD: pthread_create(&thread, NULL, idle, NULL); break;
    case LEAVES_THE_FOLDER: return chdir("/") ? ANNEAL_E_INTERNAL : ANNEAL_OK;
    case CHANGES_THE_ENVIRONMENT: setenv("TZ", "Antarctica/Troll", 1); break;
    case OPENS_A_FILE: return open("/dev/null", O_RDONLY) < 0 ? ANNEAL_E_INTERNAL : ANNEAL_OK;
    case HANDLES_A_SIGNAL: signal(SIGUSR2, ignore); break;
    case STARTS_A_PROCESS:
      if (fork() == 0) idle(NULL);
      break;
    case STARTS_ONCE: return started++ ? ANNEAL_E_INTERNAL : ANNEAL_OK;
    default: break;
  }
  return ANNEAL_OK;
}

static anneal_status create(anneal_ctx *ctx, anneal_str entry, anneal_str config, anneal_instance **out) {
  anneal_status status;
  anneal_instance *instance = calloc(1, sizeof *instance);
  (void)config;
  if (!instance) return ANNEAL_E_INTERNAL;
  if (FAULT != MAKES_ANYTHING && (entry.len != 6 || memcmp(entry.ptr, "scaled", 6) != 0)) {
    free(instance);
    return ANNEAL_E_UNSUPPORTED;
  }
  status = FAULT == USES_WHAT_IS_NEWER || ANNEAL_HAS(host, anneal_host_api, op_find)
               ? host->op_find(ctx, "aten::mul", "Tensor", &instance->mul)
               : ANNEAL_E_VERSION;
  if (status != ANNEAL_OK) {
    free(instance);
    return status;
  }
  *out = instance;
  return ANNEAL_OK;
}

static void destroy(anneal_instance *instance) { free(instance); }

static anneal_status forward(anneal_instance *instance, const anneal_call *call, anneal_sink *outputs) {
  const anneal_value x = {.tag = ANNEAL_V_TENSOR, .u.tensor = (anneal_tensor *)call->inputs[0].tensor};
  const anneal_value args[2] = {x, x};
  anneal_value result = {0};
  const anneal_status status =
      host->op_call(call->ctx, instance->mul, args, 2, NULL, 0, sizeof(anneal_value), &result, 1);
  return status == ANNEAL_OK ? host->emit_output(outputs, STR("vector"), result.u.tensor) : status;
}

static const anneal_embedder_v1 embedder = {sizeof embedder, NULL, create, destroy, NULL, forward};

static const void *get_extension(const char *id) {
  if (FAULT == HAS_NO_EMBEDDERS) return NULL;
  if (FAULT == HAS_ANY_EXTENSION) return &embedder;
  return strcmp(id, ANNEAL_EMBEDDER_V1) == 0 ? &embedder : NULL;
}

#if FAULT == DESCRIBES_ANOTHER
#define DESCRIPTOR "{\"sdk\":\"c\",\"entries\":[{\"name\":\"another\",\"kind\":\"embedder\"}]}"
#elif FAULT == DESCRIBES_NOTHING
#define DESCRIPTOR "not JSON"
#else
#define DESCRIPTOR "{\"sdk\":\"c\",\"entries\":[{\"name\":\"scaled\",\"kind\":\"embedder\"}]}"
#endif

#define PLUGIN                                                                                                  \
  {FAULT == SHORT_STRUCT ? 8 : sizeof(anneal_plugin_api),                                                       \
   FAULT == OTHER_MAJOR ? 2 : ANNEAL_ABI_MAJOR,                                                                 \
   FAULT == NEEDS_MORE_THAN_BUILT ? 0 : ANNEAL_ABI_MINOR,                                                       \
   FAULT == USES_WHAT_IS_NEWER ? 0 : 1,                                                                         \
   {0},                                                                                                         \
   {NULL, 0},                                                                                                   \
   {DESCRIPTOR, sizeof DESCRIPTOR - 1},                                                                         \
   FAULT == LACKS_INIT ? NULL : init,                                                                           \
   get_extension}

static const anneal_plugin_api plugins[2] = {PLUGIN, PLUGIN};

const anneal_plugin_api *anneal_plugin_entry_v1(void) {
  static int calls;
  if (FAULT == RETURNS_NOTHING) return NULL;
  return &plugins[FAULT == NEVER_THE_SAME ? calls++ % 2 : 0];
}
