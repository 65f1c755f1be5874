"""The arithmetic, without WASM: `python3 -m unittest discover tests`."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

from plugin import entries


class Latent:
    """A latent of one number, and a model that knows the answer."""

    def __init__(self, value):
        self.value = value

    def denoise(self, sigma):
        return Latent(3.0)

    def update(self, scale, terms):
        self.value = scale * self.value + sum(factor * latent.value for factor, latent in terms)


class Run:
    """A run that counts what is drawn."""

    draws = 0

    def gaussian(self):
        self.draws += 1
        return Latent(float(self.draws))

    def progress(self, step, sigmas):
        pass


class EntryTest(unittest.TestCase):
    def test_a_model_that_knows_the_answer_is_followed_to_it(self):
        for eta, draws in ((0.0, 0), (1.0, 2)):
            run = Run()
            end = entries["{{entry}}"]({"eta": eta}).sample(Latent(9.0), [4.0, 2.0, 1.0, 0.0], run)
            self.assertAlmostEqual(end.value, 3.0)
            self.assertEqual(run.draws, draws)


if __name__ == "__main__":
    unittest.main()
