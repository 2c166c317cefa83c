"""What a training may be told, and the schedules that say the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from iem_xp_keras.augmentation import AUGMENTATIONS


@dataclass(frozen=True)
class Options:
    """Numbers of a training; the defaults are the paper's (section 4.2).

    Parameters
    ----------
    schedule : str
        Name of the schedule that these options started from, one of `SCHEDULES`.
    epochs : int
        Passes over the labels, >= 1.
    batch_size : int
        Images of one update, >= 1. Where there are fewer labels, one batch has all of them.
    learning_rate : float
        Of Adam, constant, > 0.
    width : int
        Channels of the network, >= 4.
    seed : int
        Of the initial weights, the order, the augmentation and the choice of the held-back labels, >= 0.
    validation : float
        Share of the labels that is held back, in [0, 1). What is not 0 holds back one at least.
    mixed_precision : bool
        Compute in float16 on GPUs and in bfloat16 elsewhere; weights and logits stay float32.
    flips : bool
        Mirror every other image, left and right.
    augment : tuple of str
        Names of further augmentations, of those in `AUGMENTATIONS`; also one string with commas.
    average : float
        Momentum of the exponential average of the weights that makes the final network, in [0, 1); 0: the
        last weights as they are.
    patience : int
        Stop after so many epochs without a better agreement with the held-back labels, and take the weights
        of the best epoch; 0: train all epochs and take the last.
    accumulate : int
        Parts that every batch is computed in, one after the other, >= 1; equal ones, so there are more of
        them if so many do not divide it. They change nothing but memory and speed.

    Raises
    ------
    ValueError
        If an option has the wrong type or is out of range; the message names it.
    """

    schedule: str = "paper"
    epochs: int = 50
    batch_size: int = 128
    learning_rate: float = 1e-3
    width: int = 64
    seed: int = 0
    validation: float = 0.05
    mixed_precision: bool = False
    flips: bool = False
    augment: tuple[str, ...] = ()
    average: float = 0.0
    patience: int = 0
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 1),
            ("batch_size", 1),
            ("width", 4),
            ("seed", 0),
            ("patience", 0),
            ("accumulate", 1),
        ):
            object.__setattr__(self, name, _whole_number(name, getattr(self, name), least))
        for name in ("learning_rate", "validation", "average"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in ("validation", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be above 0 and finite, not {self.learning_rate}")
        for name in ("mixed_precision", "flips"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, not {getattr(self, name)!r}")
        object.__setattr__(self, "augment", _names("augment", self.augment))
        if self.patience and not self.validation:
            raise ValueError("patience needs labels that are held back; give validation a share above 0")


SCHEDULES: dict[str, dict[str, Any]] = {
    "paper": {},
    "quick": {
        "epochs": 16,
        "batch_size": 16,
        "width": 32,
        "flips": True,
        "augment": ("scale", "colour"),
        "average": 0.98,
    },
}
"""The paper's numbers, for its 8,000 labels and a GPU; and some for a CPU."""


def read_options(given: Mapping[str, Any]) -> Options:
    """Options that are given, over those of the schedule that they name ("paper" if they name none).

    Raises
    ------
    ValueError
        For an unknown option or schedule (the message lists the known ones), or a bad value.
    """
    known = [field.name for field in fields(Options)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(
            f"the Keras trainer has no option {', '.join(unknown)}; its options are {', '.join(known)}"
        )
    schedule = given.get("schedule", "paper")
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {schedule!r}")
    return Options(**{**SCHEDULES[schedule], **given})


def _whole_number(name: str, value: object, least: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, not {value!r}")
    return int(value)


def _number(name: str, value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, not {value!r}")
    return float(value)


def _names(name: str, value: object) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not set(names) <= {*AUGMENTATIONS, ""}:
        raise ValueError(f"{name} must be names of {', '.join(AUGMENTATIONS)}, not {value!r}")
    return tuple(chosen for chosen in AUGMENTATIONS if chosen in names)
