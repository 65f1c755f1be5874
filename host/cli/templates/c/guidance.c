/* {{description}}: from `min_scale` at the first frame to `max_scale` at the last. */
#include "plugin.h"

/* What the schema cannot say of the settings: nothing. */
void {{prefix}}_check(const {{prefix}}_settings *settings) { (void)settings; }

/* A row for each sigma, a column for each frame. `num_frames` counts all frames of a scene. */
void {{prefix}}_scales(const {{prefix}}_settings *settings, const double *sigmas, size_t num_sigmas, uint32_t num_frames,
                       uint32_t num_views, double *scales) {
  const double last = num_frames > 2 ? num_frames - 1 : 1, range = settings->max_scale - settings->min_scale;
  (void)sigmas, (void)num_views;
  for (size_t i = 0; i < num_sigmas; i++) {
    for (uint32_t frame = 0; frame < num_frames; frame++) *scales++ = settings->min_scale + frame / last * range;
  }
}
