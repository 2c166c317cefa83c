"""Every number of the method, in one frozen object with the paper's defaults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args

Choice = Literal["dataset", "image", "information"]
Space = Literal["rgb", "lab"]

REFERENCE_SIDE = 128
"""Shorter side, in pixels, at which `IEMConfig.init_sides` are given."""

LEAST_EPSILON = 1e-30
"""Below about this, its products and their reciprocals leave the range of float32."""

MOST_COLOURS = 256


@dataclass(frozen=True)
class IEMConfig:
    """Numbers of the method; the defaults are the paper's (section 4.2).

    Parameters
    ----------
    iterations : int
        Updates of each mask (eq. 10), >= 0.
    init_sides : tuple of int
        Sides of the centred squares that the search starts from, in pixels at a shorter image side of
        128; they scale with the image.
    choose : {"dataset", "image", "information"}
        How one initial square is chosen among several: the one of highest mean inpainting error over all
        images (the paper); for each image, the one of highest inpainting error; or, for each image, the one
        whose mask the pixels' colours explain best (`iem_xp.marginals.information`).
    kernel_size : int
        Taps of one pass of the Gaussian, odd, >= 1 (eq. 6).
    sigma : float
        Standard deviation of one pass, in pixels, > 0.
    repeats : int
        Passes stacked, zero-padded between passes too, >= 1.
    scale_factor : int
        The filter runs on planes average-pooled by this factor, >= 1.
    regularization : float
        lambda, the weight of the diversity of colours inside each region (eq. 11), >= 0.
    epsilon : float
        Weight of a region's mean colour in every prediction (eq. 7), >= 1e-30. Part of the model: beyond the
        filter's support, the prediction *is* that mean.
    boundary_only : bool
        Whether only pixels at the mask's boundary may change (eq. 10).
    smooth : bool
        Whether every update ends with a 3 x 3 majority smoothing.
    colour_space : {"rgb", "lab"}
        Where colours are compared: as they are (the paper), or in CIELAB, for one channel or three.
    colour_weight : float
        Weight of the regions' colour marginals (`iem_xp.marginals`), >= 0; 0 is the paper's equation 4. They
        add up over pixels, and the inpainting error is a mean: in larger images the same weight counts more.
    colours : int
        Most colours of the palette that marginals count, 1 to 256.
    cut : bool
        Whether each mask ends with a cut along the image's edges near its boundary (`iem_xp.cut`).

    Raises
    ------
    TypeError, ValueError
        If a field has the wrong type or is out of range; the message names the field.
    """

    iterations: int = 150
    init_sides: tuple[int, ...] = (44, 78, 92)
    choose: Choice = "dataset"
    kernel_size: int = 11
    sigma: float = 5.0
    repeats: int = 2
    scale_factor: int = 1
    regularization: float = 1e-3
    epsilon: float = 1e-8
    boundary_only: bool = True
    smooth: bool = True
    colour_space: Space = "rgb"
    colour_weight: float = 0.0
    colours: int = 32
    cut: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("iterations", 0),
            ("kernel_size", 1),
            ("repeats", 1),
            ("scale_factor", 1),
            ("colours", 1),
        ):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size must be odd, so that the filter has a centre, not {self.kernel_size}"
            )
        sides = self.init_sides
        if isinstance(sides, str) or not isinstance(sides, Iterable):
            sides = (sides,)
        object.__setattr__(self, "init_sides", tuple(whole_number("init_sides", side, 1) for side in sides))
        if not self.init_sides:
            raise ValueError("init_sides must name at least one square")
        if len(set(self.init_sides)) < len(self.init_sides):
            raise ValueError(f"init_sides names a square twice: {self.init_sides}")
        for name, positive in (
            ("sigma", True),
            ("epsilon", True),
            ("regularization", False),
            ("colour_weight", False),
        ):
            object.__setattr__(self, name, _real(name, getattr(self, name), positive))
        if self.epsilon < LEAST_EPSILON:
            raise ValueError(f"epsilon must be at least {LEAST_EPSILON:g}, for float32, not {self.epsilon:g}")
        for name, known in (("choose", Choice), ("colour_space", Space)):
            if getattr(self, name) not in get_args(known):
                options = ", ".join(f'"{option}"' for option in get_args(known))
                raise ValueError(f"{name} must be one of {options}, not {getattr(self, name)!r}")
        if self.colours > MOST_COLOURS:
            raise ValueError(f"colours must be at most {MOST_COLOURS}, not {self.colours}")
        for name in ("boundary_only", "smooth", "cut"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")

    @classmethod
    def preset(cls, name: str) -> IEMConfig:
        """Numbers by name: "paper", the defaults, or "best", with the colour marginals and the cut.

        "best" is for images of one channel or three, "paper" for any; `dataclasses.replace` changes numbers.

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        if name not in PRESETS:
            raise ValueError(f"no preset is named {name!r}; known: {', '.join(PRESETS)}")
        return PRESETS[name]

    @property
    def needs_palette(self) -> bool:
        """Whether the colours of images have to be counted."""
        return self.colour_weight > 0 or self.cut or self.choose == "information"


def config_or_default(config: IEMConfig | None) -> IEMConfig:
    """The configuration, or the paper's for None.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if config is None:
        return IEMConfig()
    if not isinstance(config, IEMConfig):
        raise TypeError(f"config must be an IEMConfig, not {type(config).__name__}")
    return config


def whole_number(name: str, value: object, least: int) -> int:
    """`value` as an int, checked.

    Raises
    ------
    TypeError, ValueError
        If it is no whole number, or below `least`; the message calls it by `name`.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return int(value)


def _real(name: str, value: object, positive: bool) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}")
    number = float(value)
    if not (number > 0 if positive else number >= 0) or number == float("inf"):
        raise ValueError(f"{name} must be {'above' if positive else 'at least'} 0 and finite, not {value}")
    return number


PRESETS = {
    "paper": IEMConfig(),
    # Chosen on one half of the development photographs: see docs/best.md.
    "best": IEMConfig(
        iterations=30,
        init_sides=(48, 56, 72),
        choose="information",
        regularization=1e-4,
        colour_space="lab",
        colour_weight=3e-4,
        cut=True,
    ),
}
