"""Training of a SegNet: epochs, averaged weights, batches in parts, early stopping."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from iem_xp_keras.checkpoints import Arrays, Checkpoints, best_epoch
from iem_xp_keras.labels import Batches, Labels, split
from iem_xp_keras.network import build_network
from iem_xp_keras.options import Options
from iem_xp_keras.prediction import predict_logits

Progress = Callable[[int, int, Mapping[str, float]], object]
"""Called with updates done, of how many, and figures such as ``{"loss": 0.3}``."""


def train(labels: Labels, options: Options, checkpoints: Checkpoints, progress: Progress) -> keras.Model:
    """Train from the last checkpoint on, with a checkpoint after every epoch.

    If a batch does not fit in memory, the epoch is begun again, with batches in more parts.

    Parameters
    ----------
    labels, options
        What to learn, and how.
    checkpoints : Checkpoints
        Of this training; what is there is not done again.
    progress : callable
        Called after every update, and once more after an epoch with all its figures.

    Returns
    -------
    keras.Model
        The network, in float32, not compiled.

    Raises
    ------
    ValueError
        If there are too few labels.
    """
    parts = options.accumulate
    while True:
        training = Training(labels, options, parts)
        try:
            return training.run(checkpoints, progress)
        except Exception as error:
            if not is_out_of_memory(error) or training.parts == training.batch:
                raise
            parts = 2 * training.parts
            warnings.warn(
                f"{training.batch // training.parts} images at a time do not fit in memory: "
                f"going on with batches in {parts} parts or more",
                stacklevel=2,
            )


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of any backend says that memory did not suffice."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"  # TensorFlow's
        or "RESOURCE_EXHAUSTED" in str(error)  # XLA's
    )


class Training:
    """A network, its optimiser, and the result: the average of its weights.

    Parameters
    ----------
    labels, options
        What to learn, and how.
    parts : int
        Parts that a batch is computed in, at least; equal ones, so that their mean gradient is the batch's.

    Attributes
    ----------
    batch : int
        Images of an update.
    parts : int
        Parts of a batch.
    """

    def __init__(self, labels: Labels, options: Options, parts: int = 1) -> None:
        self._labels, self._options = labels, options
        self._learnt, self._held_back = split(len(labels.images), options.validation, options.seed)
        self.batch = min(options.batch_size, len(self._learnt))
        self.parts = next(
            count for count in range(min(parts, self.batch), self.batch + 1) if self.batch % count == 0
        )
        self._updates = len(self._learnt) // self.batch
        self._scope = _scope(self.batch // self.parts)
        with self._scope():
            policy = _mixed_policy() if options.mixed_precision else "float32"
            self._network = build_network(labels.size, options.width, options.seed, policy)
            self._result = build_network(labels.size, options.width, options.seed)
            optimizer = keras.optimizers.Adam(
                options.learning_rate,
                gradient_accumulation_steps=self.parts if self.parts > 1 else None,
                name="adam",
            )
            if policy == "mixed_float16":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
            optimizer.build(self._network.trainable_variables)
            self._network.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True))

    def run(self, checkpoints: Checkpoints, progress: Progress) -> keras.Model:
        """Train the epochs that are not done yet; see `train`."""
        patience = self._options.patience
        with self._scope():
            if checkpoints.history:
                self._restore(checkpoints.load(len(checkpoints.history)))
            while not is_over(checkpoints.history, self._options):
                figures = self._epoch(len(checkpoints.history), progress)
                best = best_epoch([*checkpoints.history, figures]) if patience else 0
                checkpoints.save(self._arrays(), figures, best)
            if patience:
                self._restore(checkpoints.load(best_epoch(checkpoints.history)))
        return self._result

    def _epoch(self, epoch: int, progress: Progress) -> dict[str, float]:
        """Train one epoch, counted from 0, and measure the result."""
        done, steps = epoch * self._updates, self._options.epochs * self._updates

        def after_update(weights: list[Any], update: int, loss: float) -> None:
            if self._options.average:
                # As Keras' own average does, which counts parts of batches: it begins with the first weights.
                self._average(weights, self._options.average if done + update > 1 else 0.0)
            progress(done + update, steps, {"loss": loss})

        batches = Batches(self._labels, self._learnt, epoch, self.batch, self.parts, self._options)
        callback = _AfterUpdate(self.parts, after_update)
        fitted = self._network.fit(batches, shuffle=False, verbose=0, callbacks=[callback])
        if not self._options.average:
            self._average(self._network.trainable_variables, 0.0)
        figures = {"loss": float(fitted.history["loss"][0]), **self._validate()}
        progress(done + self._updates, steps, figures)
        return figures

    def _average(self, weights: list[Any], momentum: float) -> None:
        for mean, weight in zip(self._result.trainable_variables, weights, strict=True):
            mean.assign(momentum * mean + (1 - momentum) * weight)

    def _validate(self) -> dict[str, float]:
        """Loss of the held-back labels, and the mean IoU of the result's masks with them."""
        losses: list[float] = []
        agreements: list[float] = []
        size = self.batch // self.parts
        for start in range(0, len(self._held_back), size):
            chosen = self._held_back[start : start + size]
            logits = predict_logits(self._result, self._labels.images[chosen], size)
            masks = self._labels.masks[chosen] > 0
            losses += np.mean(np.logaddexp(0, logits) - logits * masks, axis=(1, 2)).tolist()
            agreements += intersections_over_unions(logits > 0, masks).tolist()
        return {"val_loss": float(np.mean(losses)), "agreement": float(np.mean(agreements))} if losses else {}

    def _arrays(self) -> Arrays:
        """All that the next epoch depends on, whatever the parts of its batches."""
        return {
            name: keras.ops.convert_to_numpy(variable) / unit for name, variable, unit in self._variables()
        }

    def _restore(self, arrays: Arrays) -> None:
        for name, variable, unit in self._variables():
            variable.assign((arrays[name] * unit).astype(variable.dtype))

    def _variables(self) -> Iterator[tuple[str, Any, int]]:
        """Names in a checkpoint, variables, and what these are multiples of."""
        for group, variables in (
            ("network", self._network.variables),
            ("result", self._result.variables),
            ("optimizer", self._network.optimizer.variables),
        ):
            for variable in variables:
                # Gradients of an unfinished batch: there is none at the end of an epoch.
                if not variable.path.endswith("gradient_accumulator"):
                    # Keras counts the parts of batches.
                    unit = self.parts if variable.path.endswith("iteration") else 1
                    yield f"{group}/{variable.path}", variable, unit


