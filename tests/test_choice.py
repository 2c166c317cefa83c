"""The choice among the ascents of each image."""

import numpy as np
import pytest

from iem_xp import IEMConfig
from iem_xp.choice import Ascent, majority, per_image, take


def ascents(errors, information):
    """One for each row of values (S, N); masks and updates tell which they are."""
    starts, n = np.shape(errors)
    return [
        Ascent(
            masks=np.broadcast_to((s >> np.arange(2)) % 2 == 1, (n, 1, 2)),
            inpainting_error=np.array(errors[s], dtype=np.float32),
            updates=np.full(n, 10 + s),
            information=np.array(information[s], dtype=np.float32),
            start=np.full(n, s),
        )
        for s in range(starts)
    ]


ERRORS = [[3, 0, 1, 2], [1, 1, 1, 2], [0, 2, 0, 2]]
INFORMATION = [[0.1, 0.9, 0.5, 0.0], [0.8, 0.2, 0.5, 0.0], [0.3, 0.3, 0.6, 0.0]]


@pytest.mark.parametrize(
    ("choice", "winners"), [("image", [0, 2, 0, 0]), ("information", [1, 0, 2, 0])], ids=str
)
def test_each_image_gets_the_best_of_its_own_and_of_equals_the_first(backend, choice, winners):
    ours = [Ascent(*map(backend.asarray, ascent)) for ascent in ascents(ERRORS, INFORMATION)]
    (chosen,) = per_image(ours, IEMConfig(choose=choice))
    found = Ascent(*map(backend.to_numpy, chosen))
    every = [np.stack(values) for values in zip(*ascents(ERRORS, INFORMATION), strict=True)]
    for name, value, all_ in zip(Ascent._fields, found, every, strict=True):
        np.testing.assert_array_equal(value, all_[winners, range(4)], err_msg=name)
        assert value.dtype.kind == all_.dtype.kind
    assert found.inpainting_error.dtype == found.information.dtype == np.float32
    np.testing.assert_array_equal(found.start, winners)


def test_the_choice_for_a_data_set_is_left_for_later():
    given = ascents(ERRORS, INFORMATION)
    assert per_image(given, IEMConfig(choose="dataset")) == given


@pytest.mark.parametrize("choice", ["dataset", "image", "information"])
def test_one_start_leaves_no_choice(choice):
    (given,) = ascents(ERRORS[:1], INFORMATION[:1])
    assert per_image([given], IEMConfig(choose=choice)) == [given]


@pytest.mark.parametrize("size", [2, 0])  # as wide as there are starts, and no images
def test_masks_are_taken_whatever_their_size(backend, rng, size):
    masks = rng.random((2, size, 2, 2)) < 0.5
    ours = [
        Ascent(
            backend.asarray(mask), *(backend.asarray(np.zeros(size, kind)) for kind in ("f", "i", "f", "i"))
        )
        for mask in masks
    ]
    best = np.arange(size) % 2
    found = backend.to_numpy(take(ours, backend.asarray(best)).masks)
    np.testing.assert_array_equal(found, masks[best, range(size)])


@pytest.mark.parametrize("count", [1, 2, 3, 300])
def test_the_majority_is_of_more_than_half_of_the_masks(backend, rng, count):
    votes = rng.random((count, 3, 4, 5)) < 0.5
    votes[:, 0, 0, 0], votes[: count // 2, 0, 0, 1], votes[count // 2 :, 0, 0, 1] = True, True, False
    ours = [Ascent(backend.asarray(masks), *[None] * 4) for masks in votes]
    found = backend.to_numpy(majority(ours))
    assert found.dtype == bool
    np.testing.assert_array_equal(found, votes.mean(axis=0) > 0.5)
    assert found[0, 0, 0]
    assert not found[0, 0, 1]
