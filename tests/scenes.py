"""Small images with something to segment, made here so that no photograph is needed."""

from __future__ import annotations

import numpy as np


def image(rng, height=24, width=20, channels=3):
    """One uint8 image (H, W, C): a textured ellipse, off centre, on another texture."""
    rows, columns = np.mgrid[:height, :width]
    centre = rng.uniform(0.35, 0.65, 2) * (height, width)
    radii = rng.uniform(0.2, 0.4, 2) * (height, width)
    inside = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1
    paint = rng.uniform(40, 215, (2, channels))
    noise = rng.normal(0, 15, (height, width, channels))
    shade = 20 * np.sin(rows / 5 + rng.uniform(0, 6)) * np.cos(columns / 4)
    return np.clip(paint[inside.astype(int)] + noise + shade[..., None], 0, 255).astype(np.uint8)


def images(rng, n, height=24, width=20, channels=3):
    """A batch (N, H, W, C) of them."""
    shape = (n, height, width, channels)
    return np.stack([image(rng, *shape[1:]) for _ in range(n)]) if n else np.zeros(shape, dtype=np.uint8)


def mask(rng, height=24, width=20):
    """A bool mask (H, W) with blobs, holes and straight edges; neither region is empty."""
    coarse = rng.random((-(-height // 3), -(-width // 3))) < 0.5
    result = coarse.repeat(3, 0).repeat(3, 1)[:height, :width] ^ (rng.random((height, width)) < 0.05)
    result.flat[0], result.flat[-1] = True, False
    return result
