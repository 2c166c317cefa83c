"""Changes to an image and its mask that a network should not mind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Augmentation = Callable[[Pixels, Pixels, Generator], tuple[Pixels, Pixels]]


def flip(image: Pixels, mask: Pixels, rng: Generator) -> tuple[Pixels, Pixels]:
    """Mirror left and right, every other time."""
    return (image[:, ::-1], mask[:, ::-1]) if rng.random() < 0.5 else (image, mask)


def scale(image: Pixels, mask: Pixels, rng: Generator) -> tuple[Pixels, Pixels]:
    """Enlarge or shrink by up to 1.4 and move by up to a tenth; the border's pixels continue beyond it."""
    side = len(mask)
    step = rng.choice((rng.uniform(0.7, 1.0), rng.uniform(1.0, 1.3)))
    centre = side / 2 + rng.uniform(-side / 10, side / 10, 2)
    positions = (np.arange(side) - side / 2) * step + centre[:, np.newaxis]
    rows, columns = np.clip(np.rint(positions), 0, side - 1).astype(np.intp)
    window = np.ix_(rows, columns)
    return image[window], mask[window]


def colour(image: Pixels, mask: Pixels, rng: Generator) -> tuple[Pixels, Pixels]:
    """Change brightness, contrast and every channel's share."""
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.7, 1.3, 3)
    levels = (np.arange(256)[:, np.newaxis] - 127.5) * gain + 127.5 + rng.uniform(-38, 38)
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)  # (256, 3)
    return table[image, np.arange(3)], mask


AUGMENTATIONS: dict[str, Augmentation] = {"scale": scale, "colour": colour}
"""Those that the option `augment` names; flips have an option of their own."""
