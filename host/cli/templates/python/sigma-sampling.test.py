"""The arithmetic, without WASM: `python3 -m unittest discover tests`."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

from plugin import entries

Entry = entries["{{entry}}"]


class EntryTest(unittest.TestCase):
    def test_the_median_is_the_exponential_of_the_mean(self):
        entry = Entry({"p_mean": 0.0, "p_std": 2.0})
        self.assertEqual(entry.sigma(0.0), 1.0)
        self.assertLess(entry.sigma(-1.0), entry.sigma(1.0))


if __name__ == "__main__":
    unittest.main()
