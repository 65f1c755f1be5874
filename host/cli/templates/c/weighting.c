/* {{description}}: `min(1 / sigma^2, gamma)`, the weight of the noise's squared error, clamped at small sigmas (Hang et
 * al. 2023). */
#include "plugin.h"

#include <math.h>

/* What the schema cannot say of the settings: nothing. */
void {{prefix}}_check(const {{prefix}}_settings *settings) { (void)settings; }

/* The weight of the squared error of the denoised against the clean latent. */
double {{prefix}}_weight(const {{prefix}}_settings *settings, double sigma) {
  return fmin(1 / (sigma * sigma), settings->gamma);
}
