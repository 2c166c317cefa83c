"""The search of one image from all of its starts: ascents, the choice among them, the cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iem_xp.choice import Ascent, per_image
from iem_xp.config import IEMConfig
from iem_xp.cut import cut
from iem_xp.fused.ascent import Workspace
from iem_xp.fused.cutting import minimise
from iem_xp.fused.tables import tables_for
from iem_xp.marginals import explained
from iem_xp.terms import observe


class Searcher:
    """Searches images of one shape, one after another, in one thread.

    Parameters
    ----------
    shape : tuple of int
        Of the images, (..., H, W, C).
    config : IEMConfig
    """

    def __init__(self, shape: tuple[int, ...], config: IEMConfig) -> None:
        height, width, channels = shape[-3:]
        channels = 3 if config.colour_space == "lab" else channels
        self._config = config
        self._workspace = Workspace(channels, height, width, tables_for(height, width, config), config)

    def search(
        self, image: np.ndarray, starts: Sequence[np.ndarray], prior: np.ndarray | None = None
    ) -> list[Ascent]:
        """As `iem_xp.solver.solve`, of one image: arrays have N = 1."""
        colours, palette = observe(image, self._config)
        evidence = None if prior is None else self._config.colour_weight * prior
        said = None if palette is None else palette.codes[0], evidence
        found = self._workspace.ascend(colours[0], np.concatenate(starts), *said)
        ascents = [
            Ascent(
                mask[None],
                error[None],
                updates[None],
                explained(mask[None], palette, np.float32),
                np.array([start]),
            )
            for start, (mask, error, updates) in enumerate(zip(*found, strict=True))
        ]
        ascents = per_image(ascents, self._config)
        if palette is None or not self._config.cut:
            return ascents
        cuts = [cut(colours, palette, prior, ascent.masks, minimise) for ascent in ascents]
        _, errors, _ = self._workspace.ascend(colours[0], np.concatenate(cuts), *said, iterations=0)
        return [
            ascent._replace(
                masks=mask,
                inpainting_error=errors[i : i + 1],
                information=explained(mask, palette, np.float32),
            )
            for i, (ascent, mask) in enumerate(zip(ascents, cuts, strict=True))
        ]
