"""What the paper reports (tables 1 to 4), to be shown beside what is measured here: either polarity."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A method's means on a data set, in [0, 1]; None where none was reported."""

    method: str
    accuracy: float | None = None
    iou: float | None = None
    miou: float | None = None
    dice: float | None = None


RESULTS: dict[str, tuple[Published, ...]] = {
    "flowers": (
        Published("GrabCut", 0.820, 0.692, 0.700, 0.791),
        Published("ReDO", 0.879, 0.764),
        Published("IEM", 0.883, 0.768, 0.790, 0.846),
        Published("IEM + SegNet", 0.896, 0.789, 0.808, 0.860),
    ),
    "cub": (
        Published("GrabCut", 0.723, 0.360, 0.523, 0.487),
        Published("ReDO", 0.845, 0.426),
        Published("PerturbGAN", miou=0.380),
        Published("IEM", 0.886, 0.522, 0.696, 0.660),
        Published("IEM + SegNet", 0.893, 0.551, 0.714, 0.687),
    ),
    "lsun-car": (
        Published("GrabCut", 0.691, 0.576, 0.534, 0.718),
        Published("PerturbGAN", miou=0.540),
        Published("IEM", 0.762, 0.651, 0.615, 0.781),
        Published("IEM + SegNet", 0.778, 0.685, 0.632, 0.805),
    ),
}
"""Tables 1 to 3, by kind of data set."""

IMAGES = {"flowers": 1020, "cub": 1000, "lsun-car": 1040}
"""Images that these are means of."""


class Ablation(NamedTuple):
    """IoU of a variant of the method (table 4)."""

    cub: float
    flowers: float


ABLATIONS: dict[str, Ablation] = {
    "iem": Ablation(0.522, 0.768),
    "no-diversity": Ablation(0.506, 0.680),
    "no-smoothing": Ablation(0.470, 0.757),
    "any-pixel": Ablation(0.428, 0.766),
}
"""Table 4, by the name of the study."""
