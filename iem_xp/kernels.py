"""An update in few steps, where the array library runs CUDA kernels: CuPy.

Sums and filters are those of `terms`. What is done to each pixel between them, which takes a library many
passes over memory, is three kernels, in ``kernels.cu``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from iem_xp.arrays import Array
from iem_xp.terms import Scene, Sums, add_up, add_up_errors, evidence

OPTIONS = ("--fmad=false",)
"""For the compiler: round after every operation, as the array code does. What kernels wait for is memory."""

_THREADS, _MOST_BLOCKS = 256, 65535


def apply_to(scene: Scene) -> bool:
    """Whether the kernels can make the updates of a scene: in float32, by a library that runs CUDA."""
    xp = array_namespace(scene.colours)
    return hasattr(xp, "RawKernel") and scene.colours.dtype == xp.float32 and scene.colours.shape[0] > 0


def update(scene: Scene, masks: Array) -> Array:
    """One update of the masks (eq. 10), as that of `iem_xp.solver`."""
    sums = add_up(scene, masks)
    masks = project(scene, sums, *inpaint(scene, sums))
    return smooth(scene, masks) if scene.config.smooth else masks


def inpaint(scene: Scene, sums: Sums) -> tuple[Array, Array, Array]:
    """`error`, `by_colours` and `by_support` of a `terms.Inpainting`."""
    xp = array_namespace(scene.colours)
    n, channels, height, width = scene.colours.shape
    error, by_colours, by_support = (
        xp.empty((n, count, height, width), dtype=xp.float32, device=device(scene.colours))
        for count in (2, channels, 1)
    )
    _run(
        "inpaint",
        scene,
        np.int32(channels),
        scene.colours,
        sums.masks,
        sums.size,
        sums.total,
        sums.support,
        sums.colours,
        np.float32(scene.config.epsilon),
        error,
        by_colours,
        by_support,
    )
    return error, by_colours, by_support


def project(scene: Scene, sums: Sums, error: Array, by_colours: Array, by_support: Array) -> Array:
    """Masks after an update, before they are smoothed; arguments as `inpaint` returns them."""
    xp = array_namespace(scene.colours)
    projected = xp.empty_like(sums.masks)
    rest = scene.K.adjoint(by_support)
    by_colour = evidence(scene, sums.masks)
    if by_colour is not None:
        rest += by_colour[:, None, ...]
    _run(
        "project",
        scene,
        np.int32(scene.colours.shape[1]),
        scene.colours,
        sums.masks,
        sums.size,
        sums.total,
        error,
        add_up_errors(sums, error),
        scene.K.adjoint(by_colours),
        rest,
        xp.sum(by_colours, axis=(2, 3)),
        xp.sum(by_support, axis=(2, 3)),
        np.float32(scene.config.epsilon),
        np.float32(scene.config.regularization),
        np.int32(scene.config.boundary_only),
        projected,
    )
    return projected


def smooth(scene: Scene, masks: Array) -> Array:
    """As `iem_xp.projection.smooth`."""
    smoothed = array_namespace(masks).empty_like(masks)
    _run("smooth", scene, masks, smoothed)
    return smoothed


def _run(name: str, scene: Scene, *arguments: Array | np.generic) -> None:
    n, _, height, width = scene.colours.shape
    blocks = (n, min(-(-height * width // _THREADS), _MOST_BLOCKS))
    sizes = map(np.int32, (n, height, width))
    kernel(array_namespace(scene.colours), name)(blocks, (_THREADS,), (*sizes, *arguments))


@cache
def kernel(xp: Any, name: str) -> Any:
    """Kernel of ``kernels.cu``, which a library compiles when it is first run."""
    source = Path(__file__).with_suffix(".cu").read_text(encoding="utf-8")
    return xp.RawKernel(source, name, options=OPTIONS)
