"""The arithmetic, without WASM: `python3 -m unittest discover tests`."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

from plugin import entries

Entry = entries["{{entry}}"]


class EntryTest(unittest.TestCase):
    def test_the_rate_rises_to_its_base_and_falls(self):
        entry = Entry({"warm_up_steps": 4})
        self.assertEqual([entry.factor(step) for step in (0, 1, 3, 15)], [0.25, 0.5, 1.0, 0.5])


if __name__ == "__main__":
    unittest.main()
