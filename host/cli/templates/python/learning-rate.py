"""{{description}}."""

import math


class WarmUp:
    """A linear warm-up to 1, then the inverse square root of the step."""

    def __init__(self, settings):
        self.warm_up_steps = settings["warm_up_steps"]

    def factor(self, step):
        """The multiplier of the base rate for an optimizer step, counted from 0."""
        done = step + 1
        return done / self.warm_up_steps if done < self.warm_up_steps else math.sqrt(self.warm_up_steps / done)


# What a config may name, by the names in plugin.toml.
entries = {"{{entry}}": WarmUp}
