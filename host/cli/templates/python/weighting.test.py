"""The arithmetic, without WASM: `python3 -m unittest discover tests`."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

from plugin import entries

Entry = entries["{{entry}}"]


class EntryTest(unittest.TestCase):
    def test_small_sigmas_have_the_largest_weight(self):
        entry = Entry({"gamma": 5.0})
        self.assertEqual((entry.weight(0.0), entry.weight(2.0)), (5.0, 0.25))


if __name__ == "__main__":
    unittest.main()
