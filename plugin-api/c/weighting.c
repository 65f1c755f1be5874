/* A weighting's export: one call of the plugin for each sigma. */
#include "serving.h"

#include <math.h>

bool exports_anneal_plugin_weighting_weights(component_list_f64_t *sigmas, component_list_f64_t *ret,
                                             anneal_plugin_types_plugin_error_t *error) {
  const anneal_entry *entry;
  const void *settings;
  bool good = anneal_serving(&entry, &settings, error) && anneal_room(sigmas->len, ret, error);
  if (good) {
    for (size_t i = 0; i < sigmas->len; i++) {
      if (isnan(sigmas->ptr[i])) anneal_refuse(NULL, "a sigma is no number");
      ret->ptr[i] = ((double (*)(const void *, double))entry->function)(settings, sigmas->ptr[i]);
    }
    good = !anneal_refused(ANNEAL_PLUGIN_TYPES_ERROR_CODE_INVALID_ARGUMENT, error);
    if (!good) component_list_f64_free(ret);
  }
  component_list_f64_free(sigmas);
  return good;
}
