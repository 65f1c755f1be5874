// {{description}}.

/** A linear warm-up to 1, then the inverse square root of the step. */
export class WarmUp {
  constructor({ warm_up_steps }) {
    this.warm_up_steps = warm_up_steps;
  }

  /** The multiplier of the base rate for an optimizer step, counted from 0. */
  factor(step) {
    const done = step + 1;
    return done < this.warm_up_steps ? done / this.warm_up_steps : Math.sqrt(this.warm_up_steps / done);
  }
}

/** What a config may name, by the names in plugin.toml. */
export const entries = { "{{entry}}": WarmUp };
