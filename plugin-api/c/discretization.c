/* A discretization's export: the numbers of one call of the plugin. */
#include "serving.h"

bool exports_anneal_plugin_discretization_sigmas(uint32_t n, component_list_f64_t *ret,
                                                 anneal_plugin_types_plugin_error_t *error) {
  const anneal_entry *entry;
  const void *settings;
  if (!anneal_serving(&entry, &settings, error) || !anneal_room(n, ret, error)) return false;
  ((void (*)(const void *, uint32_t, double *))entry->function)(settings, n, ret->ptr);
  if (!anneal_refused(ANNEAL_PLUGIN_TYPES_ERROR_CODE_INVALID_ARGUMENT, error)) return true;
  component_list_f64_free(ret);
  return false;
}
