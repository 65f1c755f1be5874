// {{description}}.

/** Equal steps in `sigma^(1/rho)` (Karras et al. 2022, equation 5). */
export class Grid {
  constructor({ sigma_min, sigma_max, rho }) {
    if (!(sigma_min < sigma_max)) {
      throw Object.assign(new RangeError(`${sigma_max} is not above sigma_min`), { path: "/sigma_max" });
    }
    Object.assign(this, { sigma_min, sigma_max, rho });
  }

  /** `n` sigmas, strictly decreasing, positive and finite; the host appends the final 0. */
  sigmas(n) {
    const high = this.sigma_max ** (1 / this.rho);
    const low = this.sigma_min ** (1 / this.rho);
    const last = Math.max(n, 2) - 1;
    return Array.from({ length: n }, (_, i) => (high + (i / last) * (low - high)) ** this.rho);
  }
}

/** What a config may name, by the names in plugin.toml. */
export const entries = { "{{entry}}": Grid };
