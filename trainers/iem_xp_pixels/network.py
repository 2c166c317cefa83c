"""A small network that judges pixels by their features, one by one; it needs NumPy alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iem_xp.threads import few_threads, usable_cpus
from iem_xp_pixels.features import pixel_features

Floats = NDArray[np.float32]


class Network(NamedTuple):
    """Two hidden layers of rectified linear units, and a logit.

    `mean` and `deviation` float32 (F,): of the features, which are standardised by them. `weights` and
    `biases` float32, of the layers: (F, W) and (W,), (W, W) and (W,), (W, 1) and (1,).
    """

    mean: Floats
    deviation: Floats
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    def logits(self, features: Floats) -> Floats:
        """Log odds of the foreground, float32 (...), of features (..., F)."""
        values = (features - self.mean) / self.deviation
        for depth, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = (np.maximum(values, 0) if depth else values) @ weights + biases
        return values[..., 0]

    def arrays(self) -> dict[str, Floats]:
        """All of it by name, as `from_arrays` takes it."""
        layers = enumerate(zip(self.weights, self.biases, strict=True))
        named = {
            f"{name}_{depth}": array
            for depth, pair in layers
            for name, array in zip(_PAIR, pair, strict=True)
        }
        return {"mean": self.mean, "deviation": self.deviation, **named}


_PAIR = "weights", "biases"
_DEPTH = 3


def from_arrays(arrays: Any) -> Network:
    """Network of named arrays, which may come from anywhere.

    Raises
    ------
    KeyError, ValueError
        If they are none.
    """
    weights, biases = (
        tuple(np.asarray(arrays[f"{name}_{depth}"]) for depth in range(_DEPTH)) for name in _PAIR
    )
    network = Network(np.asarray(arrays["mean"]), np.asarray(arrays["deviation"]), weights, biases)
    count = pixel_features(np.zeros((1, 1, 3), np.uint8)).shape[-1]
    widths = count, *(len(bias) for bias in biases)
    wanted = {"mean": (count,), "deviation": (count,)}
    for depth in range(_DEPTH):
        wanted |= {
            f"weights_{depth}": widths[depth : depth + 2],
            f"biases_{depth}": widths[depth + 1 : depth + 2],
        }
    for name, array in network.arrays().items():
        if array.dtype != np.float32 or array.shape != wanted[name] or not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite float32 of {wanted[name]}")
    if widths[-1] != 1 or not (network.deviation > 0).all():
        raise ValueError("there must be one logit, and deviations above 0")
    return network


class PixelModel:
    """A trained network, for images of any size, though lengths are relative to it.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict how probably every pixel is foreground.

        Parameters
        ----------
        images : uint8 (N, S, S, 3)

        Returns
        -------
        float32 (N, S, S)
            In [0, 1].

        Raises
        ------
        ValueError
            If the images have another shape or data type.
        """
        if (
            images.ndim != 4
            or images.shape[1] != images.shape[2]
            or images.shape[3] != 3
            or images.dtype != np.uint8
        ):
            raise ValueError(
                f"images must be uint8 of shape (N, S, S, 3), not {images.dtype} of {images.shape}"
            )
        probabilities = np.empty(images.shape[:3], np.float32)

        def judge(image: NDArray[np.uint8], place: Floats) -> None:
            place[:] = 0.5 * np.tanh(0.5 * self.network.logits(pixel_features(image))) + 0.5

        with ThreadPoolExecutor(usable_cpus(), "iem-xp") as pool, few_threads(images):
            list(pool.map(judge, images, probabilities))
        return probabilities
