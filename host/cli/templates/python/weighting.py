"""{{description}}."""


class MinSnr:
    """`min(1 / sigma^2, gamma)`: the weight of the noise's squared error, clamped at small sigmas (Hang et al. 2023)."""

    def __init__(self, settings):
        self.gamma = settings["gamma"]

    def weight(self, sigma):
        """The weight of the squared error of the denoised against the clean latent."""
        square = sigma * sigma
        return min(1 / square, self.gamma) if square > 0 else self.gamma


# What a config may name, by the names in plugin.toml.
entries = {"{{entry}}": MinSnr}
