"""Pixels drawn from labels, and the network that is fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iem_xp_pixels.features import pixel_features
from iem_xp_pixels.network import Floats, Network
from iem_xp_pixels.options import Options

Progress = Callable[[int, int, Mapping[str, float]], object]
"""Called with epochs done, of how many, and figures such as ``{"loss": 0.3}``."""

MOST_PIXELS = 300_000
"""Pixels to learn from, in all: what bounds memory and time, however many labels there are."""

BATCH = 512
"""Pixels of an update; fewer, so that an epoch of few pixels has `UPDATES` too."""
UPDATES = 150

_PIXELS, _NETWORK = range(2)
"""What random numbers are drawn for: each has its own stream."""


def draw_pixels(
    images: NDArray[np.uint8], masks: NDArray[np.uint8], options: Options
) -> tuple[Floats, NDArray[np.bool_]]:
    """Features, float32 (P, F), and sides, bool (P,), of pixels drawn from each of the labels in turn.

    Parameters
    ----------
    images : uint8 (K, S, S, 3)
    masks : uint8 (K, S, S)
        0 and 1. Both may be memory-mapped: one image is looked at at a time.
    options : Options

    Returns
    -------
    float32 (P, F), bool (P,)
        At most `MOST_PIXELS`.
    """
    rng = np.random.default_rng((options.seed, _PIXELS))
    count = min(options.pixels, max(1, MOST_PIXELS // len(images)), masks[0].size)
    shown = range(len(images)) if len(images) <= MOST_PIXELS else rng.choice(len(images), MOST_PIXELS, False)
    features, sides = [], []
    for index in shown:
        chosen = rng.choice(masks[index].size, count, replace=False)
        every = pixel_features(np.asarray(images[index]))
        features.append(every.reshape(-1, every.shape[-1])[chosen])
        sides.append(masks[index].ravel()[chosen] > 0)
    return np.concatenate(features), np.concatenate(sides)


def train(
    features: Floats, sides: NDArray[np.bool_], options: Options, progress: Progress
) -> tuple[Network, list[dict[str, float]]]:
    """Fit a network to pixels: it is the mean of those after each epoch of the second half."""
    from sklearn.neural_network import MLPClassifier

    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-3
    standard = (features - mean) / deviation
    classifier = MLPClassifier(
        (options.width, options.width),
        batch_size=max(1, min(BATCH, len(features) // UPDATES)),
        learning_rate_init=options.learning_rate,
        alpha=1e-4,
        # One generator for all epochs: with a number, each would have the same order.
        random_state=np.random.RandomState(
            np.random.SeedSequence((options.seed, _NETWORK)).generate_state(4)
        ),
    )
    history: list[dict[str, float]] = []
    ends: list[list[Any]] = []
    for epoch in range(1, options.epochs + 1):
        classifier.partial_fit(standard, sides, classes=(False, True))
        if 2 * epoch > options.epochs:
            ends.append([array.copy() for array in (*classifier.coefs_, *classifier.intercepts_)])
        history.append({"loss": float(classifier.loss_)})
        progress(epoch, options.epochs, history[-1])
    layers = [np.asarray(np.mean(arrays, axis=0), np.float32) for arrays in zip(*ends, strict=True)]
    depth = len(layers) // 2
    return Network(mean, deviation, tuple(layers[:depth]), tuple(layers[depth:])), history
