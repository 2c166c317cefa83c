"""What a run is made with: the method's numbers and the preprocessing, from presets, files and options."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, get_args

from iem_xp.config import IEMConfig
from iem_xp.images import Fit


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
    fit : {"whole", "crop"}
        As in `iem_xp.images.fit_image`.
    """

    config: IEMConfig = field(default_factory=IEMConfig)
    size: int = 128
    fit: Fit = "whole"

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"size must be a whole number of at least 1, not {self.size!r}")
        if self.fit not in get_args(Fit):
            raise ValueError(f'fit must be "whole" or "crop", not {self.fit!r}')

    def as_dict(self) -> dict[str, Any]:
        """All settings by name, flat, as JSON values."""
        return {**asdict(self.config), "size": self.size, "fit": self.fit}

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


PRESETS: dict[str, Settings] = {"paper": Settings(fit="crop")}
"""Named settings; "paper" is the protocol of the paper's tables."""


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
