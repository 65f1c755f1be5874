"""{{description}}."""

import math


class EulerAncestral:
    """Euler's method with ancestral noise."""

    def __init__(self, settings):
        self.eta = settings["eta"]

    def estimate(self, num_steps):
        """Upper bounds of a run, which the host enforces."""
        return {"denoise_calls": num_steps, "live_latents": 3, "draws_noise": self.eta > 0}

    def sample(self, x, sigmas, run):
        """Latents stay with the host: `denoise` asks the model, `update` and `run.lincomb` compute with them."""
        for i, (sigma, next) in enumerate(zip(sigmas, sigmas[1:])):
            # The step ends below `next`, and noise of standard deviation `up` leads back up to it.
            sigma2, next2 = sigma * sigma, next * next
            up = min(next, self.eta * math.sqrt(next2 * (sigma2 - next2) / sigma2))
            down = math.sqrt(next2 - up * up)
            # x + (x - denoised) / sigma * (down - sigma)
            h = (down - sigma) / sigma
            x.update(1 + h, [(-h, x.denoise(sigma))])
            if up > 0:
                x.update(1.0, [(up, run.gaussian())])
            run.progress(i, sigmas)
        return x


# What a config may name, by the names in plugin.toml.
entries = {"{{entry}}": EulerAncestral}
