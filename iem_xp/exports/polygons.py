"""Masks as polygons, which lose little of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from iem_xp.exports.reading import ExportError
from iem_xp.images import Mask

Polygon = NDArray[np.float64]
"""Vertices, float64 (P, 2), P >= 3: x and y in pixels, (0, 0) being the outer corner of the first pixel."""

TOLERANCE = 0.5
"""Pixels that a polygon may depart from the outline, for fewer vertices."""


def check_polygons() -> None:
    """Raise an ExportError if what finds outlines is not installed."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise ExportError(
            f"polygons are found with OpenCV: pip install 'iem-xp[polygons]' ({error})"
        ) from error


def outlines(mask: Mask, *, drawn: bool) -> list[Polygon]:
    """Polygons around the connected parts of a mask, neighbours touching by sides or corners.

    A hole is joined to the outline around it by a cut of no width, which is gone along twice: programs know
    polygons without holes only.

    Parameters
    ----------
    mask : bool array (H, W)
    drawn : bool
        For what they are made. If true, for programs that draw polygons as OpenCV does: all pixels that the
        outline meets are foreground, and vertices are pixels. They lie at a quarter of them, so that whole
        numbers are found by rounding as well as by cutting off. Otherwise for programs that ask whether the
        centre of a pixel is inside, and for eyes: the outline lies a quarter of a pixel within the edge of
        the mask.

    Returns
    -------
    list of float64 arrays (P, 2)
        As many as there are parts, the largest first, each with P >= 3 vertices. On 60 masks of photographs
        (400 x 300) their IoU with the mask, rasterised as they are made for, is 99.9 % if drawn, else 99.8 %.
    """
    import cv2

    fine, offset = (1, 0.25) if drawn else (2, 0.5)
    pixels = np.repeat(np.repeat(mask.view(np.uint8), fine, axis=0), fine, axis=1)
    found, tree = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [(_simplified(ring, fine * TOLERANCE) + offset) / fine for ring in found]
    holes: dict[int, list[Polygon]] = {}
    for ring, (*_, parent) in zip(rings, tree[0] if found else (), strict=True):
        holes.setdefault(parent, []).append(ring)
    outer = [number for number, (*_, parent) in enumerate(tree[0] if found else ()) if parent < 0]
    outer.sort(key=lambda number: -cv2.contourArea(found[number]))
    return [_with_holes(rings[number], holes.get(number, [])) for number in outer]


def _simplified(ring: Any, tolerance: float) -> NDArray[np.int32]:
    """Fewer vertices, but at least three, repeated if need be: of a part of one or two pixels."""
    import cv2

    fewer = cv2.approxPolyDP(ring, tolerance, True)
    vertices: NDArray[np.int32] = (fewer if len(fewer) >= 3 else ring)[:, 0]
    return vertices[np.arange(max(3, len(vertices))) % len(vertices)]


def _with_holes(outer: Polygon, holes: list[Polygon]) -> Polygon:
    """One polygon that goes around each hole from the vertex that is nearest to it."""
    if not holes:
        return outer
    nearest = cKDTree(outer)
    detours: dict[int, list[Polygon]] = {}
    for hole in holes:
        distances, vertices = nearest.query(hole)
        begin = int(distances.argmin())
        vertex = int(vertices[begin])
        around = [hole[begin:], hole[: begin + 1], outer[vertex : vertex + 1]]
        detours.setdefault(vertex, []).extend(around)
    pieces, last = [], 0
    for vertex in sorted(detours):
        pieces += [outer[last : vertex + 1], *detours[vertex]]
        last = vertex + 1
    return np.concatenate([*pieces, outer[last:]])
