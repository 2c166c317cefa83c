from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import scenes
from iem_xp import inpainting_error, segment
from iem_xp.choice import Ascent
from iem_xp.config import IEMConfig
from iem_xp.models import Facts, ModelError, describe
from iem_xp.prediction import PRIOR, SQUARES, Network
from iem_xp.runs.methods import Search
from iem_xp.runs.settings import Settings

CONFIG = IEMConfig(sigma=3.0, iterations=5)
FACTS: Facts = describe("colours", Settings(CONFIG, size=16, fit="squash"), {}) | {"id": "1f"}
BEST: Facts = FACTS | describe("colours", Settings(IEMConfig.preset("best"), size=16, fit="squash"), {})


class Model:
    """Gives what it is told to."""

    def __init__(self, probabilities: Any) -> None:
        self.probabilities = np.asarray(probabilities)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.probabilities


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return scenes.images(rng, 3, 16, 16)


@pytest.fixture
def probabilities(rng: np.random.Generator) -> np.ndarray:
    return rng.random((3, 16, 16), np.float32)


def network(predicted: np.ndarray, image: np.ndarray | None = None, **options: Any) -> Network:
    made = Network(Model(predicted), FACTS, **options)
    if image is not None:
        made.prepare(image, 3)
    return made


def test_a_mask_is_where_the_probability_is_above_one_half(
    images: np.ndarray, probabilities: np.ndarray
) -> None:
    probabilities[0, :2] = [[0.5], [np.nextafter(np.float32(0.5), np.float32(1))]]
    (found,) = network(probabilities).find(images)
    masks, updates = found.masks, found.updates
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, probabilities > 0.5)
    assert not masks[0, 0].any()
    assert masks[0, 1].all()
    np.testing.assert_array_equal(updates, 0)


def test_masks_have_the_inpainting_errors_of_the_method(
    images: np.ndarray, probabilities: np.ndarray
) -> None:
    ((masks, errors, *_),) = network(probabilities).find(images)
    np.testing.assert_allclose(errors, inpainting_error(images, masks, CONFIG), rtol=1e-5)


def test_a_search_may_begin_at_the_predicted_masks(images: np.ndarray, probabilities: np.ndarray) -> None:
    searching = network(probabilities, images[0], then_iem=True, engine="array")
    ((masks, errors, updates, *_),) = searching.find(images)
    expected = segment(images, CONFIG, init=probabilities > 0.5, engine="array")
    assert (masks != (probabilities > 0.5)).any()
    np.testing.assert_array_equal(masks, expected.masks)
    np.testing.assert_array_equal(errors, expected.inpainting_error)
    np.testing.assert_array_equal(updates, expected.updates)


@pytest.mark.parametrize("then_iem", [False, True])
def test_probabilities_go_along_if_wanted(
    images: np.ndarray, probabilities: np.ndarray, then_iem: bool
) -> None:
    (found,) = network(probabilities, images[0], probabilities=True, then_iem=then_iem).find(images)
    assert len(found) == len(Ascent._fields) + 1
    assert found[-1].dtype == np.uint8
    assert np.abs(found[-1] / 255 - probabilities).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("engine", ["array", "fused"])
def test_where_colours_are_counted_the_search_keeps_to_what_the_network_is_sure_of(
    rng: np.random.Generator, engine: str
) -> None:
    images = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)  # whose colours say nothing
    sure = np.zeros((3, 16, 16))  # float64, and probabilities that have no logarithm
    sure[:, 4:12, 4:12] = 1
    unsure = np.where(sure > 0.5, 0.501, 0.499)
    moved = []
    for probabilities in (sure, unsure):
        searching = Network(Model(probabilities), BEST, then_iem=True, engine=engine)  # type: ignore[arg-type]
        searching.prepare(images[0], 3)
        ((masks, _, _, information, _),) = searching.find(images)
        assert ((information >= 0) & (information <= 1)).all()
        moved.append(np.mean(masks != (sure > 0.5)))
    assert moved[0] < moved[1]


def test_where_colours_are_counted_two_squares_have_a_vote_beside_the_network(
    rng: np.random.Generator,
) -> None:
    images = rng.integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)  # whose colours say little
    predicted = np.stack([scenes.mask(rng, 12, 12).repeat(4, 0).repeat(4, 1) for _ in images])
    probabilities = np.where(predicted, 0.95, 0.05)
    searching = Network(Model(probabilities), BEST, then_iem=True, engine="array")
    searching.prepare(images[0], 3)
    (found,) = searching.find(images)

    def search(start: Any, **changes: Any) -> Ascent:
        log_odds = PRIOR * np.log(probabilities / (1 - probabilities))
        config = replace(IEMConfig.preset("best"), choose="dataset", **changes)
        return Search(config, engine="array").ascend(images, [start], log_odds)[0]

    three = [search(start, cut=False) for start in (predicted, *SQUARES)]
    votes = np.sum([each.masks for each in three], axis=0)
    expected = search(votes >= 2, iterations=0)
    np.testing.assert_array_equal(found.masks, expected.masks)
    np.testing.assert_array_equal(found.inpainting_error, expected.inpainting_error)
    np.testing.assert_array_equal(found.updates, np.max([each.updates for each in three], axis=0))
    assert ((votes == 1) | (votes == 2)).any()
    assert (expected.masks != (votes >= 2)).any()
    assert (found.start == 0).all()


def test_without_a_search_nothing_is_cut(images: np.ndarray, probabilities: np.ndarray) -> None:
    alone = Network(Model(probabilities), BEST, engine="array")
    alone.prepare(images[0], 3)
    (found,) = alone.find(images)
    np.testing.assert_array_equal(found.masks, probabilities > 0.5)


def test_a_network_starts_from_no_square_and_computes_one_group_at_a_time(probabilities: np.ndarray) -> None:
    method = network(probabilities)
    assert (method.sides, method.serial) == ((0,), True)


def test_its_name_tells_networks_apart_and_what_follows(probabilities: np.ndarray) -> None:
    other = Network(Model(probabilities), FACTS | {"id": "2f"})
    names = {network(probabilities).name, network(probabilities, then_iem=True).name, other.name}
    assert names == {"colours network 1f", "colours network 1f, then IEM", "colours network 2f"}


@pytest.mark.parametrize(("then_iem", "engine"), [(False, "colours"), (True, "colours, array")])
def test_it_says_what_computes(
    images: np.ndarray, probabilities: np.ndarray, then_iem: bool, engine: str
) -> None:
    assert network(probabilities, images[0], then_iem=then_iem).engine == engine


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (np.zeros((3, 16, 16, 1)), r"shape \(3, 16, 16, 1\)"),
        (np.full((3, 16, 16), 1.5), "to 1.5"),
        (np.full((3, 16, 16), -0.5), "from -0.5"),
        (np.full((3, 16, 16), np.nan), "nan"),
    ],
)
def test_what_are_no_probabilities_of_the_images_is_an_error(
    images: np.ndarray, wrong: np.ndarray, what: str
) -> None:
    with pytest.raises(ModelError, match=rf"colours network 1f: gives values of .*{what}.*train it again"):
        network(wrong).find(images)
