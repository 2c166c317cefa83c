"""How many images are in memory together: what they take by the model, and what follows if it is too much."""

import re
from dataclasses import replace

import numpy as np
import pytest

import iem_xp
import scenes
from counting import Library
from hostcuda import COMPILER, CudaLibrary
from iem_xp import IEMConfig, memory, solver
from iem_xp.memory import Batches, OutOfMemoryError, bytes_per_image, useful_size
from iem_xp.runs.methods import Search

CONFIG = IEMConfig(init_sides=(44, 78), iterations=12)
IMAGES = np.zeros((20, 8, 6, 3), dtype=np.uint8)


class Work:
    """Work that runs out of memory with more than `most` images; it notes how many it was given."""

    def __init__(self, most):
        self.most = most
        self.tried = []

    def __call__(self, begin, end):
        self.tried.append(end - begin)
        if end - begin > self.most:
            raise MemoryError("no more")
        return list(range(begin, end))


# The model


on_the_host = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


@pytest.mark.parametrize("kind", [Library, pytest.param(CudaLibrary, marks=on_the_host)])
@pytest.mark.parametrize("shape", [(4, 64, 64, 1), (4, 64, 64, 3), (8, 40, 100, 3), (4, 64, 64, 4)], ids=str)
def test_the_model_is_what_a_search_takes_in_array_code_and_in_kernels(rng, shape, kind):
    library = kind()
    images = library.asarray(rng.integers(0, 256, shape, dtype=np.uint8))
    solver.solve(images, (44, 78, 92), IEMConfig(iterations=14))
    assert library.peak / shape[0] == pytest.approx(bytes_per_image(shape), rel=0.05)


@pytest.mark.parametrize("kind", [Library, pytest.param(CudaLibrary, marks=on_the_host)])
@pytest.mark.parametrize(
    ("shape", "colours"),
    [((4, 64, 64, 1), 8), ((4, 64, 64, 1), 32), ((8, 40, 100, 3), 32), ((4, 32, 32, 4), 128)],
    ids=str,
)
def test_it_knows_what_counting_colours_takes(monkeypatch, rng, shape, colours, kind):
    monkeypatch.setattr("iem_xp.cut.STEPS", 2)
    library = kind()
    images = library.asarray(rng.integers(0, 256, shape, dtype=np.uint8))
    space = "lab" if shape[-1] == 3 else "rgb"
    config = replace(IEMConfig.preset("best"), iterations=9, colours=colours, colour_space=space)
    solver.solve(images, (48, 72), config)
    assert library.peak / shape[0] == pytest.approx(bytes_per_image(shape, config), rel=0.08)


def test_a_batch_has_fewer_images_where_their_colours_are_counted(monkeypatch):
    images = Library().asarray(np.zeros((0, 128, 128, 3), dtype=np.uint8))
    monkeypatch.setattr(memory, "free_memory", lambda array: 200 * bytes_per_image(images.shape))
    config = IEMConfig.preset("best")
    assert Batches().size(images) == 100
    fitting = 100 * bytes_per_image(images.shape) / bytes_per_image(images.shape, config)
    assert Batches().size(images, config) == int(fitting) < 100


def test_a_batch_for_a_gpu_is_a_thousand_images_and_one_for_a_cpu_a_few():
    assert useful_size((128, 128, 3), cached=False) == 1024
    assert useful_size((128, 128, 3), cached=True) == 4


@pytest.mark.parametrize("cached", [True, False])
def test_a_batch_holds_at_least_one_image(cached):
    assert useful_size((5000, 5000, 200), cached=cached) == 1


@pytest.mark.parametrize(
    ("images_free", "size"), [(0, 1), (1, 1), (10, 5), (11, 5), (2046, 1023), (10**6, 1024), (None, 1024)]
)
def test_a_batch_takes_half_of_the_free_memory_and_no_more_images_than_are_useful(
    monkeypatch, images_free, size
):
    images = Library().asarray(np.zeros((0, 128, 128, 3), dtype=np.uint8))
    free = None if images_free is None else images_free * bytes_per_image(images.shape)
    monkeypatch.setattr(memory, "free_memory", lambda array: free)
    assert Batches().size(images) == size


def test_free_memory_is_asked_for_again_before_every_batch(monkeypatch):
    per_image = bytes_per_image(IMAGES.shape)
    free = iter([8 * per_image, 100 * per_image, 12 * per_image, 2 * per_image, 100 * per_image])
    monkeypatch.setattr(memory, "free_memory", lambda array: next(free))
    work = Work(20)
    Batches().map(work, IMAGES)
    assert work.tried == [4, 16]


# Out of memory


