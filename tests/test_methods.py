from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iem_xp import IEMConfig, segment
from iem_xp.runs import methods
from iem_xp.runs.methods import Search

CONFIG = IEMConfig(init_sides=(44, 78), iterations=6)


def test_the_engine_is_chosen_by_the_pixels_of_all_images_and_squares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def choose(option: str, image: np.ndarray, pixels: int, *_: Any) -> str:
        asked.append((option, pixels))
        return "array"

    monkeypatch.setattr(methods, "choose", choose)
    search = Search(CONFIG)
    assert search.engine is None
    search.prepare(np.zeros((16, 24, 3), np.uint8), 10)
    assert asked == [("auto", 10 * 16 * 24 * 2)]
    assert search.engine == "array"


def test_on_a_gpu_there_is_one_engine_and_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(methods, "choose")
    search = Search(CONFIG, "gpu:0")
    search.prepare(np.zeros((16, 24, 3), np.uint8), 10)
    assert search.engine == "array"


def test_a_search_finds_the_masks_of_every_square(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    found = Search(CONFIG, engine="array").find(images)
    assert len(found) == 2
    for ascent, side in zip(found, CONFIG.init_sides, strict=True):
        alone = segment(images, IEMConfig(init_sides=(side,), iterations=6), engine="array")
        np.testing.assert_array_equal(ascent.masks, alone.masks)
        np.testing.assert_array_equal(ascent.inpainting_error, alone.inpainting_error)
        np.testing.assert_array_equal(ascent.updates, alone.updates)
