"""The arithmetic, without WASM: `python3 -m unittest discover tests`."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

from plugin import entries

Entry = entries["{{entry}}"]


class EntryTest(unittest.TestCase):
    def test_every_sigma_has_the_same_row(self):
        scales = Entry({"min_scale": 1.0, "max_scale": 3.0}).scales([2.0, 1.0], 3, 1)
        self.assertEqual(scales, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0])


if __name__ == "__main__":
    unittest.main()
