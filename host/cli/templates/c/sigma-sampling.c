/* {{description}}: `ln(sigma)` has mean `p_mean` and standard deviation `p_std` (Karras et al. 2022, table 1). */
#include "plugin.h"

#include <math.h>

/* What the schema cannot say of the settings: nothing. */
void {{prefix}}_check(const {{prefix}}_settings *settings) { (void)settings; }

/* The host draws, so that a run can be repeated; this says what it draws. */
anneal_draw {{prefix}}_draw(const {{prefix}}_settings *settings) {
  (void)settings;
  return ANNEAL_GAUSSIAN;
}

/* The sigma that a draw becomes. */
double {{prefix}}_sigma(const {{prefix}}_settings *settings, double draw) {
  return exp(settings->p_mean + settings->p_std * draw);
}
