/* The lifecycle of a component in C: it describes itself, checks settings, and serves one entry. */
#include "serving.h"

#include <stdlib.h>
#include <string.h>

static struct {
  const anneal_entry *entry;
  void *settings;
} serving;

static struct {
  const char *path, *message;
} refusal;

void anneal_begin(void) { refusal.path = refusal.message = NULL; }

void anneal_refuse(const char *path, const char *message) {
  if (refusal.message) return;
  refusal.path = path;
  refusal.message = message;
}

static component_string_t copy(component_string_t text) { return anneal_joined(&text, 1); }

bool anneal_fail(uint8_t code, const char *message, anneal_plugin_types_plugin_error_t *error) {
  error->code = code;
  error->message = copy(anneal_text(message));
  error->path.is_some = false;
  return false;
}

bool anneal_refused(uint8_t code, anneal_plugin_types_plugin_error_t *error) {
  if (!refusal.message) return false;
  anneal_fail(code, refusal.message, error);
  error->path.is_some = refusal.path != NULL;
  if (refusal.path) error->path.val = copy(anneal_text(refusal.path));
  return true;
}

bool anneal_serving(const anneal_entry **entry, const void **settings, anneal_plugin_types_plugin_error_t *error) {
  *entry = serving.entry;
  *settings = serving.settings;
  anneal_begin();
  return serving.entry || anneal_fail(ANNEAL_PLUGIN_TYPES_ERROR_CODE_INTERNAL, "called before init", error);
}

bool anneal_room(uint64_t len, component_list_f64_t *list, anneal_plugin_types_plugin_error_t *error) {
  list->len = (size_t)len;
  list->ptr = len <= SIZE_MAX / sizeof(double) ? calloc((size_t)len, sizeof(double)) : NULL;
  return list->ptr || len == 0 ||
         anneal_fail(ANNEAL_PLUGIN_TYPES_ERROR_CODE_BUDGET_EXHAUSTED, "there is no memory for so many numbers", error);
}

/* The settings of an entry; NULL, and what is wrong with them. `code` and `path` are the error's. */
static void *settle(const component_string_t *name, component_string_t json, const anneal_entry **out,
                    anneal_plugin_types_plugin_error_t *error) {
  const uint8_t code = ANNEAL_PLUGIN_TYPES_ERROR_CODE_INVALID_CONFIG;
  anneal_fault fault;
  for (size_t i = 0; i < anneal_num_entries; i++) {
    const anneal_entry *entry = &anneal_entries[i];
    if (strlen(entry->name) != name->len || memcmp(entry->name, name->ptr, name->len) != 0) continue;
    void *settings = calloc(1, entry->size);
    if (!settings) abort();
    anneal_begin();
    if (!anneal_read(entry, json, settings, &fault)) {
      *error = (anneal_plugin_types_plugin_error_t){code, fault.message, {fault.path.len > 0, fault.path}};
    } else {
      entry->check(settings);
      *out = entry;
      if (!anneal_refused(code, error)) return settings;
    }
    free(settings);
    return NULL;
  }
  anneal_fail(code, "there is no entry of that name", error);
  return NULL;
}

void exports_anneal_plugin_lifecycle_describe(component_string_t *ret) { *ret = copy(anneal_text(anneal_descriptor)); }

void exports_anneal_plugin_lifecycle_check_config(component_string_t *name, component_string_t *config,
                                                  exports_anneal_plugin_lifecycle_list_diagnostic_t *ret) {
  anneal_plugin_types_plugin_error_t error;
  const anneal_entry *entry;
  void *settings = settle(name, *config, &entry, &error);
  ret->ptr = NULL;
  ret->len = 0;
  if (!settings) {
    ret->ptr = calloc(1, sizeof *ret->ptr);
    if (!ret->ptr) abort();
    ret->len = 1;
    ret->ptr->severity = ANNEAL_PLUGIN_TYPES_SEVERITY_ERROR;
    ret->ptr->message = error.message;
    if (error.path.is_some) ret->ptr->path = error.path.val;
  }
  free(settings);
  component_string_free(name);
  component_string_free(config);
}

bool exports_anneal_plugin_lifecycle_init(component_string_t *name, component_string_t *config,
                                          exports_anneal_plugin_lifecycle_plugin_error_t *error) {
  serving.settings = settle(name, *config, &serving.entry, error);
  if (!serving.settings) serving.entry = NULL;
  component_string_free(name);
  component_string_free(config);
  return serving.settings != NULL;
}
