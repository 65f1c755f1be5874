/* {{description}}: a linear warm-up to 1, then the inverse square root of the step. */
#include "plugin.h"

#include <math.h>

/* What the schema cannot say of the settings: nothing. */
void {{prefix}}_check(const {{prefix}}_settings *settings) { (void)settings; }

/* The multiplier of the base rate for an optimizer step, counted from 0. */
double {{prefix}}_factor(const {{prefix}}_settings *settings, uint64_t step) {
  const double done = (double)step + 1, warm_up = (double)settings->warm_up_steps;
  return done < warm_up ? done / warm_up : sqrt(warm_up / done);
}
