"""A trained network as what finds the masks of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iem_xp.choice import majority
from iem_xp.engines import Announce, EngineOption
from iem_xp.images import Pixels
from iem_xp.models import Facts, ModelError, settings_of
from iem_xp.runs.methods import Search
from iem_xp.trainers import Model

TOGETHER = 16
"""Images given to the network together: they keep the threads of a CPU busy, and an interruption that comes
amid them waits for no more. A trainer may divide them."""

PRIOR = 0.5
"""Weight of the network's log odds, beside what the colours of an image say: its pixels err together."""

SQUARES = 56, 96
"""Sides of the squares, as in `IEMConfig.init_sides`, that a search for which the network speaks starts from,
besides the network's mask. What most of the masks that come of it agree on is better than any of them."""

_CERTAIN = 1e-3
"""Probabilities nearer to 0 and 1 count as this."""


class Network:
    """A trained network, and the search from its masks if wanted: an `iem_xp.runs.methods.Method`.

    A mask is where the probability of foreground is above one half. The inpainting error is that of the mask
    at work, as for any other run, so that the masks can be ranked by it.

    Parameters
    ----------
    model : Model
    facts : dict
        What `iem_xp.models` knows of it.
    then_iem : bool
        Whether to search on from the network's masks, by the numbers of the method that its labels were
        found with. Where these weigh colours, the search starts from `SQUARES` too, and the majority of its
        masks is what is cut.
    probabilities : bool
        Whether to give the network's probabilities too.
    device : str
        "cpu" or "gpu:N", where errors are computed and searches made; the network has a place of its own.
    engine : {"auto", "array", "fused"}
    announce : callable, optional
        As for `Search`.
    """

    def __init__(
        self,
        model: Model,
        facts: Facts,
        *,
        then_iem: bool = False,
        probabilities: bool = False,
        device: str = "cpu",
        engine: EngineOption = "auto",
        announce: Announce | None = None,
    ) -> None:
        self.name: str | None = f"{facts['trainer']} network {facts['id']}{', then IEM' * then_iem}"
        self.engine: str | None = None
        self.device = device
        self.sides: tuple[int, ...] = (0,)
        self.serial = True  # it has threads of its own, which two groups would only share
        self._model = model
        self._trainer: str = facts["trainer"]
        self._then_iem = then_iem
        self._probabilities = probabilities
        config = settings_of(facts).config
        # Without a weight of colours the network says nothing to the search, and squares go their own ways.
        self._squares = SQUARES if config.colour_weight else ()
        searching = replace(config, init_sides=(1, *self._squares), choose="dataset", cut=False)
        self._search = Search(searching, device, engine, announce, workers=None)
        # A search of no updates gives masks back, cut if wanted, with their inpainting errors.
        concluding = replace(config, iterations=0, init_sides=(1,), cut=then_iem and config.cut)
        self._conclude = Search(concluding, device, engine, announce, workers=None)

    def prepare(self, image: Pixels, count: int) -> None:
        """Choose the engines of the search."""
        self.engine = self._trainer
        if self._then_iem:
            self._search.prepare(image, count)
            self.engine += f", {self._search.engine}"
        self._conclude.prepare(image, count)

    def group_size(self, image: Pixels) -> int:
        """Return `TOGETHER`."""
        return TOGETHER

    def find(self, images: Pixels) -> Sequence[tuple[NDArray[Any], ...]]:
        """Find the masks of images (N, S, S, 3): an Ascent, with uint8 probabilities behind it if wanted.

        Raises
        ------
        ModelError
            If what the network gives are no probabilities of these images.
        """
        probabilities = self._model.predict(images)
        shape = images.shape[:3]
        # Written so that values that are no numbers fail, too.
        if probabilities.shape != shape or not ((probabilities >= 0) & (probabilities <= 1)).all():
            raise ModelError(
                f"{self.name}: gives values of shape {probabilities.shape} from {probabilities.min():g} to "
                f"{probabilities.max():g}, not probabilities of shape {shape}; its training may have "
                "diverged: train it again with --overwrite, and with other options"
            )
        masks, prior, updates = probabilities > 0.5, None, np.zeros(shape[0], int)
        if self._then_iem:
            prior = PRIOR * _log_odds(probabilities)
            ascents = self._search.ascend(images, [masks, *self._squares], prior)
            masks, updates = majority(ascents), np.max([ascent.updates for ascent in ascents], axis=0)
        (ascent,) = self._conclude.ascend(images, [masks], prior)
        ascent = ascent._replace(updates=updates)
        if not self._probabilities:
            return [ascent]
        return [(*ascent, np.rint(255 * probabilities).astype(np.uint8))]


def _log_odds(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    p = np.clip(probabilities, _CERTAIN, 1 - _CERTAIN)
    return np.log(p / (1 - p))
