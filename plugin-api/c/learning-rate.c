/* A learning rate's export: one call of the plugin for each step. */
#include "serving.h"

bool exports_anneal_plugin_learning_rate_factors(uint64_t first, uint32_t count, component_list_f64_t *ret,
                                                 anneal_plugin_types_plugin_error_t *error) {
  const uint8_t code = ANNEAL_PLUGIN_TYPES_ERROR_CODE_INVALID_ARGUMENT;
  const anneal_entry *entry;
  const void *settings;
  if (!anneal_serving(&entry, &settings, error)) return false;
  if (first + count < first) return anneal_fail(code, "the block of steps ends past the last one", error);
  if (!anneal_room(count, ret, error)) return false;
  for (uint32_t i = 0; i < count; i++) {
    ret->ptr[i] = ((double (*)(const void *, uint64_t))entry->function)(settings, first + i);
  }
  if (!anneal_refused(code, error)) return true;
  component_list_f64_free(ret);
  return false;
}
