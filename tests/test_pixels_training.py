from dataclasses import replace

import numpy as np
import pytest

from exported import write_labels
from iem_xp_pixels import training
from iem_xp_pixels.features import pixel_features
from iem_xp_pixels.options import Options
from iem_xp_pixels.training import draw_pixels, train

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

OPTIONS = Options(epochs=6, pixels=100, width=8)


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return write_labels(tmp_path_factory.mktemp("labels"), 12, 24)


@pytest.fixture(scope="module")
def drawn(labels):
    return draw_pixels(*labels, OPTIONS)


def fitted(drawn, options=OPTIONS):
    return train(*drawn, options, lambda *_: None)


def test_so_many_pixels_are_drawn_of_each_image_with_the_sides_that_they_have(labels, drawn):
    assert drawn[0].shape[:2] == drawn[1].shape == (12, 100)
    for image, mask, features, sides in zip(*labels, *drawn, strict=True):
        known = {row.tobytes(): side for row, side in zip(rows(image), mask.ravel() > 0, strict=True)}
        assert [known[row.tobytes()] for row in features] == list(sides)


def rows(image):
    features = pixel_features(image)
    return features.reshape(-1, features.shape[-1])


def test_no_image_is_asked_for_more_pixels_than_it_has(labels):
    features, _ = draw_pixels(*labels, Options(pixels=10**6))
    assert features.shape[:2] == (12, 24**2)


@pytest.mark.parametrize(("most", "shape"), [(1200, (12, 100)), (1199, (11, 100)), (50, (1, 50))])
def test_however_many_labels_there_are_the_pixels_are_bounded(labels, monkeypatch, most, shape):
    monkeypatch.setattr(training, "MOST_PIXELS", most)
    features, sides = draw_pixels(*labels, OPTIONS)
    assert features.shape[:2] == sides.shape == shape


def test_the_seed_decides_everything(labels, drawn):
    network, history = fitted(drawn)
    again, same = fitted(draw_pixels(*labels, OPTIONS))
    assert same == history
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, network.arrays()[name])
    other = replace(OPTIONS, seed=1)
    assert not np.array_equal(draw_pixels(*labels, other)[0], drawn[0])
    assert fitted(drawn, other)[1] != history


def test_the_loss_falls_and_is_told_after_every_epoch(drawn):
    told = []
    _, history = train(*drawn, OPTIONS, lambda *arguments: told.append(arguments))
    assert told == [(epoch, 12, figures) for epoch, figures in enumerate(history, 1)]
    for network in (history[:6], history[6:]):
        assert network[-1]["loss"] < 0.8 * network[0]["loss"]


def test_masks_of_something_else_are_not_learnt_from(labels, drawn):
    features, sides = drawn
    spoilt = sides.copy()
    spoilt[:3] = ~spoilt[:3]
    trusting, doubting = (fitted((features, spoilt), replace(OPTIONS, trust=trust))[0] for trust in (1, 0.75))
    errors = [loss(network, features, sides) for network in (trusting, doubting)]
    assert errors[1] < 0.5 * errors[0]
    alone = fitted((features[3:], sides[3:]), replace(OPTIONS, trust=1))[0]
    for name, array in alone.arrays().items():
        np.testing.assert_array_equal(array, doubting.arrays()[name])


def loss(network, features, sides):
    logits = network.logits(features)
    return np.mean(np.logaddexp(0, logits) - logits * sides)


def test_without_doubt_there_is_one_network(drawn):
    assert len(fitted(drawn, replace(OPTIONS, trust=1))[1]) == 6


def test_the_network_tells_the_sides_apart(labels, drawn):
    network, _ = fitted(drawn)
    for image, mask in zip(*labels, strict=True):
        assert np.mean((network.logits(pixel_features(image)) > 0) == mask) > 0.9


def test_labels_without_any_foreground_are_learnt_too(drawn):
    features, sides = drawn
    network, _ = fitted((features, np.zeros_like(sides)))
    assert (network.logits(features) < 0).all()
