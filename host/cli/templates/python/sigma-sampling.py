"""{{description}}."""

import math


class LogNormal:
    """Log-normal: `ln(sigma)` has mean `p_mean` and standard deviation `p_std` (Karras et al. 2022, table 1)."""

    # The host draws, so that a run can be repeated; this says what it draws: "gaussian" or "uniform".
    draw = "gaussian"

    def __init__(self, settings):
        self.p_mean, self.p_std = settings["p_mean"], settings["p_std"]

    def sigma(self, draw):
        """The sigma that a draw becomes."""
        return math.exp(self.p_mean + self.p_std * draw)


# What a config may name, by the names in plugin.toml.
entries = {"{{entry}}": LogNormal}
