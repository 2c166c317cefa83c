"""What a training may be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Options:
    """Numbers of a training.

    Parameters
    ----------
    epochs : int
        Passes over the drawn pixels, >= 1.
    pixels : int
        How many are drawn of each image, >= 1. Of more images than `training.MOST_PIXELS` allows at this
        number, some are drawn.
    width : int
        Units of each of the two hidden layers, >= 1.
    learning_rate : float
        Of Adam, in (0, 1].
    trust : float
        Share of the labels that the network learns from, in (0, 1]: those that a first network, of all of
        them, contradicts least. 1: there is no first network.
    seed : int
        Of the pixels, the initial weights and the order, >= 0.

    Raises
    ------
    ValueError
        If an option has the wrong type or is out of range; the message names it.
    """

    epochs: int = 8
    pixels: int = 200
    width: int = 48
    learning_rate: float = 2e-3
    trust: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("pixels", 1), ("width", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number, at least {least}, not {value!r}")
            object.__setattr__(self, name, int(value))
        for name in ("learning_rate", "trust"):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) <= 1:
                raise ValueError(f"{name} must be a number above 0, and at most 1, not {value!r}")
            object.__setattr__(self, name, float(value))


def read_options(given: Mapping[str, Any]) -> Options:
    """Options that are given, over the defaults.

    Raises
    ------
    ValueError
        For an unknown option (the message lists the known ones), or a bad value.
    """
    known = [field.name for field in fields(Options)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(
            f"the pixel trainer has no option {', '.join(unknown)}; its options are {', '.join(known)}"
        )
    return Options(**given)
