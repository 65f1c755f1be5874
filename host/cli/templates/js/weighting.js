// {{description}}.

/** `min(1 / sigma^2, gamma)`: the weight of the noise's squared error, clamped at small sigmas (Hang et al. 2023). */
export class MinSnr {
  constructor({ gamma }) {
    this.gamma = gamma;
  }

  /** The weight of the squared error of the denoised against the clean latent. */
  weight(sigma) {
    return Math.min(1 / (sigma * sigma), this.gamma);
  }
}

/** What a config may name, by the names in plugin.toml. */
export const entries = { "{{entry}}": MinSnr };
