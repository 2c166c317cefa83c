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
"""Pixels to learn from, in all: what bounds memory and time, however many labels there are.

Beyond it, labels are left out rather than pixels of each, since it takes some to doubt a label.
"""

BATCH = 512
"""Pixels of an update; fewer, so that an epoch of few pixels has `UPDATES` too."""
UPDATES = 150

LEAST_DEVIATION = 1e-3
"""Added to the deviations of features, so that one that is the same everywhere divides by no 0."""

DECAY = 0.1
"""Weight of the squared weights in the loss."""

_PIXELS, _NETWORK = range(2)
"""What random numbers are drawn for: each has its own stream."""


def draw_pixels(
    images: NDArray[np.uint8], masks: NDArray[np.uint8], options: Options
) -> tuple[Floats, NDArray[np.bool_]]:
    """Features and sides of pixels drawn from each of the labels, which may be memory-mapped.

    Parameters
    ----------
    images : uint8 (K, S, S, 3)
    masks : uint8 (K, S, S)
        0 and 1.
    options : Options

    Returns
    -------
    float32 (L, P, F), bool (L, P)
        Of P pixels, as many as the options say, of L labels: all, or as many as `MOST_PIXELS` allows.
    """
    rng = np.random.default_rng((options.seed, _PIXELS))
    count = min(options.pixels, masks[0].size, MOST_PIXELS)
    most = MOST_PIXELS // count
    every_label = len(images) <= most
    shown = range(len(images)) if every_label else np.sort(rng.choice(len(images), most, replace=False))
    features, sides = [], []
    for index in shown:
        chosen = rng.choice(masks[index].size, count, replace=False)
        every = pixel_features(np.asarray(images[index]))
        features.append(every.reshape(-1, every.shape[-1])[chosen])
        sides.append(masks[index].ravel()[chosen] > 0)
    return np.stack(features), np.stack(sides)


def train(
    features: Floats, sides: NDArray[np.bool_], options: Options, progress: Progress
) -> tuple[Network, list[dict[str, float]]]:
    """Fit a network to pixels, and another one to those of the labels that the first contradicts least.

    What a collection has in common is learnt first; a mask that is none of the subject is an exception to it.

    Parameters
    ----------
    features, sides
        As `draw_pixels` returns them.
    options : Options
    progress : callable
        Called after every epoch.

    Returns
    -------
    Network
        The second one; the first, if all labels are trusted.
    list of dict
        ``loss`` of every epoch of both.
    """
    kept = max(1, round(options.trust * len(sides)))
    total = options.epochs * (1 if kept == len(sides) else 2)
    history: list[dict[str, float]] = []

    def record(loss: float) -> None:
        history.append({"loss": loss})
        progress(len(history), total, history[-1])

    network = _fit(features, sides, options, record)
    if kept < len(sides):
        trusted = np.sort(np.argsort(_losses(network, features, sides), kind="stable")[:kept])
        network = _fit(features[trusted], sides[trusted], options, record)
    return network, history


def _fit(
    features: Floats, sides: NDArray[np.bool_], options: Options, record: Callable[[float], object]
) -> Network:
    """Fit a network: the mean of those after the epochs of the second half, steadier than the last one."""
    from sklearn.neural_network import MLPClassifier  # what is trained does without it

    features, sides = features.reshape(-1, features.shape[-1]), sides.ravel()
    mean, deviation = features.mean(axis=0), features.std(axis=0) + LEAST_DEVIATION
    standard = (features - mean) / deviation
    classifier = MLPClassifier(
        (options.width, options.width),
        batch_size=max(1, min(BATCH, len(features) // UPDATES)),
        learning_rate_init=options.learning_rate,
        alpha=DECAY,
        # One generator for all epochs: with a number, each would have the same order.
        random_state=np.random.RandomState(
            np.random.SeedSequence((options.seed, _NETWORK)).generate_state(4)
        ),
    )
    ends: list[list[Any]] = []
    for epoch in range(1, options.epochs + 1):
        classifier.partial_fit(standard, sides, classes=(False, True))
        if 2 * epoch > options.epochs:
            ends.append([array.copy() for array in (*classifier.coefs_, *classifier.intercepts_)])
        record(float(classifier.loss_))
    layers = [np.asarray(np.mean(arrays, axis=0), np.float32) for arrays in zip(*ends, strict=True)]
    depth = len(layers) // 2
    return Network(mean, deviation, tuple(layers[:depth]), tuple(layers[depth:]))


def _losses(network: Network, features: Floats, sides: NDArray[np.bool_]) -> Floats:
    """Mean binary cross-entropy of each label's pixels, (L,)."""
    logits = np.stack([network.logits(pixels) for pixels in features])
    return np.asarray((np.logaddexp(0, logits) - logits * sides).mean(axis=1), np.float32)
