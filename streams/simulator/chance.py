"""Randomness that depends only on its key: neither on the hash seed nor on other draws."""

import random
from typing import Final


def stream(*key: object) -> random.Random:
    """Make a generator for a key, such as (seed, "slot", 3, 7)."""
    return random.Random(":".join(map(str, key)))  # noqa: S311 (a simulation, no secret)


_NOISE_SIZE: Final = 8191
_NOISE: Final = tuple(round(stream("noise", index).gauss(0, 1), 3) for index in range(_NOISE_SIZE))


def noise(index: int) -> float:
    """Return Gaussian noise (mean 0, standard deviation 1) by position: a sample needs no earlier draws."""
    return _NOISE[index % _NOISE_SIZE]
