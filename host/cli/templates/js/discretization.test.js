// The arithmetic, without WASM: `npm test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { entries } from "../src/plugin.js";

const Entry = entries["{{entry}}"];

test("the grid goes from the largest sigma to the smallest", () => {
  const sigmas = new Entry({ sigma_min: 0.01, sigma_max: 10, rho: 3 }).sigmas(5);
  assert.ok(Math.abs(sigmas[0] - 10) < 1e-9 && Math.abs(sigmas[4] - 0.01) < 1e-9, sigmas.join());
  assert.ok(sigmas.every((sigma, i) => i === 0 || sigma < sigmas[i - 1]));
});

test("sigmas the wrong way round are refused", () => {
  assert.throws(() => new Entry({ sigma_min: 10, sigma_max: 1, rho: 7 }), { name: "RangeError", path: "/sigma_max" });
});
