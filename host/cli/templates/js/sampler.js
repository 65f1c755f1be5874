// {{description}}.

/** Euler's method with ancestral noise. */
export class EulerAncestral {
  constructor({ eta }) {
    this.eta = eta;
  }

  /** Upper bounds of a run, which the host enforces. */
  estimate(numSteps) {
    return { denoiseCalls: numSteps, liveLatents: 3, drawsNoise: this.eta > 0 };
  }

  /** Latents stay with the host: `denoise` asks the model, `update` and `run.lincomb` compute with them. */
  sample(x, sigmas, run) {
    for (let i = 0; i + 1 < sigmas.length; i++) {
      const [sigma, next] = [sigmas[i], sigmas[i + 1]];
      // The step ends below `next`, and noise of standard deviation `up` leads back up to it.
      const [sigma2, next2] = [sigma * sigma, next * next];
      const up = Math.min(next, this.eta * Math.sqrt((next2 * (sigma2 - next2)) / sigma2));
      const down = Math.sqrt(next2 - up * up);
      // x + (x - denoised) / sigma * (down - sigma)
      const h = (down - sigma) / sigma;
      x.update(1 + h, [[-h, x.denoise(sigma)]]);
      if (up > 0) x.update(1, [[up, run.gaussian()]]);
      run.progress(i, sigmas);
    }
    return x;
  }
}

/** What a config may name, by the names in plugin.toml. */
export const entries = { "{{entry}}": EulerAncestral };
