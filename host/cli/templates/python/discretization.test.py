"""The arithmetic, without WASM: `python3 -m unittest discover tests`."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

from plugin import entries

Entry = entries["{{entry}}"]


class EntryTest(unittest.TestCase):
    def test_the_grid_goes_from_the_largest_sigma_to_the_smallest(self):
        sigmas = Entry({"sigma_min": 0.01, "sigma_max": 10.0, "rho": 3.0}).sigmas(5)
        self.assertAlmostEqual(sigmas[0], 10.0)
        self.assertAlmostEqual(sigmas[4], 0.01)
        self.assertTrue(all(one > next for one, next in zip(sigmas, sigmas[1:])))

    def test_sigmas_the_wrong_way_round_are_refused(self):
        with self.assertRaises(ValueError) as refusal:
            Entry({"sigma_min": 10.0, "sigma_max": 1.0, "rho": 7.0})
        self.assertEqual(refusal.exception.path, "/sigma_max")


if __name__ == "__main__":
    unittest.main()
