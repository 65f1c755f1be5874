/* A sigma sampling's exports: what it wants drawn, and one call of the plugin for each draw. */
#include "serving.h"

uint8_t exports_anneal_plugin_sigma_sampling_draw(void) {
  anneal_plugin_types_plugin_error_t error;
  const anneal_entry *entry;
  const void *settings;
  if (!anneal_serving(&entry, &settings, &error)) return 0;
  return (uint8_t)((anneal_draw(*)(const void *))entry->draw)(settings);
}

bool exports_anneal_plugin_sigma_sampling_sample(component_list_f64_t *draws, component_list_f64_t *ret,
                                                 anneal_plugin_types_plugin_error_t *error) {
  const anneal_entry *entry;
  const void *settings;
  bool good = anneal_serving(&entry, &settings, error) && anneal_room(draws->len, ret, error);
  if (good) {
    for (size_t i = 0; i < draws->len; i++) {
      ret->ptr[i] = ((double (*)(const void *, double))entry->function)(settings, draws->ptr[i]);
    }
    good = !anneal_refused(ANNEAL_PLUGIN_TYPES_ERROR_CODE_INVALID_ARGUMENT, error);
    if (!good) component_list_f64_free(ret);
  }
  component_list_f64_free(draws);
  return good;
}