def is_over(history: list[dict[str, float]], options: Options) -> bool:
    """Whether all epochs are done, or no better one is expected."""
    if options.patience and history and len(history) - best_epoch(history) >= options.patience:
        return True
    return len(history) >= options.epochs


def intersections_over_unions(masks: NDArray[np.bool_], others: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of each two masks of (N, H, W); 1 for two that are empty."""
    intersections, unions = (np.sum(kind, axis=(1, 2)) for kind in (masks & others, masks | others))
    return np.where(unions, intersections / np.maximum(unions, 1), 1.0)


class _AfterUpdate(keras.callbacks.Callback):
    """Calls a function with the weights, the number of the update from 1 on, and the mean loss so far."""

    def __init__(self, parts: int, function: Callable[[list[Any], int, float], object]) -> None:
        super().__init__()
        self._parts, self._function = parts, function

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        update, unfinished = divmod(batch + 1, self._parts)
        if not unfinished and logs:
            # Asked for by `model`, the weights are up to date on every backend.
            self._function(self.model.trainable_variables, update, float(logs["loss"]))


def _mixed_policy() -> str:
    """Name of the policy of mixed precision for the devices that are here."""
    on_gpu = any(device.startswith(("gpu", "cuda")) for device in keras.distribution.list_devices())
    return "mixed_float16" if on_gpu else "mixed_bfloat16"


def _scope(images: int) -> Callable[[], AbstractContextManager[Any]]:
    """A scope that shares so many images equally among devices; only JAX does that by Keras' interface."""
    devices = keras.distribution.list_devices() if keras.config.backend() == "jax" else []
    count = math.gcd(len(devices), images)
    if count < 2:
        return nullcontext
    return keras.distribution.DataParallel(devices=devices[:count]).scope
