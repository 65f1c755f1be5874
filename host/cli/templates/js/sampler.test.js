// The arithmetic, without WASM: `npm test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { entries } from "../src/plugin.js";

/** A latent of one number, and a model that knows the answer. */
class Latent {
  constructor(value) {
    this.value = value;
  }

  denoise() {
    return new Latent(3);
  }

  update(scale, terms) {
    this.value = terms.reduce((sum, [factor, latent]) => sum + factor * latent.value, scale * this.value);
  }
}

test("a model that knows the answer is followed to it", () => {
  for (const [eta, draws] of [[0, 0], [1, 2]]) {
    let drawn = 0;
    const run = { gaussian: () => new Latent(++drawn), progress() {} };
    const end = new entries["{{entry}}"]({ eta }).sample(new Latent(9), [4, 2, 1, 0], run);
    assert.ok(Math.abs(end.value - 3) < 1e-12, end.value);
    assert.equal(drawn, draws);
  }
});
