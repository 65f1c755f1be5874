/* {{description}}: equal steps in `sigma^(1/rho)` (Karras et al. 2022, equation 5). */
#include "plugin.h"

#include <math.h>

/* What the schema cannot say of the settings. */
void {{prefix}}_check(const {{prefix}}_settings *settings) {
  if (!(settings->sigma_min < settings->sigma_max)) anneal_refuse("/sigma_max", "it is not above sigma_min");
}

/* n sigmas, strictly decreasing, positive and finite; the host appends the final 0. */
void {{prefix}}_sigmas(const {{prefix}}_settings *settings, uint32_t n, double *sigmas) {
  const double high = pow(settings->sigma_max, 1 / settings->rho), low = pow(settings->sigma_min, 1 / settings->rho);
  const double last = n > 2 ? n - 1 : 1;
  for (uint32_t i = 0; i < n; i++) sigmas[i] = pow(high + i / last * (low - high), settings->rho);
}
