"""What a run is made with: the method's numbers and the preprocessing, from presets, files and options."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from iem_xp.config import IEMConfig
from iem_xp.edges import Edges, check_edges, refine_edges
from iem_xp.images import Fit, Mask, Pixels, check_fit, fit_image, restore_mask, restore_probability


class SettingsError(ValueError):
    """A setting that does not exist or has no valid value; the message names it."""


@dataclass(frozen=True)
class Settings:
    """Numbers of the method and how images come to its working size.

    Attributes
    ----------
    config : IEMConfig
    size : int
        Shorter side at work, in pixels, >= 1.
    fit : {"whole", "crop", "squash"}
        As in `iem_xp.images.fit_image`.
    edges : {"none", "guided", "iem"}
        How masks come to the size of their image, as in `iem_xp.edges.refine_edges`; those of crops do not.
    """

    config: IEMConfig = field(default_factory=IEMConfig)
    size: int = 128
    fit: Fit = "whole"
    edges: Edges = "none"

    def __post_init__(self) -> None:
        check_fit(self.size, self.fit)
        check_edges(self.edges)

    def at_work(self, image: Pixels) -> Pixels:
        """Image at the working size: uint8 (h, w, 3) of uint8 (H, W, 3)."""
        return fit_image(image, self.size, self.fit)

    @property
    def follows_edges(self) -> bool:
        """Whether an image is looked at again when its mask comes to its size."""
        return self.fit != "crop" and self.edges != "none"

    def at_own_size(self, mask: Mask, height: int, width: int) -> Mask:
        """Working mask at the size of its image; that of a crop stays, for of the rest nothing is known."""
        return mask if self.fit == "crop" else restore_mask(mask, height, width)

    def along_edges(self, mask: Mask, image: Pixels) -> Mask:
        """The same along the edges of the image, uint8 (H, W, 3), if it `follows_edges`."""
        if not self.follows_edges:
            return self.at_own_size(mask, *image.shape[:2])
        return refine_edges(image, mask, self.edges, self.config)

    def probability_at_own_size(self, probability: Pixels, height: int, width: int) -> Pixels:
        """The same for probabilities, uint8 (h, w) with 255 for 1."""
        if self.fit == "crop":
            return probability
        return restore_probability(probability, height, width)

    def as_dict(self) -> dict[str, Any]:
        """All settings by name, flat, as JSON values."""
        return {**asdict(self.config), "size": self.size, "fit": self.fit, "edges": self.edges}

    @classmethod
    def of_configuration(cls, configuration: Mapping[str, Any]) -> Self:
        """Settings in the configuration of a run, which has more."""
        own = cls()
        return own.updated({name: configuration[name] for name in own.as_dict() if name in configuration})

    def updated(self, values: Mapping[str, Any]) -> Self:
        """Settings with some replaced, by the names of `as_dict`; hyphens pass for underscores.

        Raises
        ------
        SettingsError
            If a name is unknown or its value not valid.
        """
        known = self.as_dict()
        values = {name.replace("-", "_"): value for name, value in values.items()}
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
                hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
                raise SettingsError(f"unknown setting {name!r}; {hint}")
        own = {f.name for f in fields(self)}
        try:
            config = replace(self.config, **{k: v for k, v in values.items() if k not in own})
            return replace(self, config=config, **{k: v for k, v in values.items() if k in own})
        except (TypeError, ValueError) as error:
            raise SettingsError(str(error)) from error


BEFORE: dict[str, Any] = {"edges": "none"}
"""Settings that earlier runs do not name, and what they were made with."""


def differences(
    there: Mapping[str, Any], now: Mapping[str, Any], called: tuple[str, str] = ("there", "now")
) -> str:
    """Lines on what differs between two configurations, of which one was stored as JSON.

    One that was stored by a version without some setting was made with what that has in `BEFORE`.
    """
    first, second = called
    there, now = dict(_flat(BEFORE | dict(there))), dict(_flat(BEFORE | json.loads(json.dumps(now))))
    return "".join(
        f"  {key}: {json.dumps(there.get(key))} {first}, {json.dumps(now.get(key))} {second}\n"
        for key in {**there, **now}
        if there.get(key) != now.get(key)
    )


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Values with their names, those within others as "above.name"."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


PRESETS: dict[str, Settings] = {
    "paper": Settings(fit="crop"),
    "best": Settings(IEMConfig.preset("best"), edges="guided"),
}
"""Named settings: "paper" is the protocol of the paper's tables, "best" for masks to be used."""


def read_settings(file: Path) -> dict[str, Any]:
    """Settings in a TOML file, by name, such as ``sigma = 2.5``.

    Raises
    ------
    SettingsError
        If the file cannot be read as TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not valid TOML: {error}") from error
