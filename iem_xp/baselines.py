"""What the method is compared with: GrabCut, and figures in the centre that look at no image.

A baseline is a function of an image, uint8 (H, W, 3), and of an initial mask, bool (H, W), that gives a mask.
The initial masks are the centred squares of `iem_xp.solver.centred_square`, of the sides `SIDES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from iem_xp.choice import Ascent
from iem_xp.config import IEMConfig
from iem_xp.images import Mask, Pixels
from iem_xp.memory import useful_size
from iem_xp.solver import centred_square, solve

SIDES = (44, 78, 92, 112)
"""Sides of the initial squares, in pixels at a shorter side of 128: the method's own, and a larger one."""

COMPONENTS = 5
"""Gaussians in each of GrabCut's two mixtures of colours: fewer pixels make none."""

Baseline = Callable[[Pixels, Mask], Mask]


class BaselineError(RuntimeError):
    """A baseline that cannot be had; the message says what to install."""


def square(image: Pixels, start: Mask) -> Mask:
    """The initial mask as it is."""
    return start


def ellipse(image: Pixels, start: Mask) -> Mask:
    """The ellipse inscribed in the initial mask's bounding box."""
    rows, columns = _positions(start, axis=1), _positions(start, axis=0)
    return rows[:, None] ** 2 + columns**2 <= 1


def grabcut(image: Pixels, start: Mask, iterations: int = 5) -> Mask:
    """OpenCV's GrabCut (Rother, Kolmogorov, Blake; SIGGRAPH 2004) from the initial mask's bounding box.

    What is outside of the box is background for good. Where the box leaves no five pixels inside or outside
    there is nothing to learn colours from, and the box itself comes back. The random numbers that OpenCV
    draws are the same for every image, so that a mask depends on its image alone.

    Raises
    ------
    BaselineError
        If OpenCV is not installed or cannot be loaded.
    """
    check_grabcut()
    import cv2

    rows, columns = (np.flatnonzero(start.any(axis=axis)) for axis in (1, 0))
    if min(int(start.sum()), int((~start).sum())) < COMPONENTS:
        return start
    box = int(columns[0]), int(rows[0]), len(columns), len(rows)
    labels = np.zeros(start.shape, np.uint8)
    models = np.zeros((1, 13 * COMPONENTS)), np.zeros((1, 13 * COMPONENTS))
    cv2.setRNGSeed(0)
    cv2.grabCut(
        np.ascontiguousarray(image[..., ::-1]), labels, box, *models, iterations, cv2.GC_INIT_WITH_RECT
    )
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def check_grabcut() -> None:
    """Raise a BaselineError if OpenCV, which has GrabCut, is not installed or cannot be loaded."""
    try:
        import_module("cv2")
    except ImportError as error:
        raise BaselineError(
            f"GrabCut needs OpenCV; install it with: pip install 'iem-xp[baselines]' ({error})"
        ) from error


BASELINES: dict[str, Baseline] = {"grabcut": grabcut, "square": square, "ellipse": ellipse}
"""Every baseline by name."""


class BaselineMethod:
    """A baseline as what finds the masks of a run, from each initial square: an `iem_xp.runs.methods.Method`.

    Parameters
    ----------
    name : str
        Of `BASELINES`.
    config : IEMConfig
        Of which the initial squares are used, and the filter that the masks' inpainting errors are of.
    """

    device = "cpu"
    serial = False

    def __init__(self, name: str, config: IEMConfig) -> None:
        self.name: str | None = name
        self.engine: str | None = None
        self.sides = config.init_sides
        self._baseline = BASELINES[name]
        self._config = config

    def prepare(self, image: Pixels, count: int) -> None:
        """Say what computes."""
        self.engine = opencv_version() if self.name == "grabcut" else "none"

    def group_size(self, image: Pixels) -> int:
        """Return how many images such as this one have their errors computed together."""
        return useful_size(image.shape, cached=True)

    def find(self, images: Pixels) -> list[Ascent]:
        """Find the masks from every initial square."""
        found = []
        for side in self.sides:
            starts = centred_square(images, side)
            found.append(np.stack([self._baseline(*pair) for pair in zip(images, starts, strict=True)]))
        # A search of no updates gives them back, with their inpainting errors.
        return solve(images, found, replace(self._config, iterations=0, cut=False))


def opencv_version() -> str:
    """Name and version of the OpenCV that is installed, as "OpenCV 5.0.0"."""
    import cv2

    return f"OpenCV {cv2.__version__}"


def _positions(box: Mask, axis: int) -> NDArray[np.float64]:
    """Positions of pixel centres across an axis, in units that make those of the box go from -1 to 1."""
    covered = np.any(box, axis=axis)
    inside = np.flatnonzero(covered)
    half = len(inside) / 2
    return (np.arange(len(covered)) + 0.5 - inside[0] - half) / half
