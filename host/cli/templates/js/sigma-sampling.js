// {{description}}.

/** Log-normal: `ln(sigma)` has mean `p_mean` and standard deviation `p_std` (Karras et al. 2022, table 1). */
export class LogNormal {
  /** The host draws, so that a run can be repeated; this says what it draws: "gaussian" or "uniform". */
  draw = "gaussian";

  constructor({ p_mean, p_std }) {
    Object.assign(this, { p_mean, p_std });
  }

  /** The sigma that a draw becomes. */
  sigma(draw) {
    return Math.exp(this.p_mean + this.p_std * draw);
  }
}

/** What a config may name, by the names in plugin.toml. */
export const entries = { "{{entry}}": LogNormal };
