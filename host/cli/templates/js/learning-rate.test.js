// The arithmetic, without WASM: `npm test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { entries } from "../src/plugin.js";

const Entry = entries["{{entry}}"];

test("the rate rises to its base and falls", () => {
  const entry = new Entry({ warm_up_steps: 4 });
  assert.deepEqual([0, 1, 3, 15].map((step) => entry.factor(step)), [0.25, 0.5, 1, 0.5]);
});