@pytest.mark.parametrize(
    ("most", "tried"),
    [
        (20, [20]),
        (19, [20, 10, 10]),
        (5, [20, 10, 5, 5, 5, 5]),
        (4, [20, 10, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]),
        (1, [20, 10, 5, 2, *[1] * 20]),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_as_often_as_needed_and_so_are_the_next(most, tried):
    work, lines = Work(most), []
    done = Batches(announce=lines.append).map(work, IMAGES)
    assert work.tried == tried
    assert [position for batch in done for position in batch] == list(range(20))
    failed = [size for size in tried if size > most]
    assert lines == [
        f"out of memory on cpu with {size} images of 6 x 8 pixels together, {size // 2} from now on"
        for size in failed
    ]


def test_what_once_did_not_fit_is_not_tried_again():
    batches, lines = Batches(announce=lambda line: None), []
    batches.map(Work(5), IMAGES)
    later, larger = Work(5), Work(5)
    batches.map(later, IMAGES)
    assert later.tried == [5, 5, 5, 5]
    batches.map(larger, np.zeros((20, 16, 6, 3), dtype=np.uint8))  # of twice the pixels
    assert larger.tried == [2] * 10
    assert lines == []


def test_what_fails_later_does_not_raise_the_limit_again():
    def work(begin, end):
        tried.append(end - begin)
        if end - begin > 1:
            batches.map(Work(1), IMAGES)  # as another thread may, meanwhile
            raise MemoryError

    batches, tried = Batches(announce=lambda line: None), []
    batches.map(work, IMAGES)
    assert tried == [20, *[1] * 20]


def test_by_default_a_halved_batch_is_a_warning():
    with pytest.warns(
        RuntimeWarning, match=r"^out of memory on cpu with 20 images of 6 x 8.*10 from now on$"
    ):
        Batches().map(Work(10), IMAGES)


def test_no_images_are_one_empty_batch():
    work = Work(0)
    assert Batches().map(work, IMAGES[:0]) == [[]]
    assert work.tried == [0]


@pytest.mark.parametrize(
    "error", [ValueError("out of memory"), RuntimeError("an illegal memory access"), KeyboardInterrupt()]
)
def test_another_error_is_raised_as_it_is(error):
    def work(begin, end):
        calls.append(end)
        raise error

    calls = []
    with pytest.raises(type(error)) as raised:
        Batches().map(work, IMAGES)
    assert raised.value is error
    assert calls == [20]


@pytest.mark.parametrize(("free", "known"), [(None, ""), (3_200_000, ", 3 MB are free")])
def test_one_image_that_does_not_fit_is_an_error_that_says_what_it_takes_and_what_to_do(
    monkeypatch, free, known
):
    images = np.zeros((1, 3000, 4000, 3), dtype=np.uint8)
    need = f"{bytes_per_image(images.shape) / 1e6:,.0f}"
    monkeypatch.setattr(memory, "free_memory", lambda array: free)
    with pytest.raises(MemoryError) as raised:
        Batches().map(Work(0), images)
    assert type(raised.value) is OutOfMemoryError
    assert str(raised.value) == (
        "an image of 4000 x 3000 pixels, 3 channel(s), does not fit into the memory of cpu: it takes about "
        f"{need} MB{known} (no more); make it smaller (--size), or compute on another device (--device)"
    )


# With an allocator that fails


def limited(images, count):
    """A library with room for the images, the search of `count` of them, and half of another."""
    return Library(images.nbytes + int((count + 0.5) * bytes_per_image(images.shape)))


def numbers_of_images(warned):
    return [int(re.search(r"with (\d+) images", str(warning.message))[1]) for warning in warned]


@pytest.mark.parametrize(("count", "too_many"), [(7, [8]), (4, [8]), (3, [8, 4]), (1, [8, 4, 2])])
def test_masks_found_in_little_memory_are_the_same_in_the_same_order(rng, count, too_many):
    images = scenes.images(rng, 8)
    expected = iem_xp.segment(images, CONFIG, engine="array")
    with pytest.warns(RuntimeWarning, match="out of memory on counting device") as warned:
        found = iem_xp.segment(limited(images, count).asarray(images), CONFIG)
    assert numbers_of_images(warned) == too_many
    for name, values in vars(found).items():
        np.testing.assert_array_equal(values.values, getattr(expected, name), err_msg=name)


def test_given_masks_are_halved_with_their_images(rng):
    images, masks = scenes.images(rng, 8), np.stack([scenes.mask(rng) for _ in range(8)])
    library = limited(images, 3)
    with pytest.warns(RuntimeWarning, match="out of memory") as warned:
        found = iem_xp.segment(library.asarray(images), CONFIG, init=library.asarray(masks))
    assert numbers_of_images(warned) == [8, 4]
    expected = iem_xp.segment(images, CONFIG, init=masks, engine="array")
    np.testing.assert_array_equal(found.masks.values, expected.masks)


def test_what_a_failed_attempt_held_is_gone_before_the_next():
    def work(begin, end):
        alive.append(library.alive)
        held = []
        held.append(held)  # so that counting references does not find it
        held.extend(library.zeros(1000) for _ in range(begin, end))
        held.clear()

    library, alive = Library(3 * 8000), []
    Batches(announce=lambda line: None).map(work, IMAGES[:12])
    assert alive == [0] * (2 + 4)


def test_the_error_of_an_image_that_does_not_fit_holds_nothing_that_was_made_of_it():
    def work(begin, end):
        held = [library.zeros(1000)]
        held.append(library.zeros(1000))

    library = Library(8000)
    with pytest.raises(OutOfMemoryError) as raised:
        Batches().map(work, IMAGES[:1])
    assert raised.value.__context__ is None
    assert library.alive == 0


# On a device


def test_a_search_elsewhere_finds_the_same_masks_for_numpy(stand_in, rng):
    images = scenes.images(rng, 6)
    expected = Search(CONFIG, engine="array").find(images)
    for ours, theirs in zip(Search(CONFIG, "gpu:0").find(images), expected, strict=True):
        for name, values in ours._asdict().items():
            assert type(values) is np.ndarray
            np.testing.assert_array_equal(values, getattr(theirs, name), err_msg=name)
    assert stand_in.alive == 0


def test_segment_sends_a_batch_at_a_time_and_gives_back_arrays_of_the_images_library(stand_in, backend, rng):
    images, masks = scenes.images(rng, 8), np.stack([scenes.mask(rng) for _ in range(8)])
    stand_in.limit = int(2.5 * bytes_per_image(images.shape))
    for init in (None, masks):
        given = None if init is None else backend.asarray(init)
        with pytest.warns(RuntimeWarning, match="out of memory on gpu:0") as warned:
            found = iem_xp.segment(backend.asarray(images), CONFIG, init=given, device="gpu:0")
        assert numbers_of_images(warned) == [8, 4]
        expected = iem_xp.segment(images, CONFIG, init=init, engine="array")
        for name, values in vars(found).items():
            np.testing.assert_array_equal(backend.to_numpy(values), getattr(expected, name), err_msg=name)


def test_images_go_up_as_they_are_and_of_each_kind_of_result_one_array_comes_down(stand_in, rng):
    images = scenes.images(rng, 6)
    calls = stand_in.record(lambda: Search(CONFIG, "gpu:0").find(images))
    sent = [call.arguments[0] for call in calls if call.up and call.arguments[0].shape]
    assert sent[0] == (np.uint8, (6, 24, 20, 3))
    # The others are the filter's matrices, and numbers of images.
    assert all(len(shape) == 2 or (len(shape) == 1 and shape[0] <= 6) for _, shape in sent[1:])
    assert {call.name for call in calls if call.down} == {"to_host"}
    fetched = [call.arguments[0] for call in calls if call.down]
    *known, masks, errors, updates, information, start = fetched
    assert (masks, errors) == ((np.bool_, (2, 6, 24, 20)), (np.float32, (2, 6)))
    assert (updates, information) == ((np.int64, (2, 6)), (np.float32, (2, 6)))
    assert start == (np.int64, (2, 6))
    assert {dtype for dtype, _ in known} == {np.dtype(bool)}  # which masks repeat
    assert max(shape for _, shape in known) <= (6,)


def test_the_filter_goes_up_once_for_all_batches(stand_in, rng, monkeypatch):
    monkeypatch.setattr(memory, "useful_size", lambda *_, **__: 2)
    calls = stand_in.record(lambda: Search(CONFIG, "gpu:0").find(scenes.images(rng, 6)))
    sent = [call.arguments[0].shape for call in calls if call.up]
    assert sent.count((2, 24, 20, 3)) == 3
    assert sorted(shape for shape in sent if len(shape) == 2) == [(20, 20)] * 2 + [(24, 24)] * 2


def test_a_batch_that_cannot_be_sent_is_halved_too(stand_in, rng, monkeypatch):
    def to_device(array, device):
        if len(array) > 3:
            raise RuntimeError("cudaErrorMemoryAllocation: out of memory")
        return stand_in.asarray(array)

    images, lines = scenes.images(rng, 8), []
    expected = Search(CONFIG, engine="array").find(images)
    monkeypatch.setattr(memory, "to_device", to_device)
    found = Search(CONFIG, "gpu:0", announce=lines.append).find(images)
    assert lines == [
        "out of memory on gpu:0 with 8 images of 20 x 24 pixels together, 4 from now on",
        "out of memory on gpu:0 with 4 images of 20 x 24 pixels together, 2 from now on",
    ]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.masks, theirs.masks)


def test_a_search_keeps_to_smaller_batches(stand_in, rng):
    images, lines = scenes.images(rng, 8), []
    stand_in.limit = limited(images, 4).limit
    search = Search(CONFIG, "gpu:0", announce=lines.append)
    search.find(images)
    search.find(images)
    assert lines == ["out of memory on gpu:0 with 8 images of 20 x 24 pixels together, 4 from now on"]
