/* A guidance's export: the numbers of one call of the plugin. */
#include "serving.h"

typedef void scales(const void *settings, const double *sigmas, size_t num_sigmas, uint32_t num_frames, uint32_t num_views,
                    double *scales);

bool exports_anneal_plugin_guidance_scales(component_list_f64_t *sigmas, uint32_t num_frames, uint32_t num_views,
                                           component_list_f64_t *ret, anneal_plugin_types_plugin_error_t *error) {
  const anneal_entry *entry;
  const void *settings;
  bool good = anneal_serving(&entry, &settings, error) && anneal_room((uint64_t)sigmas->len * num_frames, ret, error);
  if (good) {
    ((scales *)entry->function)(settings, sigmas->ptr, sigmas->len, num_frames, num_views, ret->ptr);
    good = !anneal_refused(ANNEAL_PLUGIN_TYPES_ERROR_CODE_INVALID_ARGUMENT, error);
    if (!good) component_list_f64_free(ret);
  }
  component_list_f64_free(sigmas);
  return good;
}
