"""{{description}}."""


class Ramp:
    """From `min_scale` at the first frame to `max_scale` at the last."""

    def __init__(self, settings):
        self.min_scale, self.max_scale = settings["min_scale"], settings["max_scale"]

    def scales(self, sigmas, num_frames, num_views):
        """A row for each sigma, a column for each frame. `num_frames` counts all frames of a scene."""
        last = max(num_frames, 2) - 1
        row = [self.min_scale + frame / last * (self.max_scale - self.min_scale) for frame in range(num_frames)]
        return row * len(sigmas)


# What a config may name, by the names in plugin.toml.
entries = {"{{entry}}": Ramp}
