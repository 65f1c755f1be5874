/* A plugin in plain C that uses no libtorch. The macros make it break the ABI's rules one at a time. */
#include "anneal_plugin.h"

#include <string.h>

#ifndef MAJOR
#define MAJOR ANNEAL_ABI_MAJOR
#endif
#ifndef MINOR_MIN
#define MINOR_MIN 0
#endif
#ifndef TORCH
#define TORCH ""
#endif
#ifndef DESCRIPTOR
#define DESCRIPTOR "{\"sdk\":\"c\",\"entries\":[{\"name\":\"white\",\"kind\":\"embedder\"}]}"
#endif
#ifndef EXTENSION
#define EXTENSION ANNEAL_EMBEDDER_V1
#endif
#define STR(literal) {literal, sizeof(literal) - 1}

struct anneal_instance { int64_t calls; };
static struct anneal_instance only;
static const anneal_host_api *host;

static anneal_str str(const char *text) {
  anneal_str view = {text, strlen(text)};
  return view;
}

static anneal_status init(const anneal_host_api *api, anneal_ctx *ctx) {
  host = api;
  if (!ANNEAL_HAS(api, anneal_host_api, draw_normal)) return ANNEAL_E_VERSION;
  if (api->log_enabled(ctx, ANNEAL_INFO)) api->log(ctx, ANNEAL_INFO, str("ready"));
  return ANNEAL_OK;
}

static anneal_status create(anneal_ctx *ctx, anneal_str entry, anneal_str config, anneal_instance **out) {
  if (entry.len != 5 || memcmp(entry.ptr, "white", 5) != 0) {
    host->set_error(ctx, ANNEAL_E_UNSUPPORTED, str("no such entry"), str(""));
    return ANNEAL_E_UNSUPPORTED;
  }
  if (config.len != 2) {
    host->set_error(ctx, ANNEAL_E_CONFIG, str("takes no settings"), str("/width"));
    return ANNEAL_E_CONFIG;
  }
  *out = &only;
  return ANNEAL_OK;
}

static void destroy(anneal_instance *instance) { instance->calls = 0; }

static anneal_status declare(anneal_instance *instance, anneal_ctx *ctx, anneal_sink *params) {
  const int64_t sizes[2] = {1, 3};
  (void)instance, (void)ctx;
  return host->declare_param(params, str("offset"), 2, sizes, str("{\"uniform\":{\"bound\":0.5}}"), ANNEAL_PARAM_BUFFER);
}

/* White noise, then its parameter as it is. */
static anneal_status forward(anneal_instance *instance, const anneal_call *call, anneal_sink *outputs) {
  const int64_t sizes[2] = {call->num_scenes, 3};
  anneal_tensor *noise = NULL;
  anneal_status status = host->draw_normal(call->ctx, str("white"), 2, sizes, &noise);
  if (status == ANNEAL_OK) status = host->emit_output(outputs, str("vector"), noise);
  if (status == ANNEAL_OK) status = host->emit_output(outputs, str(""), host->tensor_retain(call->params[0]));
  instance->calls++;
  return status;
}

static const anneal_embedder_v1 embedder = {
#ifdef SHORT_TABLE
    offsetof(anneal_embedder_v1, forward), NULL, create, destroy, declare, forward,
#else
    sizeof(anneal_embedder_v1), NULL, create, destroy, declare, forward,
#endif
};

static const void *get_extension(const char *id) { return strcmp(id, EXTENSION) == 0 ? &embedder : NULL; }

/* What a plugin of a later minor version returns: a longer struct. */
static const struct {
  anneal_plugin_api api;
  unsigned char later[64];
} plugin = {
    {
#ifdef SMALL
        sizeof(size_t),
#else
        sizeof(plugin),
#endif
        MAJOR, 99, MINOR_MIN, {0}, STR(TORCH), STR(DESCRIPTOR), init, get_extension},
    {0xa5, 0xa5},
};

const anneal_plugin_api *anneal_plugin_entry_v1(void) {
#ifdef NULL_ENTRY
  return NULL;
#else
  return &plugin.api;
#endif
}
