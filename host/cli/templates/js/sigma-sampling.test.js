// The arithmetic, without WASM: `npm test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { entries } from "../src/plugin.js";

const Entry = entries["{{entry}}"];

test("the median is the exponential of the mean", () => {
  const entry = new Entry({ p_mean: 0.5, p_std: 2 });
  assert.equal(entry.sigma(0), Math.exp(0.5));
  assert.ok(entry.sigma(-1) < entry.sigma(1));
});
