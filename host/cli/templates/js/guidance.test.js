// The arithmetic, without WASM: `npm test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { entries } from "../src/plugin.js";

const Entry = entries["{{entry}}"];

test("every sigma has the same row", () => {
  assert.deepEqual(new Entry({ min_scale: 1, max_scale: 3 }).scales([2, 1], 3, 1), [1, 2, 3, 1, 2, 3]);
});
