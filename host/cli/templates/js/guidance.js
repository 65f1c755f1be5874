// {{description}}.

/** From `min_scale` at the first frame to `max_scale` at the last. */
export class Ramp {
  constructor({ min_scale, max_scale }) {
    Object.assign(this, { min_scale, max_scale });
  }

  /** A row for each sigma, a column for each frame. `numFrames` counts all frames of a scene. */
  scales(sigmas, numFrames, numViews) {
    const last = Math.max(numFrames, 2) - 1;
    const scale = (frame) => this.min_scale + (frame / last) * (this.max_scale - this.min_scale);
    return Array.from({ length: sigmas.length * numFrames }, (_, i) => scale(i % numFrames));
  }
}

/** What a config may name, by the names in plugin.toml. */
export const entries = { "{{entry}}": Ramp };
