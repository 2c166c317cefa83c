"""The SegNet of the paper: a small PSPNet with instance norm, one logit per pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

BINS = (1, 2, 3, 6)
"""Rows, and columns, of regions on each level of the pyramid."""

BLOCKS = 3
"""Residual blocks of stride 1."""


@keras.saving.register_keras_serializable("iem_xp_keras")
class RegionMeans(layers.Layer):  # AdaptiveAveragePooling2D fails inside a compiled training step
    """Means over `bins` x `bins` regions that cover an image: (N, H, W, C) -> (N, bins, bins, C).

    Regions have equal sides where the bins divide H and W, else they overlap by a pixel.
    """

    def __init__(self, bins: int, **layer: Any) -> None:
        super().__init__(**layer)
        self.bins = bins

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Prepare the means along rows and along columns as matrices."""
        self._rows, self._columns = (_means(self.bins, side) for side in input_shape[1:3])
        super().build(input_shape)

    def call(self, images: Any) -> Any:
        """Means along the rows, then along the columns."""
        rows, columns = (ops.cast(means, images.dtype) for means in (self._rows, self._columns))
        return ops.einsum("ih,nhwc,jw->nijc", rows, images, columns)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(N, bins, bins, C)."""
        return (input_shape[0], self.bins, self.bins, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """What makes this layer again."""
        return {**super().get_config(), "bins": self.bins}


def _means(bins: int, side: int | None) -> np.ndarray[Any, np.dtype[np.float32]]:
    if side is None:
        raise ValueError("RegionMeans needs images of a fixed size")
    matrix = np.zeros((bins, side), np.float32)
    for i in range(bins):
        start, stop = i * side // bins, -(-(i + 1) * side // bins)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


class _Parts:
    """Layers of one network: their names, their seeds, their data type."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.dtype = dtype
        self._seeds: Iterator[int] = iter(np.random.SeedSequence(seed).generate_state(64).tolist())

    def convolution(self, name: str, x: Any, channels: int, size: int, **options: Any) -> Any:
        kernel = keras.initializers.GlorotUniform(seed=next(self._seeds))
        layer = layers.Conv2D(
            channels, size, padding="same", kernel_initializer=kernel, name=name, dtype=self.dtype, **options
        )
        return layer(x)

    def normalised(self, name: str, x: Any, channels: int, size: int, **options: Any) -> Any:
        """A convolution and instance norm, which takes the place of its bias."""
        x = self.convolution(name, x, channels, size, use_bias=False, **options)
        norm = layers.GroupNormalization(groups=-1, epsilon=1e-5, name=f"{name}_norm", dtype=self.dtype)
        return norm(x)

    def relu(self, name: str, x: Any) -> Any:
        return layers.ReLU(name=f"{name}_relu", dtype=self.dtype)(x)

    def resized(self, name: str, x: Any, height: int, width: int) -> Any:
        layer = layers.Resizing(height, width, interpolation="bilinear", name=name, dtype=self.dtype)
        return layer(x)

    def residual(self, name: str, x: Any, channels: int, *, halve: bool = False) -> Any:
        """Two convolutions beside a shortcut; `halve` halves the resolution."""
        change = self.normalised(f"{name}_1", x, channels, 3, strides=2 if halve else 1)
        change = self.normalised(f"{name}_2", self.relu(f"{name}_1", change), channels, 3)
        if halve:
            # Not a 1 x 1 convolution of stride 2: its gradient corrupts memory in TensorFlow on CPUs.
            x = layers.AveragePooling2D(2, padding="same", name=f"{name}_pool", dtype=self.dtype)(x)
            x = self.normalised(f"{name}_shortcut", x, channels, 1)
        x = layers.Add(name=f"{name}_sum", dtype=self.dtype)([x, change])
        return self.relu(name, x)


def build_network(size: int, width: int, seed: int, dtype: str = "float32") -> keras.Model:
    """Build the SegNet (paper, section 4.2), with weights that `seed` decides.

    Parameters
    ----------
    size : int
        Side S of the images, in pixels.
    width : int
        Channels, >= 4; of a level of the pyramid a quarter of them.
    seed : int
        Of the initial weights, >= 0.
    dtype : str
        Data type, or Keras policy such as "mixed_bfloat16", of all that is computed.

    Returns
    -------
    keras.Model
        From images (N, S, S, 3) in [0, 255], of any real type, to logits float32 (N, S, S, 1): above 0 is
        foreground.
    """
    parts = _Parts(seed, dtype)
    images = keras.Input((size, size, 3), name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling", dtype=dtype)(images)
    x = parts.residual("reduction", x, width, halve=True)
    for block in range(1, BLOCKS + 1):
        x = parts.residual(f"block_{block}", x, width)
    height, columns = x.shape[1:3]
    levels = [x]
    for bins in BINS:
        name = f"bins_{bins}"
        level = RegionMeans(bins, name=f"{name}_means", dtype=dtype)(x)
        # Instance norm of a single value would be 0, whatever the image.
        convolve = parts.convolution if bins == 1 else parts.normalised
        level = parts.relu(name, convolve(name, level, width // 4, 1))
        levels.append(parts.resized(f"{name}_resized", level, height, columns))
    x = layers.Concatenate(name="pyramid", dtype=dtype)(levels)
    x = parts.relu("head", parts.normalised("head", x, width, 3))
    x = parts.resized("resized", parts.convolution("logit", x, 1, 1), size, size)
    logits = layers.Activation("linear", name="logits", dtype="float32")(x)
    return keras.Model(images, logits, name="segnet")
