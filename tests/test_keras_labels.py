import numpy as np
import pytest

from exported import write_labels
from iem_xp_keras.options import Options

exports = pytest.importorskip("iem_xp_keras.labels", reason="Keras or its backend is not installed")


LEARNT = np.arange(10)


@pytest.fixture
def labels(tmp_path):
    write_labels(tmp_path, 10, 8)
    return exports.open_labels(tmp_path)


def shown(batches):
    """All images and masks of an epoch, in their order."""
    images, masks = zip(*(batches[i] for i in range(len(batches))), strict=True)
    return np.concatenate(images), np.concatenate(masks)


def positions(labels, batches):
    """Which labels an epoch without augmentation shows."""
    images, _ = shown(batches)
    return [
        next(i for i, other in enumerate(labels.images) if np.array_equal(image, other)) for image in images
    ]


def test_labels_are_memory_mapped(labels):
    assert isinstance(labels.images, np.memmap)
    assert isinstance(labels.masks, np.memmap)
    assert labels.size == 8


def test_other_labels_have_another_digest(tmp_path, labels):
    write_labels(tmp_path / "same", 10, 8)
    write_labels(tmp_path / "other", 10, 8, seed=1)
    assert exports.open_labels(tmp_path / "same").digest == labels.digest
    assert exports.open_labels(tmp_path / "other").digest != labels.digest


@pytest.mark.parametrize(
    ("file", "array", "match"),
    [
        ("images.npy", np.zeros((10, 8, 8), np.uint8), r"shape \(K, S, S, 3\)"),
        ("images.npy", np.zeros((10, 8, 9, 3), np.uint8), r"shape \(K, S, S, 3\)"),
        ("images.npy", np.zeros((10, 8, 8, 3), np.float32), "uint8"),
        ("masks.npy", np.zeros((9, 8, 8), np.uint8), r"shape \(10, 8, 8\)"),
        ("masks.npy", np.array([{}]), "cannot be read"),
    ],
)
def test_arrays_that_are_no_labels_are_named(tmp_path, file, array, match):
    write_labels(tmp_path, 10, 8)
    np.save(tmp_path / file, array)
    with pytest.raises(ValueError, match=match) as error:
        exports.open_labels(tmp_path)
    assert str(tmp_path / file) in str(error.value)


@pytest.mark.parametrize("file", ["images.npy", "masks.npy", "meta.json"])
def test_a_file_that_is_missing_is_named(tmp_path, file):
    write_labels(tmp_path, 10, 8)
    (tmp_path / file).unlink()
    with pytest.raises(ValueError, match=f"{file}.*export"):
        exports.open_labels(tmp_path)


@pytest.mark.parametrize(
    ("meta", "match"),
    [('{"format_version": 2}', "is of format 2, not 1"), ("{}", "cannot be read"), ("[", "cannot be read")],
)
def test_labels_of_another_format_are_an_error(tmp_path, meta, match):
    write_labels(tmp_path, 10, 8)
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(ValueError, match=rf"meta\.json: {match}.*export the labels again"):
        exports.open_labels(tmp_path)


def test_no_labels_are_an_error(tmp_path):
    write_labels(tmp_path, 0, 8)
    with pytest.raises(ValueError, match="no labels"):
        exports.open_labels(tmp_path)


def test_the_seed_decides_which_labels_are_held_back():
    learnt, held_back = exports.split(100, 0.05, seed=0)
    assert sorted([*learnt, *held_back]) == list(range(100))
    assert len(held_back) == 5
    assert np.array_equal(exports.split(100, 0.05, seed=0)[1], held_back)
    assert not np.array_equal(exports.split(100, 0.05, seed=1)[1], held_back)


def test_at_least_one_label_is_held_back_unless_none_should_be():
    assert [len(exports.split(4, share, 0)[1]) for share in (0.05, 0.5, 0)] == [1, 2, 0]
    with pytest.raises(ValueError, match="validation 0"):
        exports.split(1, 0.05, 0)


def test_an_epoch_shows_every_label_once_but_for_what_fills_no_batch(labels):
    seen = positions(labels, exports.Batches(labels, LEARNT, 0, 4, 1, Options()))
    assert len(seen) == len(set(seen)) == 8
    assert len(positions(labels, exports.Batches(labels, LEARNT, 0, 5, 1, Options()))) == 10


def test_seed_and_epoch_decide_the_order(labels):
    orders = [
        positions(labels, exports.Batches(labels, LEARNT, epoch, 5, 1, Options(seed=seed)))
        for epoch, seed in ((0, 0), (0, 0), (1, 0), (0, 1))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]


def test_images_keep_their_masks(labels):
    batches = exports.Batches(labels, LEARNT, 0, 5, 1, Options())
    images, masks = shown(batches)
    assert np.array_equal(images, labels.images[positions(labels, batches)])
    assert np.array_equal(masks[..., 0], labels.masks[positions(labels, batches)])


def test_only_the_chosen_labels_are_shown(labels):
    assert set(positions(labels, exports.Batches(labels, np.array([2, 7]), 0, 2, 1, Options()))) == {2, 7}


def test_an_epoch_is_the_same_in_whatever_parts_and_order_it_is_asked_for(labels):
    options = Options(flips=True, augment=("scale", "colour"))
    whole, parts = (exports.Batches(labels, LEARNT, 3, 4, count, options) for count in (1, 2))
    assert (len(whole), len(parts)) == (2, 4)
    first = parts[0]
    for one, other in zip(shown(whole), shown(parts), strict=True):
        assert np.array_equal(one, other)
    for one, other in zip(first, parts[0], strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(shown(whole)[0], shown(exports.Batches(labels, LEARNT, 4, 4, 1, options))[0])


def test_augmentation_is_off_unless_asked_for(labels):
    plain = shown(exports.Batches(labels, LEARNT, 0, 5, 1, Options()))
    flipped = shown(exports.Batches(labels, LEARNT, 0, 5, 1, Options(flips=True)))
    mirrored = [not np.array_equal(one, other) for one, other in zip(plain[0], flipped[0], strict=True)]
    assert 0 < sum(mirrored) < 10
    for i, is_mirrored in enumerate(mirrored):
        expected = plain[0][i][:, ::-1] if is_mirrored else plain[0][i]
        assert np.array_equal(flipped[0][i], expected)


def test_an_image_is_changed_anew_in_every_epoch(labels):
    one = np.array([3])
    options = Options(augment=("colour",))
    seen = [exports.Batches(labels, one, epoch, 1, 1, options)[0][0] for epoch in (0, 0, 1)]
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])
