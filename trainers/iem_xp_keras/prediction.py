"""Logits and probabilities of a network, batch by batch."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

BATCH_SIZE = 16
"""Images predicted at a time."""


def predict_logits(
    network: keras.Model, images: NDArray[np.uint8], batch_size: int = BATCH_SIZE
) -> NDArray[np.float32]:
    """Logits float32 (N, S, S) of images uint8 (N, S, S, 3).

    All batches have one size, the last one padded, so that nothing is compiled twice.
    """
    logits = np.empty(images.shape[:3], np.float32)
    batch = np.zeros((batch_size, *images.shape[1:]), np.uint8)
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        batch[: len(part)] = part
        predicted = np.asarray(network.predict_on_batch(batch))
        logits[start : start + len(part)] = predicted[: len(part), :, :, 0]
    return logits


class SegNetModel:
    """A trained network, for images of its size.

    Parameters
    ----------
    network : keras.Model
        As `build_network` makes it.
    """

    def __init__(self, network: keras.Model) -> None:
        self.network = network

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Predict how probably every pixel is foreground.

        Parameters
        ----------
        images : uint8 (N, S, S, 3)
            Of the size that the network was trained at.

        Returns
        -------
        float32 (N, S, S)
            In [0, 1].

        Raises
        ------
        ValueError
            If the images have another shape or data type.
        """
        shape = tuple(self.network.input_shape[1:])
        if images.ndim != 4 or images.shape[1:] != shape or images.dtype != np.uint8:
            wanted = ", ".join(map(str, shape))
            raise ValueError(
                f"images must be uint8 of shape (N, {wanted}), not {images.dtype} of {images.shape}"
            )
        return _sigmoid(predict_logits(self.network, images))


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-logits)), without overflow."""
    return (0.5 * np.tanh(0.5 * logits) + 0.5).astype(np.float32, copy=False)
