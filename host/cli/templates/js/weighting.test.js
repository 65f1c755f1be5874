// The arithmetic, without WASM: `npm test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { entries } from "../src/plugin.js";

const Entry = entries["{{entry}}"];

test("small sigmas have the largest weight", () => {
  const entry = new Entry({ gamma: 5 });
  assert.deepEqual([entry.weight(0), entry.weight(2)], [5, 0.25]);
});
