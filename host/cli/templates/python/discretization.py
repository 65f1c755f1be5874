"""{{description}}."""


class SettingError(ValueError):
    """Settings that contradict each other, with the JSON pointer of the one to change."""

    def __init__(self, path, message):
        super().__init__(message)
        self.path = path


class Grid:
    """Equal steps in `sigma^(1/rho)` (Karras et al. 2022, equation 5)."""

    def __init__(self, settings):
        self.sigma_min, self.sigma_max, self.rho = (settings[name] for name in ("sigma_min", "sigma_max", "rho"))
        if not self.sigma_min < self.sigma_max:
            raise SettingError("/sigma_max", f"{self.sigma_max} is not above sigma_min")

    def sigmas(self, n):
        """`n` sigmas, strictly decreasing, positive and finite; the host appends the final 0."""
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        last = max(n, 2) - 1
        return [(high + i / last * (low - high)) ** self.rho for i in range(n)]


# What a config may name, by the names in plugin.toml.
entries = {"{{entry}}": Grid}
